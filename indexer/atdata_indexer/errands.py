"""Something to do for a DID, by a few workers, and again later where it cannot be done now."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from atdata_indexer.errors import StoreError

MAX_WAIT_S = 3600.0
PATIENCE = 4
"""After so many failures nobody waits for it any more; it is tried again all the same."""

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
        self._doing: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is being done or could be; what waits for its time does not count."""
        return not self._queued

    @property
    def waiting(self) -> int:
        """How many are being done or could be."""
        return len(self._queued)

    @property
    def resting(self) -> bool:
        """Whether nothing is being done, and all that is left has failed again and again."""
        return not self._queued and all(
            self._failures.get(did, 0) >= PATIENCE for did in self._timers
        )

    def soon(self, did: str) -> None:
        """Do it as soon as a worker is free; once, however often it is asked for meanwhile.

        What is being done may already have looked away: it is done once more. What failed lately
        keeps its time: asking does not make a host answer.
        """
        if did in self._doing:
            self._again.add(did)
        elif did not in self._queued and did not in self._timers:
            self._queued.add(did)
            self._queue.put_nowait(did)

    def afresh(self, did: str) -> None:
        """Do it soon although it failed lately: what it waited for has come."""
        timer = self._timers.pop(did, None)
        if timer is not None:
            timer.cancel()
            self._failures.pop(did, None)
        self.soon(did)

    async def run(self) -> None:
        """Work until cancelled. An unexpected error is logged, and tried again later.

        Raises StoreError: a store that fails is nobody else's doing.
        """
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            did = await self._queue.get()
            failures = self._failures.pop(did, 0)
            self._doing.add(did)
            try:
                wait = await self._do(did, failures)
            except StoreError:
                raise
            except Exception:
                # What a stranger made fail in a way nobody thought of must stop nobody else.
                self._log.exception("errand_failed", did=did)
                wait = 60.0
            finally:
                self._doing.discard(did)
                self._queued.discard(did)
            if wait is not None:
                self._failures[did] = failures + 1
                pause = min(MAX_WAIT_S, max(wait, 2.0 ** min(failures, 12)))
                self._timers[did] = loop.call_later(pause, self._due, did)
            elif did in self._again:
                self.soon(did)
            self._again.discard(did)

    def _due(self, did: str) -> None:
        self._timers.pop(did, None)
        self.soon(did)
