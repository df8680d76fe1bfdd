"""What comes over the wire, however it is cut, framed or broken, becomes the messages it holds.

The relay here is a bare TCP server that writes the bytes of the websocket protocol itself.
"""

import asyncio
import base64
import hashlib
import random
import struct
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidMessage

from atdata_indexer.errors import FrameError
from atdata_indexer.frames import Decoder
from atdata_indexer.sources.connection import OVERSIZE, OVERSIZE_KEPT
from atdata_indexer.sources.relay import MAX_FRAME_BYTES, RelaySource

RANDOM = random.Random(1)
SIZES = (0, 1, 125, 126, 127, 65535, 65536, 300_000, 3, 5)
MESSAGES = [RANDOM.randbytes(size) for size in SIZES]
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, mask: bool = False) -> bytes:
    """One frame as RFC 6455, section 5.2, has it."""
    masked = 0x80 if mask else 0
    if len(data) < 126:
        length = bytes([masked | len(data)])
    elif len(data) < 65536:
        length = bytes([masked | 126]) + struct.pack(">H", len(data))
    else:
        length = bytes([masked | 127]) + struct.pack(">Q", len(data))
    return bytes([fin << 7 | opcode]) + length + (b"abcd" if mask else b"") + data


END = frame(CLOSE, b"\x03\xe8")


@asynccontextmanager
async def relaying(
    pieces: Iterable[bytes], head: bytes, answered: bytearray, *, wait: bool
) -> AsyncIterator[str]:
    """A relay that sends each piece when the one before was read, and notes what is answered."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        at = request.lower().index(b"sec-websocket-key: ") + len("sec-websocket-key: ")
        key = request[at:].partition(b"\r\n")[0]
        accept = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False)
        writer.write(head + b"Sec-WebSocket-Accept: " + base64.b64encode(accept.digest()))
        writer.write(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            for _ in range(3):  # rounds of the event loop, which both ends share
                await asyncio.sleep(0)
        if wait:
            answered.extend(await reader.read(4096))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def read(
    pieces: Iterable[bytes],
    head: bytes = UPGRADE,
    *,
    wait: bool = True,
    message_bytes: int = MAX_FRAME_BYTES,
) -> tuple[list[bytes], Exception | None, bytes]:
    """The messages RelaySource makes of `pieces`, how it ended, and what it answered."""
    answered = bytearray()
    messages: list[bytes] = []
    ended: Exception | None = None
    async with relaying(pieces, head, answered, wait=wait) as url:
        source = RelaySource(url, message_bytes=message_bytes)
        async with aclosing(source.frames(None)) as chunks:
            try:
                async for chunk in chunks:
                    messages += chunk
            except (ConnectionClosedError, InvalidHandshake, InvalidMessage) as error:
                ended = error
    return messages, ended, bytes(answered)


def opcodes(answered: bytes) -> list[int]:
    """The opcodes of the short, masked frames that a client sent."""
    found, at = [], 0
    while at < len(answered):
        found.append(answered[at] & 0x0F)
        at += 2 + 4 + (answered[at + 1] & 0x7F)
    return found


async def test_messages_of_every_length_form_in_one_read() -> None:
    stream = b"".join(frame(BINARY, message) for message in MESSAGES)
    messages, ended, _ = await read([stream + END])
    assert messages == MESSAGES
    assert ended is None


@pytest.mark.parametrize("seed", range(5))
async def test_a_stream_cut_anywhere_holds_the_same_messages(seed: int) -> None:
    stream = b"".join(frame(BINARY, message) for message in MESSAGES) + END
    cuts = sorted(random.Random(seed).sample(range(len(stream)), 40))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    messages, ended, _ = await read(pieces)
    assert messages == MESSAGES
    assert ended is None


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much came with each read of a socket by RelaySource."""
    sizes: list[int] = []
    received = ClientConnection.connection_made

    def made(self: ClientConnection, transport: asyncio.BaseTransport) -> None:
        inner = self.data_received

        def counted(data: bytes) -> None:
            sizes.append(len(data))
            inner(data)

        self.data_received = counted  # type: ignore[method-assign]  # the real one runs
        received(self, transport)

    monkeypatch.setattr(ClientConnection, "connection_made", made)
    return sizes


async def test_a_stream_byte_by_byte_holds_the_same_messages(reads: list[int]) -> None:
    few = MESSAGES[:5]
    stream = b"".join(frame(BINARY, message) for message in few) + END
    messages, _, _ = await read(bytes([byte]) for byte in stream)
    assert messages == few
    assert reads.count(1) >= len(stream) - 1


async def test_fragments_pings_and_text_between_messages() -> None:
    stream = (
        frame(BINARY, b"a")
        + frame(PING, b"one")
        + frame(BINARY, b"b", fin=False)
        + frame(PING, b"two")
        + frame(CONT, b"c", fin=False)
        + frame(CONT, b"d")
        + frame(TEXT, b"text")
        + frame(BINARY, b"e")
        + END
    )
    messages, ended, answered = await read([stream])
    assert messages == [b"a", b"bcd", b"text", b"e"]
    assert ended is None
    assert opcodes(answered).count(PONG) == 2


@pytest.mark.parametrize(
    "broken",
    [
        frame(BINARY, b"b", fin=False) + frame(BINARY, b"in the middle of fragments"),
        frame(BINARY, b"servers do not mask", mask=True),
        frame(CONT, b"nothing has begun"),
        frame(BINARY, b"b", fin=False) + frame(TEXT, b"c", fin=False),
        b"\x82\x7f" + struct.pack(">Q", 2**63) + b"the top bit is set",
        b"\x82\x7f" + struct.pack(">Q", 2**64 - 1) + b"all bits are set",
        b"\x82\xff" + struct.pack(">Q", 2**62) + b"abcd masked and too long",
        b"\xc2\x7f" + struct.pack(">Q", 2**62) + b"reserved and too long",
        b"\x89\x7f" + struct.pack(">Q", 2**62) + b"a ping, and too long",
        b"\xc2\x01a",
        b"\x83\x01a",
        frame(CLOSE, b"\x03\xf0policy"),
    ],
)
async def test_what_breaks_the_protocol_ends_the_connection_after_what_came_before(
    broken: bytes,
) -> None:
    messages, ended, _ = await read([frame(BINARY, b"a") + broken + frame(BINARY, b"z")])
    assert messages == [b"a"]
    assert isinstance(ended, ConnectionClosedError)


@pytest.mark.parametrize("tail", [b"", frame(BINARY, b"cut off")[:-2]])
async def test_a_connection_that_just_ends_is_an_error(tail: bytes) -> None:
    messages, ended, _ = await read([frame(BINARY, b"a") + tail], wait=False)
    assert messages == [b"a"]
    assert isinstance(ended, ConnectionClosedError)


async def test_what_follows_a_close_is_not_read() -> None:
    messages, ended, _ = await read([frame(BINARY, b"a") + END + frame(BINARY, b"after") * 9])
    assert messages == [b"a"]
    assert ended is None


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 429 Slow down\r\nContent-Length: 4\r\n", b"garbage\r\n", b"\n" * 1000]
)
async def test_an_answer_that_is_no_handshake_is_an_error(head: bytes) -> None:
    messages, ended, _ = await read([b"body\n\nmore"], head, wait=False)
    assert messages == []
    assert isinstance(ended, InvalidHandshake | InvalidMessage)


SHORT = 1500
"""A limit for messages that makes it cheap to be too long."""
LONG = RANDOM.randbytes(4000)
STAND_IN = OVERSIZE + LONG[:OVERSIZE_KEPT]


def fragments(opcode: int, message: bytes, size: int) -> bytes:
    """A message in frames of this size, with a ping before each but the first."""
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return frame(PING).join(
        frame(CONT if n else opcode, part, fin=n == len(parts) - 1) for n, part in enumerate(parts)
    )


OVERSIZES = {
    "one frame": (frame(BINARY, LONG), [STAND_IN]),
    "one frame of text": (frame(TEXT, LONG), [STAND_IN]),
    "one byte too much": (
        frame(BINARY, LONG[: SHORT + 1]) + frame(BINARY, LONG[:SHORT]),
        [STAND_IN, LONG[:SHORT]],
    ),
    "small fragments": (fragments(BINARY, LONG, 100), [STAND_IN]),
    "fragments of text": (fragments(TEXT, LONG, 999), [STAND_IN]),
    "a fragment that is too long itself": (
        frame(BINARY, LONG[:10], fin=False) + frame(CONT, LONG[10:]),
        [STAND_IN],
    ),
    "a first fragment that is too long itself": (
        frame(BINARY, LONG, fin=False) + frame(CONT, fin=False) + frame(CONT, LONG),
        [STAND_IN],
    ),
    "fragments that fit": (fragments(BINARY, LONG[:SHORT], 7), [LONG[:SHORT]]),
    "two in a row": (frame(BINARY, LONG) + fragments(BINARY, LONG, 1499), [STAND_IN] * 2),
}


@pytest.mark.parametrize("name", OVERSIZES)
@pytest.mark.parametrize("size", [1, 1025, 10**6])
async def test_a_message_that_is_too_long_is_passed_over_wherever_the_bytes_are_cut(
    name: str, size: int, reads: list[int]
) -> None:
    oversize, wanted = OVERSIZES[name]
    stream = frame(BINARY, b"before") + oversize + frame(BINARY, b"after") + END
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    messages, ended, _ = await read(pieces, message_bytes=SHORT)
    assert messages == [b"before", *wanted, b"after"]
    assert ended is None
    assert reads.count(size) >= len(stream) // size - 1


async def test_a_message_that_is_too_long_by_the_limit_of_the_protocol_is_no_event() -> None:
    longest, longer = bytes(MAX_FRAME_BYTES), bytes(MAX_FRAME_BYTES + 1)
    stream = frame(BINARY, longest) + frame(BINARY, longer) + frame(BINARY, b"after")
    messages, ended, _ = await read([stream + END])
    assert messages == [longest, OVERSIZE + longer[:OVERSIZE_KEPT], b"after"]
    assert ended is None
    with pytest.raises(FrameError):
        Decoder(frozenset()).decode(messages[1])


@pytest.mark.parametrize("opcode", [BINARY, CONT])
@pytest.mark.parametrize("megabytes", [0, 64])
async def test_a_length_beyond_all_memory_takes_none(opcode: int, megabytes: int) -> None:
    header = bytes([opcode, 0x7F]) + struct.pack(">Q", 2**62)
    before = frame(BINARY, b"a") + (frame(BINARY, b"b", fin=False) if opcode == CONT else b"")
    piece = bytes(1 << 18)
    tracemalloc.start()
    try:
        pieces = [before + header, *[piece] * (4 * megabytes)]
        messages, ended, _ = await read(pieces, wait=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert messages[0] == b"a"
    begun = b"b" if opcode == CONT else b""
    kept = [OVERSIZE + (begun + piece)[:OVERSIZE_KEPT]] if megabytes else []
    assert messages[1:] == kept
    assert isinstance(ended, ConnectionClosedError)
    assert peak < 4 << 20


@pytest.mark.parametrize("size", [0, 2])
async def test_tiny_messages_that_wait_are_counted_with_what_they_take(size: int) -> None:
    piece = frame(BINARY, bytes(size)) * 10_000
    sent = 0

    def flood() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 10_000
            yield piece

    limit = 1 << 20
    async with (
        relaying(flood(), UPGRADE, bytearray(), wait=False) as url,
        aclosing(RelaySource(url, buffer_bytes=limit).frames(None)) as chunks,
    ):
        await anext(chunks)
        held = -1
        while sent != held:  # every buffer between the two is full, or all is sent
            held = sent
            for _ in range(1000):
                await asyncio.sleep(0)
        # What waits when reading stops, and what came in the same read.
        got = len(await anext(chunks))
        assert got < limit // 64 + (1 << 18) // 2
        while got < 1_000_000:
            got += len(await anext(chunks))
    assert got == sent
