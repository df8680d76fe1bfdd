"""What comes due with time: housekeeping, identities, comparisons with PDSs, discovery.

When each was last done stands in the database, so a restart neither forgets nor repeats it. A round
takes a slice of what is due and lets it be done before it takes the next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from atdata_indexer.discovery import Discovery
from atdata_indexer.index.store import Store
from atdata_indexer.settings import Settings

HOUR_US = 3_600_000_000
EVERY_S = 20.0
SLICE = 500


@dataclass(frozen=True, slots=True)
class Duties:
    """What a round hands on: accounts to look up, which `unresolved` gives, and repos to compare.
    `idle` says that all of the last were. `tidy` keeps the database within its bounds.
    """

    unresolved: Callable[[int, int], Awaitable[list[str]]]
    look_up: Callable[[Sequence[str]], None]
    compare: Callable[[Sequence[str]], None]
    idle: Callable[[], bool]
    tidy: Callable[[], Awaitable[None]]


class Rounds:
    """Goes round until cancelled. `hurry` begins the next at once."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        discovery: Discovery | None,
        duties: Duties,
        clock: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._store = store
        self._discovery = discovery
        self._duties = duties
        self._clock = clock
        self._now = asyncio.Event()

    def hurry(self) -> None:
        """Begin the next round at once: something is due."""
        self._now.set()

    async def run(self) -> None:
        """Go round until cancelled. Raises StoreError."""
        async with asyncio.TaskGroup() as tasks:
            discovering: asyncio.Task[None] | None = None
            while True:
                self._now.clear()
                await self._round()
                if self._discovery and (discovering is None or discovering.done()):
                    before = self._clock() - self._settings.discover_hours * HOUR_US
                    discovering = tasks.create_task(self._discovery.round(before))
                try:
                    async with asyncio.timeout(EVERY_S):
                        await self._now.wait()
                except TimeoutError:
                    continue

    async def _round(self) -> None:
        await self._duties.tidy()
        if not self._duties.idle():
            return
        now, settings = self._clock(), self._settings
        stale = now - settings.identity_hours * HOUR_US
        self._duties.look_up(await self._duties.unresolved(stale, SLICE))
        if settings.backfill:
            before = now - settings.reconcile_hours * HOUR_US
            dids = await asyncio.to_thread(self._store.unchecked, before, SLICE)
            self._duties.compare(dids)
