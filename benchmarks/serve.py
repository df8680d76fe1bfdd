"""A firehose on the loopback that sends as fast as it is read: `python -m benchmarks.serve FILE`.

FILE holds websocket frames, ready to be sent (see `write`). The first part of the path that a
client asks for is how many of them it gets, as in `ws://127.0.0.1:PORT/1000/…`; then the connection
is closed properly. One client at a time. The port is printed; the server ends when its stdin does.
"""

import base64
import mmap
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha1
from pathlib import Path
from threading import Thread

_ROOT = Path(__file__).parent.parent
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_CLOSE = b"\x88\x02\x03\xe8"  # a close frame, code 1000
_BINARY = 0x82


def write(path: Path, messages: Iterable[bytes]) -> None:
    """Write messages as unmasked binary frames."""
    with path.open("wb") as file:
        for message in messages:
            file.write(_head(len(message)))
            file.write(message)


@contextmanager
def serving(path: Path) -> Iterator[int]:
    """Serve a file of frames from a process of its own; yields the port."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.serve", str(path)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())


def main() -> None:
    """Serve one client after the other."""
    Thread(target=_exit_with_stdin, daemon=True).start()
    with open(sys.argv[1], "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    ends = _ends(content)
    with socket.create_server(("127.0.0.1", 0)) as server, memoryview(content) as frames:
        print(server.getsockname()[1], flush=True)
        while True:
            client, _ = server.accept()
            with client, suppress(OSError):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                count = _shake_hands(client)
                client.sendall(frames[: ends[count]])
                client.sendall(_CLOSE)
                client.settimeout(10)
                client.recv(4096)  # the client's close frame; it waits for the server to hang up


def _exit_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _shake_hands(client: socket.socket) -> int:
    """Accept a websocket; how many frames it wants."""
    request = b""
    while b"\r\n\r\n" not in request:
        received = client.recv(65536)
        if not received:
            raise OSError("the client went away")
        request += received
    first, *lines = request.split(b"\r\n")
    fields = (line.partition(b":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    key = sha1(headers[b"sec-websocket-key"] + _GUID, usedforsecurity=False).digest()
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(key) + b"\r\n\r\n"
    )
    return int(first.split(b"/")[1])


def _head(length: int) -> bytes:
    if length < 126:
        return struct.pack(">BB", _BINARY, length)
    if length < 65536:
        return struct.pack(">BBH", _BINARY, 126, length)
    return struct.pack(">BBQ", _BINARY, 127, length)


def _ends(content: mmap.mmap) -> list[int]:
    """Where the first n frames end, by n."""
    ends = [0]
    at = 0
    while at < len(content):
        length = content[at + 1]
        at += 2
        if length == 126:
            (length,) = struct.unpack_from(">H", content, at)
            at += 2
        elif length == 127:
            (length,) = struct.unpack_from(">Q", content, at)
            at += 8
        at += length
        ends.append(at)
    return ends


if __name__ == "__main__":
    main()
