"""A relay or PDS over `com.atproto.sync.subscribeRepos` (https://atproto.com/specs/event-stream)."""

from collections.abc import AsyncGenerator, Collection, Container, Sequence
from functools import partial
from urllib.parse import urlencode

from websockets.asyncio.client import connect

from atdata_indexer.frames import Decode, Decoder, event_micros
from atdata_indexer.sources.connection import Connection
from atdata_schemas.records import COLLECTIONS

MAX_FRAME_BYTES = 5 * 1024 * 1024 + 4096
PATH = "/xrpc/com.atproto.sync.subscribeRepos"


class RelaySource:
    """One relay, by the address of its host: `wss://bsky.network`.

    `buffer_bytes` bounds what waits unread, give or take one message of `message_bytes`.
    """

    def __init__(
        self,
        url: str,
        *,
        user_agent: str = "atdata-appview",
        buffer_bytes: int = 16 << 20,
        message_bytes: int = MAX_FRAME_BYTES,
        collections: Collection[str] = COLLECTIONS,
    ) -> None:
        self._collections = collections
        self._url = url.rstrip("/")
        self._user_agent = user_agent
        self._buffer_bytes = buffer_bytes
        self._message_bytes = message_bytes

    @property
    def name(self) -> str:
        """The relay's address."""
        return self._url

    @property
    def finite(self) -> bool:
        """Never: a relay that closes is connected to again."""
        return False

    def decoder(self, tracked: Container[str]) -> Decode:
        """See `Source.decoder`."""
        return Decoder(tracked, self.name, self._collections).decode

    def emitted_us(self, frame: bytes) -> int | None:
        """See `Source.emitted_us`."""
        return event_micros(frame)

    async def frames(self, cursor: int | None) -> AsyncGenerator[Sequence[bytes]]:
        """See `Source.frames`."""
        query = "" if cursor is None else "?" + urlencode({"cursor": cursor})
        connection_of = partial(
            Connection, buffer_bytes=self._buffer_bytes, message_bytes=self._message_bytes
        )
        async with connect(
            self._url + PATH + query,
            create_connection=connection_of,  # type: ignore[arg-type]  # typed as a class, documented as a factory
            compression=None,
            max_size=self._message_bytes,
            # A quiet stream is not a dead one: pings tell, and a reader that holds the socket
            # back for a while must not be taken for dead either.
            ping_interval=30,
            ping_timeout=300,
            proxy=None if self._url.startswith("ws://") else True,
            user_agent_header=self._user_agent,
        ) as connection:
            assert isinstance(connection, Connection)
            yield ()
            while chunk := await connection.take():
                yield chunk
