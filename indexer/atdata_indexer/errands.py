"""Something to do for a DID, by a few workers, and again later where it cannot be done now."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

MAX_WAIT_S = 3600.0

type Errand = Callable[[str, int], Awaitable[float | None]]
"""Does the work for a DID, told how often it failed before. Gives None when there is nothing left
to do, else the least number of seconds to wait before it is tried again."""


class Errands:
    """A queue of DIDs without repetition. `run` works on it until cancelled."""

    def __init__(self, do: Errand, workers: int) -> None:
        self._do = do
        self._workers = workers
        self._log = structlog.get_logger()
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is being done or could be; what waits for its time does not count."""
        return not self._queued

    def soon(self, did: str) -> None:
        """Do it as soon as a worker is free; once, however often it is asked for meanwhile.

        What failed lately keeps its time: asking does not make a host answer.
        """
        if did not in self._queued and did not in self._timers:
            self._queued.add(did)
            self._queue.put_nowait(did)

    async def run(self) -> None:
        """Work until cancelled. An unexpected error is logged, and tried again later."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            did = await self._queue.get()
            failures = self._failures.pop(did, 0)
            try:
                wait = await self._do(did, failures)
            except Exception:
                # What a stranger made fail in a way nobody thought of must stop nobody else.
                self._log.exception("errand_failed", did=did)
                wait = 60.0
            self._queued.discard(did)
            if wait is not None:
                self._failures[did] = failures + 1
                pause = min(MAX_WAIT_S, max(wait, 2.0 ** min(failures, 12)))
                self._timers[did] = loop.call_later(pause, self._due, did)

    def _due(self, did: str) -> None:
        self._timers.pop(did, None)
        self.soon(did)
