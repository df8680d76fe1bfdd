"""A Jetstream server on loopback, of either version, which plays what a relay's frames say."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import libipld
import zstandard
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from atdata_indexer.jetstream import Version
from atdata_indexer.repo import read_record, read_roots
from atdata_schemas.records import COLLECTIONS
from atdata_schemas.syntax import cid_text, format_micros
from tests.signed import START_US, frame

PATHS: Mapping[Version, str] = {
    1: "/subscribe",
    2: "/xrpc/network.bsky.jetstream.subscribeEvents",
}
_NSID = "network.bsky.jetstream.subscribeEvents"
_FILTERS: Mapping[Version, str] = {1: "wantedCollections", 2: "collections"}


@dataclass(frozen=True, slots=True)
class Heard:
    """An event as the server keeps it; `raw` is sent as it stands."""

    kind: str
    did: str
    body: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes | None = None


class JetstreamServer:
    """Plays `log`. Event n has the position `position(n)`, which is a time or a number.

    `floor` is the first event that is still kept; `cut` gives how many messages a connection gets
    before it is broken off, None for no end. `zstd` is what it compresses with.
    """

    def __init__(self, version: Version, *, dictionary: bytes | None = None) -> None:
        self.version = version
        self.log: list[Heard] = []
        self.floor = 0
        self.refuses_times = False
        self.cut: dict[int, int] = {}
        self.closed = False
        self.queries: list[dict[str, list[str]]] = []
        self.tokens: list[str | None] = []
        self.cuts = 0
        self.sent = 0
        self.packed = 0
        self.dictionary = dictionary
        self.refused: list[str] = []
        self._more = asyncio.Event()

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return len(self.queries)

    def position(self, number: int) -> int:
        """The cursor of the event `number` of the log."""
        return START_US + number * 1000 if self.version == 1 else number + 1

    @property
    def last(self) -> int:
        """The cursor of the newest event that a client of ours is sent."""
        sent = {_FILTERS[self.version]: list(COLLECTIONS)}
        numbers = range(len(self.log))
        delivered = (n for n in numbers if self._message(n, sent) is not None)
        return self.position(max(delivered, default=-1))

    def hear(self, *events: Heard) -> None:
        """Add events at the end of the stream."""
        self.log += events
        self._wake()

    def commit(self, *bodies: Mapping[str, Any]) -> None:
        """Add the ops of `#commit` bodies."""
        for body in bodies:
            self.relayed(frame(body))

    def account(self, did: str, *, active: bool, status: str | None = None) -> None:
        """Add what an account has become."""
        at = format_micros(START_US + len(self.log))
        body = {"active": active, "did": did, "seq": 1, "time": at}
        self.hear(Heard("account", did, body if status is None else body | {"status": status}))

    def relayed(self, *frames: bytes) -> None:
        """Add what frames of a relay say."""
        for one in frames:
            self.hear(*heard(one))

    def close(self) -> None:
        """Refuse every connection from now on, and end those that are open."""
        self.closed = True
        self._wake()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serve on a free port of 127.0.0.1; gives `ws://127.0.0.1:port`."""
        async with serve(
            self._stream, "127.0.0.1", 0, process_request=self._answer, ping_interval=None
        ) as server:
            host, port = next(iter(server.sockets)).getsockname()[:2]
            yield f"ws://{host}:{port}"

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    async def _stream(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        query = parse_qs(urlsplit(connection.request.path).query)
        self.queries.append(query)
        self.tokens.append(connection.request.headers.get("Authorization"))
        at, notice = self._begin(query)
        left = self.cut.get(self.connections, -1)
        if notice is not None:
            await self._send(connection, query, notice)
        while not self.closed:
            more = self._more
            while at < len(self.log):
                message = self._message(at, query)
                at += 1
                if message is None:
                    continue
                if left == 0:
                    self.cuts += 1
                    if self.cuts % 2:
                        connection.transport.abort()
                    return
                left -= 1
                await self._send(connection, query, message)
            waiting = asyncio.create_task(more.wait())
            closed = asyncio.create_task(connection.wait_closed())
            await asyncio.wait({waiting, closed}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if closed.done():
                return
            closed.cancel()

    def _begin(self, query: Mapping[str, list[str]]) -> tuple[int, bytes | None]:
        """Where to begin, and what must be said of it first."""
        if "cursor" not in query:
            return len(self.log), None
        cursor = int(query["cursor"][0])
        numbers = range(len(self.log))
        if self.version == 1:
            # Too old a cursor is clamped without a word; one of the future means: what comes.
            at = next((n for n in numbers if self.position(n) >= cursor), len(self.log))
            return max(at, self.floor), None
        if cursor >= 10**15:
            return self.floor, _info("OutdatedCursor")
        if cursor > len(self.log) + 1:
            return len(self.log), _info("FutureCursor")
        return next((n for n in numbers if self.position(n) >= cursor), len(self.log)), None

    def _message(self, number: int, query: Mapping[str, list[str]]) -> bytes | None:
        event, position = self.log[number], self.position(number)
        if event.raw is not None:
            return event.raw
        wanted = query.get(_FILTERS[self.version], [])
        if event.kind == "commit" and event.body["collection"] not in wanted:
            return None
        if self.version == 2:
            time = format_micros(START_US + number * 1000)
            payload = {"$type": f"{_NSID}#{event.kind}", "seq": position, "did": event.did}
            payload |= {"time": time, "witnessedAt": time}
            payload |= event.body if event.kind == "commit" else {event.kind: event.body}
            said: dict[str, Any] = {"$type": "message", "payload": payload}
        elif event.kind == "sync":
            return None
        else:
            said = {"did": event.did, "time_us": position, "kind": event.kind}
            said[event.kind] = event.body
        return json.dumps(said).encode()

    async def _send(
        self, connection: ServerConnection, query: Mapping[str, list[str]], message: bytes
    ) -> None:
        self.sent += 1
        if "compress" in query or "zstdDictionary" in query:
            self.packed += 1
            await connection.send(message if message[:1] == b"(" else self.pack(message))
        elif message[:1] == b"{":
            await connection.send(message.decode())
        else:
            await connection.send(message)

    def pack(self, message: bytes) -> bytes:
        """A message compressed with the dictionary."""
        assert self.dictionary is not None
        dictionary = zstandard.ZstdCompressionDict(self.dictionary)
        return zstandard.ZstdCompressor(dict_data=dictionary).compress(message)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain HTTP; None lets a websocket handshake go on."""
        url = urlsplit(request.path)
        query = parse_qs(url.query)
        if self.closed:
            return _response(b"", HTTPStatus.SERVICE_UNAVAILABLE)
        if url.path.endswith(".getZstdDictionary") and self.version == 2 and self.dictionary:
            return _response(self.dictionary, HTTPStatus.OK)
        if url.path != PATHS[self.version]:
            return _response(b"", HTTPStatus.NOT_FOUND)
        if self.version == 2:
            cursor = int(query.get("cursor", ["-1"])[0])
            if cursor >= 10**15 and self.refuses_times:
                return self._refuse("CursorTooOld")
            if 0 <= cursor < self.position(self.floor) and cursor < 10**15 and self.floor:
                return self._refuse("CursorTooOld")
            if "zstdDictionary" in query:
                assert self.dictionary is not None
                known = zstandard.ZstdCompressionDict(self.dictionary).dict_id()
                if query["zstdDictionary"] != [str(known)]:
                    return self._refuse("UnknownZstdDictionary")
        return None

    def _refuse(self, error: str) -> Response:
        self.refused.append(error)
        body = json.dumps({"error": error, "message": "no"}).encode()
        return _response(body, HTTPStatus.BAD_REQUEST)


def heard(one: bytes) -> Sequence[Heard]:
    """What Jetstream makes of a relay's frame: one event for each op, and no proof of any."""
    header, body = libipld.decode_dag_cbor_multi(one)
    match header["t"]:
        case "#commit":
            _, blocks = read_roots(body["blocks"])
            return [
                Heard("commit", body["repo"], _op(body["rev"], op, blocks)) for op in body["ops"]
            ]
        case "#account" | "#identity":
            return [Heard(header["t"][1:], body["did"], body)]
        case "#sync":
            return [Heard("sync", body["did"], {"rev": body["rev"], "did": body["did"]})]
        case _:
            return []


def _op(rev: str, op: Mapping[str, Any], blocks: Mapping[bytes, bytes]) -> dict[str, Any]:
    collection, _, rkey = op["path"].partition("/")
    said = {"rev": rev, "operation": op["action"], "collection": collection, "rkey": rkey}
    if op["cid"] is not None and collection in COLLECTIONS:
        said |= {"cid": cid_text(op["cid"]), "record": read_record(blocks[op["cid"]])}
    return said


def _info(name: str) -> bytes:
    return json.dumps(
        {"$type": "message", "payload": {"$type": f"{_NSID}#info", "name": name}}
    ).encode()


def _response(body: bytes, status: HTTPStatus) -> Response:
    headers = Headers({"Content-Length": str(len(body)), "Connection": "close"})
    return Response(status.value, status.phrase, headers, body)
