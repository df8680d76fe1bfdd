"""The whole AppView in one process, indexer and API on one event loop; and the indexer alone."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import structlog
import uvicorn

from atdata_api import metrics
from atdata_api.front import front
from atdata_indexer.admin import admin_socket
from atdata_indexer.daemon import Indexer
from atdata_indexer.ingest import wall_clock
from atdata_indexer.settings import Settings
from atdata_indexer.sources.configured import Line


class AppView:
    """A running AppView. `url` is where it answers; `indexer` is what keeps the index."""

    def __init__(self, indexer: Indexer, server: uvicorn.Server, url: str) -> None:
        self.indexer = indexer
        self.url = url
        self._server = server

    def stop(self) -> None:
        """Ask it to finish what it does and end. May be called from a signal handler."""
        self._server.should_exit = True

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        settings: Settings,
        lines: Sequence[Line] | None = None,
        clock: Callable[[], int] = wall_clock,
    ) -> AsyncIterator["tuple[AppView, asyncio.Task[None]]"]:
        """Open the data directory, listen and follow the sources until the block ends.

        Gives the AppView and the task that serves: it ends when `stop` was called, or with the
        error that stopped the indexer. Raises StoreError and OSError when it cannot start.
        """
        with listen(settings.host, settings.port) as listener:
            async with (
                Indexer.open(settings, lines, clock=clock) as indexer,
                admin_socket(settings.data_dir, indexer),
            ):
                registry = metrics.of_indexer(indexer)
                async with front(settings, indexer.reader, indexer, registry) as server:
                    view = cls(indexer, server, url_of(listener))
                    serving = asyncio.create_task(view._serve(listener))
                    try:
                        with metrics.serving(settings, registry):
                            yield view, serving
                    finally:
                        view.stop()
                        with suppress(asyncio.CancelledError):
                            await serving

    async def _serve(self, listener: socket.socket) -> None:
        indexing = asyncio.create_task(self.indexer.run())
        indexing.add_done_callback(lambda task: self._indexing_ended(task))
        try:
            await self._server.serve(sockets=[listener])
        finally:
            indexing.cancel()
            with suppress(asyncio.CancelledError):
                await indexing

    def _indexing_ended(self, indexing: "asyncio.Task[None]") -> None:
        """A recording that ended is served on; an indexer that failed takes the API with it."""
        if not indexing.cancelled() and indexing.exception() is not None:
            self.stop()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that knows its protocol, without which asyncio leaves Nagle's delay on."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """Where a listening socket answers."""
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def on_signal(stop: Callable[[], object]) -> None:
    """Let SIGTERM and SIGINT call `stop`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


async def index(settings: Settings) -> None:
    """Only index, until SIGTERM or SIGINT. Raises what stopped the indexer."""
    async with Indexer.open(settings) as indexer, admin_socket(settings.data_dir, indexer) as path:
        with metrics.serving(settings, metrics.of_indexer(indexer)):
            indexing = asyncio.create_task(indexer.run())
            on_signal(indexing.cancel)
            data = str(settings.data_dir)
            structlog.get_logger().info("indexing", socket=str(path), data=data)
            with suppress(asyncio.CancelledError):
                await indexing


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises what stopped the indexer."""
    starting = asyncio.current_task()
    assert starting is not None
    on_signal(starting.cancel)
    async with AppView.start(settings) as (view, serving):
        on_signal(view.stop)
        structlog.get_logger().info("serving", url=view.url, data=str(settings.data_dir))
        await serving
