"""The AppView as a process of its own, and a client that costs next to nothing."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from atdata_indexer.settings import Settings

PROGRAM = Path(sys.executable).parent / "atdata-appview"
PATIENCE_S = 120.0
KEPT_S = 2.0
"""A connection idle for longer may be closed on us: the AppView keeps it for 5 s."""
NOBODY = "http://127.0.0.1:9"  # the port of the discard service


@dataclass(frozen=True, slots=True)
class Served:
    """A running AppView: where it answers, and its process."""

    host: str
    port: int
    pid: int

    def memory_mb(self) -> tuple[int, int, int]:
        """Its resident memory, the most that ever was, and how much of it now is no mapped file."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        sizes = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
        resident, most, own = (int(sizes[n][0]) >> 10 for n in ("VmRSS", "VmHWM", "RssAnon"))
        return resident, most, own


@contextmanager
def running(data_dir: Path, *, apart: bool = False, **settings: Any) -> Iterator[Served]:
    """`atdata-appview run` on a data directory, on a free port; or, `apart`, `index` and `serve` as
    processes of their own. It follows nothing unless told to, and asks nobody about made-up
    accounts.
    """
    values = {
        "data_dir": data_dir,
        "port": 0,
        "relay": "none",
        "directories": "none",
        "plc_url": NOBODY,
        "handle_resolver": NOBODY,
        "identity_hours": 8760,
        "backfill": False,
        "export_hour": "none",
        "log_format": "json",
        **settings,
    }
    prefix = Settings.variable("")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(prefix)}
    variables = plain | {Settings.variable(name): str(value) for name, value in values.items()}
    with ExitStack() as stack:
        if apart:
            indexing, log = stack.enter_context(_started(["index"], variables))
            _said(indexing, log, "indexing")
            serving, log = stack.enter_context(_started(["serve", "--workers", "1"], variables))
        else:
            serving, log = stack.enter_context(_started(["run"], variables))
        host, _, port = _said(serving, log, "serving")["url"].removeprefix("http://").partition(":")
        yield Served(host, int(port), serving.pid)


@contextmanager
def _started(
    arguments: Sequence[str], variables: Mapping[str, str]
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """A command of the AppView as a process, and the file it logs to."""
    with (
        tempfile.NamedTemporaryFile("w+") as log,
        subprocess.Popen([PROGRAM, *arguments], env=variables, stderr=log) as process,
    ):
        try:
            yield process, Path(log.name)
        finally:
            process.terminate()


def _said(process: "subprocess.Popen[bytes]", log: Path, event: str) -> dict[str, Any]:
    """The line that a process logs when it has come so far."""
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        for line in log.read_text().splitlines(keepends=True):
            if line.endswith("\n") and line.startswith("{"):
                said: dict[str, Any] = json.loads(line)
                if said.get("event") == event:
                    return said
        time.sleep(0.02)
    raise SystemExit(f"the AppView does not come to {event!r}:\n{log.read_text()}")


def request(nsid: str, params: Sequence[tuple[str, str]]) -> bytes:
    """A request for a query, as it is sent."""
    path = f"/xrpc/{nsid}?{urlencode(params)}"
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


class Client:
    """One connection that is kept open, as long as the AppView keeps it."""

    def __init__(self, served: Served) -> None:
        self._address = served.host, served.port
        self._connect()

    def wake(self) -> None:
        """Connect anew if the AppView may have hung up since the last answer."""
        if time.monotonic() - self._asked > KEPT_S:
            self.close()
            self._connect()

    def ask(self, request: bytes) -> bytes:
        """The body of the answer. Raises RuntimeError unless its status is 200."""
        self._asked = time.monotonic()
        self._socket.sendall(request)
        received = self._socket.recv(1 << 17)
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        head = received[:end].lower()
        length = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        parts, missing = [received[end + 4 :]], end + 4 + length - len(received)
        while missing > 0:
            parts.append(self._more())
            missing -= len(parts[-1])
        body = b"".join(parts)
        if not head.startswith(b"http/1.1 200 "):
            raise RuntimeError(f"{request!r}: {body[:500]!r}")
        return body

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._address, PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._asked = time.monotonic()

    def _more(self) -> bytes:
        received = self._socket.recv(1 << 17)
        if not received:
            raise RuntimeError("the AppView hung up")
        return received
