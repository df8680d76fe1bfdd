"""Backfills of a running indexer: what operators ask for, one after the other."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

LOOK_S = 0.2


class Backfills:
    """Has hosts asked for repos, and waits until all that can be fetched is searchable.

    `ask` asks hosts (none: all directories), `fetch_behind` has every repo fetched that is behind,
    `is_done` says whether nothing is left to do; `room` is set whenever something was done.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[str]], Awaitable[object]],
        fetch_behind: Callable[[], Awaitable[object]],
        is_done: Callable[[], bool],
        room: asyncio.Event,
    ) -> None:
        self._ask = ask
        self._fetch_behind = fetch_behind
        self._is_done = is_done
        self._room = room
        self._asked: asyncio.Queue[Sequence[str]] = asyncio.Queue()
        self._count = 0

    @property
    def going(self) -> bool:
        """Whether one that was asked for is going on, or waits for its turn."""
        return self._count > 0

    def begin(self, hosts: Sequence[str], loop: asyncio.AbstractEventLoop) -> None:
        """Ask for one, which `run` does in `loop`. Any thread."""
        self._count += 1
        loop.call_soon_threadsafe(self._asked.put_nowait, hosts)

    async def one(self, hosts: Sequence[str]) -> None:
        """Do one. What a crash or a cancellation leaves is gone on with."""
        await self._ask(hosts)
        await self._fetch_behind()
        while not self._is_done():
            self._room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._room.wait()

    async def run(self) -> None:
        """Do what is asked for until cancelled."""
        while True:
            hosts = await self._asked.get()
            try:
                await self.one(hosts)
            finally:
                self._count -= 1
