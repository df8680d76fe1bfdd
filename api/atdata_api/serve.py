"""The API alone: worker processes on one listening socket, over an index that another one keeps.

A worker reads the tantivy directory, looks for what is new ten times a second, and asks the
indexer's admin socket for the rest. A worker that dies is replaced; when this process dies its
workers end too.
"""

import asyncio
import multiprocessing
import socket
import time
from multiprocessing.context import SpawnProcess

import structlog
from prometheus_client import CollectorRegistry
from starlette.concurrency import run_in_threadpool

from atdata_api import metrics
from atdata_api.front import front
from atdata_api.server import listen, on_signal, url_of
from atdata_api.shared_limits import Table, table
from atdata_indexer import log
from atdata_indexer.admin_client import AdminClient
from atdata_indexer.errors import StoreError
from atdata_indexer.index.reader import Reader
from atdata_indexer.settings import Settings
from atdata_indexer.upkeep import INDEX

REFRESH_S = 0.1
_SPAWN = multiprocessing.get_context("spawn")  # a fork would take along locks and no threads
_SHORTEST_LIFE_S = 1.0


async def serve(settings: Settings, workers: int) -> None:
    """Run until SIGTERM or SIGINT, with `workers` processes that answer."""
    with listen(settings.host, settings.port) as listener:
        team = _Team(settings, listener)
        on_signal(team.stop)
        structlog.get_logger().info(
            "serving", url=url_of(listener), data=str(settings.data_dir), workers=workers
        )
        with metrics.serving_for_workers(settings):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(workers):
                    tasks.create_task(team.keep_one())


class _Team:
    """The workers of one listening socket."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._callers = table(_SPAWN)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let every worker finish what it does and end."""
        self._stopping.set()

    async def keep_one(self) -> None:
        """Keep one worker alive until `stop`."""
        while not self._stopping.is_set():
            started = time.monotonic()
            given = self._settings, self._listener, self._callers
            worker = _SPAWN.Process(target=_work, args=given)
            worker.start()
            await self._ended(worker)
            if self._stopping.is_set():
                return
            structlog.get_logger().error("worker_died", exit_code=worker.exitcode)
            await asyncio.sleep(max(0.0, _SHORTEST_LIFE_S - (time.monotonic() - started)))

    async def _ended(self, worker: SpawnProcess) -> None:
        """Wait until a worker has ended, and let it end when the others do."""
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(worker.sentinel, gone.set)
        try:
            waiting = {asyncio.create_task(one.wait()) for one in (gone, self._stopping)}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not gone.is_set():
                worker.terminate()
                await gone.wait()
            for task in waiting:
                task.cancel()
        finally:
            loop.remove_reader(worker.sentinel)
        worker.join()


def _work(settings: Settings, listener: socket.socket, callers: Table) -> None:
    """A worker process."""
    log.configure(settings)
    asyncio.run(answer(settings, listener, callers))


async def answer(settings: Settings, listener: socket.socket, callers: Table) -> None:
    """Answer on a listening socket until SIGTERM or SIGINT, or until the parent process ends."""
    reader = Reader(settings.data_dir / INDEX)
    ledger = AdminClient(settings.data_dir)
    async with front(settings, reader, ledger, CollectorRegistry(), callers) as server:

        def stop() -> None:
            server.should_exit = True

        on_signal(stop)
        parent = multiprocessing.parent_process()
        if parent is not None:
            asyncio.get_running_loop().add_reader(parent.sentinel, stop)
        refreshing = asyncio.create_task(_refresh(reader))
        try:
            await server.serve(sockets=[listener])
        finally:
            refreshing.cancel()


async def _refresh(reader: Reader) -> None:
    """Follow the index; while it cannot be read, searches see what it last was."""
    log_of = structlog.get_logger()
    usable = True
    while True:
        try:
            await run_in_threadpool(reader.refresh)
            usable = True
        except StoreError as error:
            if usable:
                log_of.warning("index_unusable", error=str(error))
            usable = False
        await asyncio.sleep(REFRESH_S)
