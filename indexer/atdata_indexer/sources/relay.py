"""A relay or PDS over `com.atproto.sync.subscribeRepos` (https://atproto.com/specs/event-stream).

The connection takes plain messages out of what was read of the socket and leaves all else to the
websockets library: handshake, control frames, fragments, whatever is wrong. All that came in one
read is handed over at once. That costs less than half of `async for message in connection`.
Reading stops while too many bytes wait.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State
from websockets.typing import BytesLike

MAX_FRAME_BYTES = 5 * 1024 * 1024 + 4096
PATH = "/xrpc/com.atproto.sync.subscribeRepos"
_MESSAGE = 0x82  # FIN and opcode binary: a message in one frame (RFC 6455, section 5.2)
_MASKED = 0x80


class RelaySource:
    """One relay, by the address of its host: `wss://bsky.network`.

    `buffer_bytes` bounds what waits unread, give or take one frame.
    """

    def __init__(
        self, url: str, *, user_agent: str = "atdata-appview", buffer_bytes: int = 16 << 20
    ) -> None:
        self._url = url.rstrip("/")
        self._user_agent = user_agent
        self._buffer_bytes = buffer_bytes

    @property
    def name(self) -> str:
        """The relay's address."""
        return self._url

    @property
    def finite(self) -> bool:
        """Never: a relay that closes is connected to again."""
        return False

    async def frames(self, cursor: int | None) -> AsyncGenerator[Sequence[bytes]]:
        """See `Source.frames`."""
        query = "" if cursor is None else "?" + urlencode({"cursor": cursor})
        async with connect(
            self._url + PATH + query,
            create_connection=partial(_Connection, buffer_bytes=self._buffer_bytes),  # type: ignore[arg-type]  # typed as a class, documented as a factory
            compression=None,
            max_size=MAX_FRAME_BYTES,
            # A quiet stream is not a dead one: pings tell, and a reader that holds the socket
            # back for a while must not be taken for dead either.
            ping_interval=30,
            ping_timeout=300,
            proxy=None if self._url.startswith("ws://") else True,
            user_agent_header=self._user_agent,
        ) as connection:
            assert isinstance(connection, _Connection)
            yield ()
            while chunk := await connection.take():
                yield chunk


class _Connection(ClientConnection):
    """Collects whole binary messages until `take` fetches them all.

    `process_event` runs for every frame of the network's traffic: each attribute counts.
    """

    def __init__(self, *args: Any, buffer_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit = buffer_bytes
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._unread = bytearray()
        self._fragments: list[BytesLike] = []
        self._ready = asyncio.Event()
        self._wanted = False
        self._paused = False

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with what was read of the socket."""
        at = 0
        while self.response is None and at < len(data):
            # The handshake line by line, for frames may follow in the same read.
            end = data.find(b"\n", at) + 1 or len(data)
            super().data_received(data[at:end])
            at = end
        self._unread += data[at:]
        at = 0
        with memoryview(self._unread) as unread:
            while self.protocol.state is State.OPEN:
                begin, end = _payload(unread, at)
                fits = end - begin <= MAX_FRAME_BYTES
                if fits and end > len(unread):
                    break
                plain = unread[at] == _MESSAGE and unread[at + 1] < _MASKED
                if plain and fits and not self._fragments:
                    self._put(bytes(unread[begin:end]))
                else:
                    super().data_received(bytes(unread[at:end]))
                at = end
            else:
                super().data_received(bytes(unread[at:]))
                at = len(unread)
        del self._unread[:at]

    def process_event(self, event: Event) -> None:
        """Called by websockets for the handshake's answer and for each frame."""
        if event.__class__ is not Frame:
            super().process_event(event)
        elif event.opcode is Opcode.BINARY and event.fin:
            self._put(event.data)
        elif event.opcode is Opcode.BINARY or event.opcode is Opcode.CONT:
            self._fragments.append(event.data)
            if event.fin:
                self._put(b"".join(self._fragments))
                self._fragments = []
        elif event.opcode is Opcode.TEXT:
            # Not of this protocol: handed on, so that decoding it fails loudly.
            self._put(event.data)
        else:
            super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio at the end of the connection."""
        super().connection_lost(exc)
        self._ready.set()

    async def take(self) -> Sequence[bytes]:
        """All that waits, or what comes next; empty at the end of the stream.

        Raises ConnectionClosedError when it ended without a proper close.
        """
        if not self._waiting and not self.connection_lost_waiter.done():
            self._ready.clear()
            self._wanted = True
            await self._ready.wait()
        chunk, self._waiting, self._bytes = self._waiting, [], 0
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if not chunk and self.close_code not in (1000, 1001):
            raise self.protocol.close_exc
        return chunk

    def _put(self, data: BytesLike) -> None:
        message = bytes(data)  # here, where it is still in the processor's cache
        self._waiting.append(message)
        self._bytes += len(message)
        if self._wanted:
            self._wanted = False
            self._ready.set()
        if self._bytes > self._limit and not self._paused:
            self._paused = True
            self.transport.pause_reading()


def _payload(data: memoryview, at: int) -> tuple[int, int]:
    """Where the payload of the frame at `at` begins and ends; behind `data` if not known."""
    begin = at + 2
    if begin > len(data):
        return begin, begin
    length = data[at + 1] % _MASKED
    if length > 125:
        begin += 2 if length == 126 else 8
        length = int.from_bytes(data[at + 2 : begin])
    return begin, begin + length
