"""Keeps the database within its bounds while the indexer runs: a slice at each round.

What is past its time is dropped, repos whose deferred records have room again are fetched, and
accounts of which nothing is held are forgotten. An account that speaks while it is being forgotten
must lose nothing:

    hold its events ──▶ forget, in the writer thread, if still nothing is held ──▶ release
                                                       events waited: meet it anew ◀──┘
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial

from atdata_indexer.index.store import Store
from atdata_indexer.lanes import Lanes
from atdata_indexer.notes import Notes
from atdata_indexer.settings import Settings

HOUR_US = 3_600_000_000
FORGOTTEN = 50
"""How many accounts one round forgets at most, in the event loop."""
FETCHED = 50
BUSY = 1000
"""With so many events waiting, nobody is forgotten: each account means a look at all of them."""


class Housekeeper:
    """Goes one round whenever it is told to.

    `tracked` is what decoders know. `meet` begins to track an account, `fetch` has a repo fetched,
    `wake` says that there is something to apply. `counts` says how much was dropped.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        lanes: Lanes,
        tracked: set[str],
        notes: Notes,
        *,
        meet: Callable[[str], None],
        fetch: Callable[[str], None],
        wake: Callable[[], None],
        clock: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._store = store
        self._lanes = lanes
        self._tracked = tracked
        self._notes = notes
        self._meet = meet
        self._fetch = fetch
        self._wake = wake
        self._clock = clock
        self._forgetting: set[str] = set()
        self.counts: Counter[str] = Counter()

    def is_forgetting(self, did: str) -> bool:
        """Whether an account is held because it is just being forgotten."""
        return did in self._forgetting

    async def round(self) -> None:
        """Do a slice of what is due. Raises StoreError."""
        now = self._clock()
        self.counts += await self._notes.write(partial(self._store.tidy, now))
        if self._settings.backfill:
            before = now - self._settings.reconcile_hours * HOUR_US
            retry = partial(self._store.retry_deferred, now, before, FETCHED)
            for did in await self._notes.write(retry):
                self.counts["deferred_repos_retried"] += 1
                self._fetch(did)
        await self._forget(now)

    async def _forget(self, now_us: int) -> None:
        if len(self._lanes) > BUSY:
            return
        found = await asyncio.to_thread(self._store.forgettable, now_us, FORGOTTEN)
        # One that is held already is being looked up or fetched.
        self._forgetting = {did for did in found if self._lanes.hold(did)}
        forgotten: set[str] = set()
        try:
            if self._forgetting:
                forget = partial(self._store.forget, self._forgetting, now_us)
                forgotten = await self._notes.write(forget)
        finally:
            for did in self._forgetting:
                self._settle(did, forgotten=did in forgotten)
            self._forgetting = set()

    def _settle(self, did: str, *, forgotten: bool) -> None:
        """Let an account's events go on, as those of a stranger if it was forgotten."""
        lost = did in self._lanes.lost
        self._lanes.release(did)
        if forgotten:
            self.counts["accounts_forgotten"] += 1
            self._tracked.discard(did)
            if lost or self._lanes.waits(did):
                self._meet(did)
        self._wake()
