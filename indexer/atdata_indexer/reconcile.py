"""Compares repos with their PDSs by `getLatestCommit`, and has those fetched that differ.

What the index missed without knowing shows here. A PDS may be ahead for a moment, while its newest
commit is still on its way: a repo counts as out of step only when it has not come after a while.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import structlog

from atdata_indexer.changes import SyncState
from atdata_indexer.errands import Errands
from atdata_indexer.fetch import Fetcher, RepoGone, RepoUnavailable
from atdata_indexer.index.store import Store

CHECKS = 4
GRACE_S = 30.0
PATIENCE = 6
"""How often a host that does not answer is asked before its repo waits for the next round."""


class Reconciler:
    """Checks repos. `note` stores a repo's sync state, `checked` that it is in step now; `fetch`
    has a repo fetched.
    """

    def __init__(
        self,
        store: Store,
        fetcher: Fetcher,
        *,
        note: Callable[[str, SyncState], Awaitable[None]],
        checked: Callable[[str], Awaitable[None]],
        fetch: Callable[[str], None],
    ) -> None:
        self._store = store
        self._fetcher = fetcher
        self._note = note
        self._checked = checked
        self._fetch = fetch
        self._expected: dict[str, str] = {}
        self._errands = Errands(self._check, CHECKS)
        self._log = structlog.get_logger()
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Check until cancelled."""
        await self._errands.run()

    @property
    def idle(self) -> bool:
        """Whether nothing is being checked or could be."""
        return self._errands.idle

    def soon(self, dids: Sequence[str]) -> None:
        """Check these repos."""
        for did in dids:
            self._errands.soon(did)

    async def _check(self, did: str, failures: int) -> float | None:
        place = self._store.place(did)
        if place is None or place.sync != "active":
            return None  # it is being fetched, which ends in step
        if place.pds is None:
            await self._checked(did)  # there is nobody to ask, and others wait
            return None
        expected = self._expected.pop(did, None)
        if expected is None:
            try:
                expected = await self._fetcher.latest(place.pds, did)
            except RepoGone:
                await self._out_of_step(did)  # or moved: the fetch finds out
                return None
            except RepoUnavailable as error:
                self.counts["checks_failed"] += 1
                self._log.info("check_failed", did=did, error=str(error)[:300])
                if failures >= PATIENCE:
                    await self._checked(did)
                    return None
                return max(1.0, error.retry_s)
            if place.rev is None or place.rev < expected:
                self._expected[did] = expected
                return GRACE_S
        elif place.rev is None or place.rev < expected:
            self.counts["out_of_step"] += 1
            self._log.info("out_of_step", did=did, rev=place.rev, pds_rev=expected)
            await self._out_of_step(did)
            return None
        self.counts["in_step"] += 1
        await self._checked(did)
        return None

    async def _out_of_step(self, did: str) -> None:
        await self._note(did, "desynchronised")
        self._fetch(did)
