"""What comes over the wire, however it is cut, framed or broken, becomes the messages it holds.

The relay here is a bare TCP server that writes the bytes of the websocket protocol itself.
"""

import asyncio
import base64
import hashlib
import random
import struct
from collections.abc import Sequence
from contextlib import aclosing

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidMessage

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


async def read(
    pieces: Sequence[bytes], head: bytes = UPGRADE, *, wait: bool = True
) -> tuple[list[bytes], Exception | None, bytes]:
    """The messages RelaySource makes of `pieces`, how it ended, and what it answered."""
    answered = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = request.lower().partition(b"sec-websocket-key: ")[2].partition(b"\r\n")[0]
        at = request.lower().index(b"sec-websocket-key: ") + len("sec-websocket-key: ")
        key = request[at : at + len(key)]
        accept = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False)
        writer.write(head + b"Sec-WebSocket-Accept: " + base64.b64encode(accept.digest()))
        writer.write(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if wait:
            answered.extend(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    messages: list[bytes] = []
    ended: Exception | None = None
    async with server, aclosing(RelaySource(f"ws://127.0.0.1:{port}").frames(None)) as chunks:
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


async def test_a_stream_byte_by_byte_holds_the_same_messages() -> None:
    few = MESSAGES[:5]
    stream = b"".join(frame(BINARY, message) for message in few) + END
    messages, _, _ = await read([bytes([byte]) for byte in stream])
    assert messages == few


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
        b"\x82\x7f" + struct.pack(">Q", MAX_FRAME_BYTES + 1) + b"too long",
        b"\x82\x7f" + struct.pack(">Q", 2**64 - 1) + b"far too long",
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
