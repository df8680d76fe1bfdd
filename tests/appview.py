"""The AppView for tests: in this process, or in one of its own that can be killed."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from anyio.from_thread import start_blocking_portal

from atdata_api.server import AppView
from atdata_indexer.admin_client import AdminClient
from atdata_indexer.daemon import Indexer
from atdata_indexer.overview import Overview
from atdata_indexer.playback import Playback
from atdata_indexer.settings import Settings

PATIENCE_S = 60.0
"""How long a condition may take on a slow machine before a test calls it broken."""


PROGRAM = str(Path(sys.executable).parent / "atdata-appview")


def settings(data_dir: Path, host: str, **more: Any) -> Settings:
    """Settings for an AppView that follows the playback (or PDS) at `host`."""
    values: dict[str, Any] = {
        "data_dir": data_dir,
        "port": 0,
        "relay": f"ws://{host}",
        "first_cursor": 0,
        "plc_url": f"http://{host}",
        "handle_resolver": f"http://{host}",
        "allow_loopback": True,
        "backfill": False,
        "batch_ms": 5,
    }
    return Settings(**(values | more))


@asynccontextmanager
async def indexing(playback: Playback, data_dir: Path, **more: Any) -> AsyncIterator[Indexer]:
    """An indexer that has read all of `playback` and goes on following it."""
    async with (
        playback.serve() as host,
        Indexer.open(settings(data_dir, host, **more), clock=playback.clock) as indexer,
    ):
        running = asyncio.create_task(indexer.run())
        try:
            await caught_up(indexer, playback, running)
            yield indexer
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def caught_up(
    indexer: Indexer, playback: Playback, running: "asyncio.Task[None] | None" = None
) -> None:
    """Wait until all that `playback` holds is searchable. Raises what stopped the indexer."""

    def ready() -> bool:
        if running is not None and running.done():
            running.result()
        return indexer.is_current(playback.last_seq)

    await until(ready)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.005)


@contextmanager
def serving(playback: Playback, data_dir: Path, **more: Any) -> Iterator[AppView]:
    """A whole AppView over HTTP, caught up with `playback`, in a thread beside the test."""

    @asynccontextmanager
    async def start() -> AsyncIterator[AppView]:
        async with (
            playback.serve() as host,
            AppView.start(settings(data_dir, host, **more), clock=playback.clock) as (view, _),
        ):
            await caught_up(view.indexer, playback)
            yield view

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(start()) as view:
        yield view


class AppViewProcess:
    """`atdata-appview run` (or `index`, `serve`) in a process of its own; `url` once it serves."""

    def __init__(
        self,
        data_dir: Path,
        host: str,
        *,
        command: Sequence[str] = ("run",),
        program: Sequence[str] = (PROGRAM,),
        wait: bool = True,
        **more: Any,
    ) -> None:
        values = settings(data_dir, host, log_format="json", **more).model_dump(exclude_none=True)
        variables = {Settings.variable(name): str(value) for name, value in values.items()}
        self._ended = False
        self._process = subprocess.Popen(
            [*program, *command],
            env={**os.environ, **variables},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = ""
        if wait:
            started = self.wait_for_log("indexing" if command[0] == "index" else "serving")
            self.url = started.get("url", "")

    def wait_for_log(self, event: str) -> dict[str, Any]:
        """The first log line `event`; fails when the process ends or takes too long."""

        def found() -> bool:
            return any(line.get("event") == event for line in self.log) or self._ended

        with self._news:
            assert self._news.wait_for(found, PATIENCE_S), f"no {event} in {self.log}"
        for line in self.log:
            if line.get("event") == event:
                return line
        raise AssertionError(f"the process ended before {event}: {self.log}")

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """`kill -9`, by the process's own handle."""
        self._process.kill()
        self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self._process.terminate()
        code = self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code

    def __enter__(self) -> "AppViewProcess":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process.poll() is None:
            self.kill()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for text in lines:
                try:
                    line = json.loads(text)
                except ValueError:
                    line = {"event": "text", "text": text}
                with self._news:
                    self.log.append(line)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def operator(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an operator's command on a data directory, as an operator would."""
    variables = {Settings.variable("data_dir"): str(data_dir)}
    return subprocess.run(
        [PROGRAM, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def settled(client: AdminClient, playback: Playback) -> Overview:
    """The overview once all that `playback` holds is searchable, the authors' identities too."""

    def found() -> Overview | None:
        overview = client.overview()
        at = overview.sources[0].cursor
        is_settled = (
            at == playback.last_seq
            and not overview.census.identities_due
            and overview.index_seq == overview.census.head
        )
        return overview if is_settled else None

    overview = wait_until(found)
    assert overview is not None
    return overview


def answer_of(done: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    """The JSON that a command printed, which must have ended with this code."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout)


class Served(Protocol):
    """What listens on a free port of 127.0.0.1 while its block lasts."""

    def serve(self) -> AbstractAsyncContextManager[str]: ...


@contextmanager
def playing(playback: Served) -> Iterator[str]:
    """A playback (or the like) served in a thread beside the test; gives `127.0.0.1:port`."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(playback.serve()) as host,
    ):
        yield host


def wait_until[T](holds: Callable[[], T]) -> T:
    """Wait until `holds` gives something true; what it gave."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{holds} did not come true")
