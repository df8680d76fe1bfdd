"""A websocket connection that reads the network's whole traffic cheaply, in bounded memory.

It takes messages out of what was read of the socket and leaves all else to the websockets library:
handshake, control frames, whatever is wrong. All that came in one read is handed over at once. That
costs less than half of `async for message in connection`. Reading stops while too many bytes wait.

A message that is too long would end the connection if the library saw it, and come again on the
next one, for ever. It streams by instead, and its first bytes behind OVERSIZE, which no decoder
takes for an event, are handed over in its place.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State

OVERSIZE = b"\xff"
"""Stands before what is kept of a message that is too long: the CBOR code that begins no item."""
OVERSIZE_KEPT = 1024
"""How many of its bytes are kept, which tell it from others."""
# The first two bytes of a frame (RFC 6455, section 5.2). Bits that are reserved are not set.
_FIN = 0x80
_MESSAGE = _FIN | Opcode.BINARY
_DATA = frozenset(
    fin | opcode for fin in (0, _FIN) for opcode in (Opcode.CONT, Opcode.TEXT, Opcode.BINARY)
)
_MASKED = 0x80
_MOST = 2**63 - 1
_OVERHEAD = 64  # what a message takes in memory beside its payload: many may be tiny


class Connection(ClientConnection):
    """Collects whole messages until `take` fetches them all.

    `data_received` takes every frame of the network's traffic: each attribute counts.
    """

    def __init__(self, *args: Any, buffer_bytes: int, message_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit = buffer_bytes
        self._longest = message_bytes
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._unread = bytearray()
        self._in_fragments = False
        self._message = bytearray()  # what has come of the message in fragments
        self._length = 0  # the payload of its fragments so far, kept or not
        self._surplus = 0  # how much is still to come of a frame that nobody wants
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
        if self._surplus:
            at = min(self._surplus, len(data))
            self._surplus -= at
        self._unread += data[at:]
        at = 0
        with memoryview(self._unread) as unread:
            while self.protocol.state is State.OPEN:
                begin, end = _payload(unread, at)
                if begin > len(unread):
                    break
                if (
                    unread[at] == _MESSAGE
                    and end <= len(unread)
                    and unread[at + 1] < _MASKED
                    and end - begin <= self._longest
                    and not self._in_fragments
                ):
                    self._put(unread[begin:end])
                elif not self._took(unread, at, begin, end):
                    break
                at = end
            else:
                super().data_received(bytes(unread[at:]))
                at = len(unread)
        del self._unread[:at]

    def _took(self, unread: memoryview, at: int, begin: int, end: int) -> bool:
        """Take a frame that is not a whole message; False when more of it must be there first."""
        size = end - begin
        if unread[at] not in _DATA or unread[at + 1] >= _MASKED or size > _MOST:
            if end > len(unread) and size <= self._longest:
                return False
            super().data_received(bytes(unread[at:end]))
            return True
        fits = self._length + size <= self._longest
        kept = begin + (size if fits else min(size, OVERSIZE_KEPT))
        if kept > len(unread):
            return False
        # Without its payload, for the library to judge the order of fragments.
        super().data_received(bytes((unread[at], 0)))
        if self.protocol.state is State.OPEN:
            self._add(unread[begin:kept], size, last=unread[at] >= _FIN)
            self._surplus = max(0, end - len(unread))
        return True

    def _add(self, kept: memoryview, size: int, *, last: bool) -> None:
        """Add a fragment of this size, of which so much is kept; hand over what is complete."""
        known = self._length > self._longest
        self._length += size
        fits = self._length <= self._longest
        if not known:
            self._message += kept
        if not known and not fits:
            self._put(OVERSIZE + self._message[:OVERSIZE_KEPT])
            self._message = bytearray()
        self._in_fragments = not last
        if last:
            if fits:
                self._put(self._message)
            self._message, self._length = bytearray(), 0

    def process_event(self, event: Event) -> None:
        """Called by websockets for the handshake's answer and for each frame it was given."""
        if event.__class__ is not Frame or event.opcode not in _DATA:
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

    def _put(self, data: bytes | bytearray | memoryview) -> None:
        message = bytes(data)  # here, where it is still in the processor's cache
        self._waiting.append(message)
        self._bytes += len(message) + _OVERHEAD
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
