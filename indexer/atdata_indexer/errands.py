"""Something to do for a DID, by a few workers, and again later where it cannot be done now."""

import asyncio
from collections.abc import Awaitable, Callable

MAX_WAIT_S = 3600.0

type Errand = Callable[[str, int], Awaitable[float | None]]
"""Does the work for a DID, told how often it failed before. Gives None when there is nothing left
to do, else the least number of seconds to wait before it is tried again."""


class Errands:
    """A queue of DIDs without repetition. `run` works on it until cancelled."""

    def __init__(self, do: Errand, workers: int) -> None:
        self._do = do
        self._workers = workers
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()
        self._failures: dict[str, int] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is being done or could be; what waits for its time does not count."""
        return not self._queued

    def soon(self, did: str) -> None:
        """Do it as soon as a worker is free; once, however often it is asked for meanwhile."""
        if did not in self._queued:
            self._queued.add(did)
            self._queue.put_nowait(did)

    async def run(self) -> None:
        """Work until cancelled. An unexpected error of the work ends it and is raised."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            did = await self._queue.get()
            failures = self._failures.get(did, 0)
            wait = await self._do(did, failures)
            self._queued.discard(did)
            if wait is None:
                self._failures.pop(did, None)
            else:
                self._failures[did] = failures + 1
                loop.call_later(
                    min(MAX_WAIT_S, max(wait, 2.0 ** min(failures, 12))), self.soon, did
                )
