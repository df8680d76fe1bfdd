"""Keeps repos in step with their PDSs: fetches whole what is new, or was missed, or was forged.

    behind in the store ──soon──▶ hold its events ──▶ getRepo ──▶ verify ──▶ snapshot to write
                                                                                      │
                          release its events, which go on after the snapshot ◀────────┘

That a repo is behind stands in the database, so a crash at any point only means that it is fetched
again. A host that asks to be left alone is; one that cannot be reached is tried again later, after
the account has been looked up anew: it may have moved.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import structlog

from atdata_indexer.changes import SyncState
from atdata_indexer.errands import Errands
from atdata_indexer.errors import CommitError
from atdata_indexer.fetch import Fetcher, RepoGone, RepoUnavailable
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index.store import Store
from atdata_indexer.lanes import Lanes
from atdata_indexer.settings import FetchBy
from atdata_indexer.snapshot import Snapshot, read_listing, read_snapshot
from atdata_schemas.records import COLLECTIONS

FETCHES = 4
OUTDATED_S = 60.0
REFUSED_S = 60.0
UNWRITTEN = 100
UNWRITTEN_BYTES = 32 << 20
"""While so many snapshots, or so much, wait for the writer, nothing more is fetched."""
REPORTED = 100
"""After so many fetched repos a line in the log says how far it is."""


class Syncer:
    """Fetches repos. `snapshots` waits for the writer; `wake` is called when something does.

    `note` stores a repo's sync state; `look_up` asks for an account's identity to be resolved.
    """

    def __init__(
        self,
        store: Store,
        lanes: Lanes,
        fetcher: Fetcher,
        *,
        verify: bool,
        fetch_by: FetchBy,
        wake: Callable[[], None],
        note: Callable[[str, SyncState], Awaitable[None]],
        look_up: Callable[[str], None],
        collections: Sequence[str] = tuple(COLLECTIONS),
    ) -> None:
        self._collections = collections
        self._store = store
        self._lanes = lanes
        self._fetcher = fetcher
        self._verify = verify
        self._fetch_by = fetch_by
        self._wake = wake
        self._note = note
        self._look_up = look_up
        self._errands = Errands(self._fetch, FETCHES)
        self._fetching: set[str] = set()
        self._unresolved: set[str] = set()
        self._unwritten: dict[str, int] = {}
        self._written = asyncio.Event()
        self._failed_at: dict[str, str] = {}
        self.snapshots: list[Snapshot] = []
        self.counts: Counter[str] = Counter()
        self._log = structlog.get_logger()

    @property
    def idle(self) -> bool:
        """Whether nothing is being fetched or could be."""
        return self._errands.idle and not self._fetching

    @property
    def resting(self) -> bool:
        """Whether all that can be fetched was: what is left has failed again and again."""
        return self._errands.resting and not self._fetching

    async def run(self) -> None:
        """Fetch until cancelled, beginning with what the store says is behind."""
        for did in self._store.behind():
            self.soon(did)
        await self._errands.run()

    def soon(self, did: str) -> None:
        """Fetch a repo, if it is behind when its turn comes."""
        self._errands.soon(did)

    def later(self, did: str) -> None:
        """Fetch a repo again after a while: what its PDS gave was older than what is known."""
        asyncio.get_running_loop().call_later(OUTDATED_S, self.soon, did)

    def is_fetching(self, did: str) -> bool:
        """Whether a repo is held because it is being fetched."""
        return did in self._fetching

    def resolved(self, identity: ResolvedIdentity) -> None:
        """An account was looked up: fetch its repo, unless from where that has just failed."""
        if identity.did in self._unresolved:
            self._unresolved.discard(identity.did)
            self._errands.afresh(identity.did)
        elif identity.pds != self._failed_at.get(identity.did):
            self.soon(identity.did)

    def applied(self, did: str) -> None:
        """Let a repo's events go on; if some were lost meanwhile, it is fetched once more."""
        self._fetching.discard(did)
        self._unwritten.pop(did, None)
        self._written.set()
        self._lanes.release(did)
        if did in self._lanes.lost:
            self.soon(did)
        self._wake()

    async def _fetch(self, did: str, failures: int) -> float | None:
        while self._is_full():
            self._written.clear()
            await self._written.wait()
        self._unresolved.discard(did)
        if did in self._fetching or not self._store.is_behind(did):
            return None
        place = self._store.place(did)
        if place is None or place.pds is None or (self._verify and place.key is None):
            self._unresolved.add(did)
            return 1.0
        if not self._lanes.hold(did):
            self._unresolved.add(did)  # it is held until its key was looked up
            return 1.0
        # What was lost before is in what is fetched now; that it must be stands in the store.
        self._lanes.made_up_for(did)
        self._fetching.add(did)
        try:
            return await self._try(did, place.pds, place.key)
        except BaseException:
            self.applied(did)  # nobody else would let its events go on
            raise

    def _is_full(self) -> bool:
        waiting = self._unwritten.values()
        return len(waiting) >= UNWRITTEN or sum(waiting) > UNWRITTEN_BYTES

    async def _try(self, did: str, pds: str, key: str | None) -> float | None:
        """Fetch a repo that is held; what is not handed on to the writer is released."""
        try:
            snapshot = await self._snapshot(did, pds, key)
        except RepoGone as error:
            self.counts["gone"] += 1
            self._log.info("repo_gone", did=did, error=str(error))
            self._look_up(did)
            await self._give_up(did, "gone")
            return None
        except RepoUnavailable as error:
            self.counts["unavailable"] += 1
            self._log.warning("repo_unavailable", did=did, error=str(error)[:300])
            self._failed_at[did] = pds
            self._look_up(did)
            await self._give_up(did, "throttled" if error.retry_s else "desynchronised")
            return max(1.0, error.retry_s)
        except CommitError as error:
            self.counts[f"refused_snapshot_{error.reason}"] += 1
            self._log.warning("repo_refused", did=did, error=str(error)[:300])
            self._look_up(did)
            await self._give_up(did, "desynchronised")
            return REFUSED_S
        self._failed_at.pop(did, None)
        self._unwritten[did] = _size(snapshot)
        self.snapshots.append(snapshot)
        self.counts["fetched"] += 1
        if self.counts["fetched"] % REPORTED == 0:
            self._log.info("fetching", **self.counts, waiting=self._errands.waiting)
        self._wake()
        return None

    async def _snapshot(self, did: str, pds: str, key: str | None) -> Snapshot:
        """The records of a repo. Raises RepoGone, RepoUnavailable and CommitError."""
        if self._fetch_by == "getRepo":
            car = await self._fetcher.repo(pds, did)
            key = key if self._verify else None
            return await asyncio.to_thread(read_snapshot, car, did, key, self._collections)
        listed = await self._fetcher.records(pds, did, self._collections)
        return await asyncio.to_thread(read_listing, listed, did)

    async def _give_up(self, did: str, state: SyncState) -> None:
        """Note why a repo could not be fetched now, and let its events go on."""
        await self._note(did, state)
        self.applied(did)


def _size(snapshot: Snapshot) -> int:
    blocks = (block for _, block in snapshot.records.values())
    return sum(len(block) for block in blocks if isinstance(block, bytes))
