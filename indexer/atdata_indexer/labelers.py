"""Follows labelers by `com.atproto.label.subscribeLabels` (https://atproto.com/specs/label).

Each labeler is read from its first label on, for what it said once still holds, and from where it
was stored afterwards. What it did not sign, or says in the name of another, is refused.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlencode, urlsplit

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from atdata_indexer.errors import FrameError, FutureCursor, StreamError
from atdata_indexer.identity import IdentityResolver, IdentityUnavailable, LabelerPlace
from atdata_indexer.index.labelled import CURSOR
from atdata_indexer.keys import parse_key
from atdata_indexer.labels import Label, SignedLabel, read_frame
from atdata_indexer.net import is_public

PATH = "/xrpc/com.atproto.label.subscribeLabels"
MAX_MESSAGE_BYTES = 1 << 20
BATCH = 500
"""How many messages are gathered, at most."""
BATCH_BYTES = 4 << 20
"""How long they may be together."""
LABELS_AT_ONCE = 1000
"""How many labels are stored in one transaction: others wait meanwhile."""
GATHER_S = 0.05
ROUND_S = 20.0
"""How often labels are looked for whose time is over."""
RENEW_S = 60.0
"""How long a key counts as just read: a label it does not fit is refused meanwhile."""

_FAILURES = (OSError, WebSocketException, FrameError, StreamError, IdentityUnavailable)

type Apply = Callable[[Sequence[Label], Mapping[str, int]], Awaitable[Counter[str]]]


class Labelers:
    """Follows every labeler of `dids` until cancelled.

    `cursor` says how far one is stored, `apply` stores labels with the cursors that cover them,
    `expire` drops some of those whose time is over; both count what they did. With `verify` labels
    must be signed. What became of them is counted in `counts`.
    """

    def __init__(
        self,
        dids: Sequence[str],
        resolver: IdentityResolver,
        cursor: Callable[[str], int | None],
        *,
        apply: Apply,
        expire: Callable[[], Awaitable[Counter[str]]],
        pause: Callable[[int], float],
        user_agent: str,
        verify: bool,
        allow_private: bool = False,
    ) -> None:
        self._dids = dids
        self._resolver = resolver
        self._cursors = {did: cursor(f"{CURSOR}{did}") or 0 for did in dids}
        self._apply = apply
        self._expire = expire
        self._pause = pause
        self._user_agent = user_agent
        self._verify = verify
        self._allow_private = allow_private
        self._places: dict[str, LabelerPlace] = {}
        self._renewed: dict[str, float] = {}
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Follow until cancelled. Raises StoreError."""
        if not self._dids:
            return
        async with asyncio.TaskGroup() as tasks:
            for did in self._dids:
                tasks.create_task(self._follow(did))
            while True:
                expired = await self._expire()
                self.counts += expired
                if not expired.total():
                    await asyncio.sleep(ROUND_S)

    async def _follow(self, did: str) -> None:
        log = structlog.get_logger().bind(labeler=did)
        failures = 0
        while True:
            begun = self._stored(did)
            try:
                await self._locate(did)
                await self._read(did, begun)
            except FutureCursor:
                # It began its stream anew: all that it still says comes again.
                log.warning("labeler_begins_anew", cursor=begun)
                await self._store(did, (), 0)
            except _FAILURES as error:
                self.counts["labeler_disconnects"] += 1
                log.warning("labeler_disconnected", error=str(error)[:300])
            failures = 1 if self._stored(did) != begun else failures + 1
            await asyncio.sleep(self._pause(failures))

    def _stored(self, did: str) -> int:
        return self._cursors.get(did, 0)

    async def _locate(self, did: str) -> None:
        """Read anew where a labeler is and what it signs with."""
        place = await self._resolver.labeler(did)
        if place is None:
            raise IdentityUnavailable(f"{did} is no labeler: its document names no service")
        self._places[did] = place
        self._renewed[did] = asyncio.get_running_loop().time()

    async def _read(self, did: str, cursor: int) -> None:
        """Take in what a labeler says from `cursor` on, until the connection ends."""
        url = self._places[did].endpoint.replace("http", "ws", 1).rstrip("/")
        async with connect(
            f"{url}{PATH}?{urlencode({'cursor': cursor})}",
            host=await self._address(url),
            max_size=MAX_MESSAGE_BYTES,
            compression=None,
            proxy=None if url.startswith("ws://") else True,
            user_agent_header=self._user_agent,
        ) as connection:
            structlog.get_logger().info("labeler_connected", labeler=did, cursor=cursor)
            while True:
                labels: list[Label] = []
                for message in await _gather(connection):
                    try:
                        seq, said = await asyncio.to_thread(read_frame, _binary(message))
                    except FrameError:
                        self.counts["labeler_frames_skipped"] += 1
                        continue
                    except StreamError:
                        await self._store(did, labels, cursor)
                        raise
                    labels += await self._true(did, said)
                    cursor = cursor if seq is None else seq
                await self._store(did, labels, cursor)

    async def _address(self, url: str) -> str:
        """The address that a labeler's document leads to, which must be a public one: a labeler may
        change its document at any time.
        """
        loop = asyncio.get_running_loop()
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "wss" else 80)
            found = await loop.getaddrinfo(parts.hostname or "", port, type=socket.SOCK_STREAM)
        except ValueError as error:  # UnicodeError is one
            raise IdentityUnavailable(f"{url[:200]} is no address: {error}") from error
        address = str(found[0][4][0])
        if not self._allow_private and not is_public(address):
            raise IdentityUnavailable(f"{parts.hostname} has no public address")
        return address

    async def _store(self, did: str, labels: Sequence[Label], cursor: int) -> None:
        while len(labels) > LABELS_AT_ONCE:
            self.counts += await self._apply(labels[:LABELS_AT_ONCE], {})
            labels = labels[LABELS_AT_ONCE:]
        self.counts += await self._apply(labels, {f"{CURSOR}{did}": cursor})
        self._cursors[did] = cursor

    async def _true(self, did: str, said: Sequence[SignedLabel]) -> list[Label]:
        """Those labels that are this labeler's; its key may have changed."""
        own = [one for one in said if one.label.src == did]
        true = await asyncio.to_thread(self._signed, did, own)  # thousands take a second
        now = asyncio.get_running_loop().time()
        if len(true) < len(own) and now - self._renewed[did] > RENEW_S:
            await self._locate(did)
            true = await asyncio.to_thread(self._signed, did, own)
        self.counts["labels_refused"] += len(said) - len(true)
        return true

    def _signed(self, did: str, own: Sequence[SignedLabel]) -> list[Label]:
        return [one.label for one in own if not self._verify or self._is_signed(did, one)]

    def _is_signed(self, did: str, one: SignedLabel) -> bool:
        key = self._places[did].key
        try:
            return key is not None and one.is_by(parse_key(key))
        except ValueError:
            return False  # what the document has is no key


def _binary(message: str | bytes) -> bytes:
    """A message of the stream; text is none."""
    return message if isinstance(message, bytes) else b""


async def _gather(connection: ClientConnection) -> list[str | bytes]:
    """The next message, with those that come right behind it."""
    messages = [await connection.recv()]
    with suppress(TimeoutError, ConnectionClosed):
        async with asyncio.timeout(GATHER_S):
            size = len(messages[0])
            while len(messages) < BATCH and size < BATCH_BYTES:
                messages.append(await connection.recv())
                size += len(messages[-1])
    return messages
