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
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from atdata_indexer.errands import Errands
from atdata_indexer.errors import CommitError
from atdata_indexer.fetch import Fetcher, RepoGone, RepoUnavailable
from atdata_indexer.fold import SyncState
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index.store import Store
from atdata_indexer.lanes import Lanes
from atdata_indexer.snapshot import Snapshot, read_snapshot
from atdata_schemas.records import KINDS
from atdata_schemas.syntax import is_did

FETCHES = 4
OUTDATED_S = 60.0
REFUSED_S = 60.0


class Syncer:
    """Fetches repos. `snapshots` waits for the writer; `wake` is called when something does.

    `fetcher` asks hosts that strangers name, `directory` those that the operator does.

    `note` stores a repo's sync state; `look_up` asks for an account's identity to be resolved.
    """

    def __init__(
        self,
        store: Store,
        lanes: Lanes,
        fetcher: Fetcher,
        directory: Fetcher,
        *,
        verify: bool,
        wake: Callable[[], None],
        note: Callable[[str, SyncState], Awaitable[None]],
        look_up: Callable[[str], None],
    ) -> None:
        self._store = store
        self._lanes = lanes
        self._fetcher = fetcher
        self._directory = directory
        self._verify = verify
        self._wake = wake
        self._note = note
        self._look_up = look_up
        self._errands = Errands(self._fetch, FETCHES)
        self._fetching: set[str] = set()
        self._failed_at: dict[str, str] = {}
        self.snapshots: list[Snapshot] = []
        self.counts: Counter[str] = Counter()
        self._log = structlog.get_logger()

    @property
    def idle(self) -> bool:
        """Whether nothing is being fetched or could be."""
        return self._errands.idle and not self.snapshots

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
        if identity.pds != self._failed_at.get(identity.did):
            self.soon(identity.did)

    def applied(self, did: str) -> None:
        """Let a repo's events go on; if some were lost meanwhile, it is fetched once more."""
        lost = did in self._lanes.lost
        self._fetching.discard(did)
        self._lanes.release(did)
        if lost:
            self.soon(did)
        self._wake()

    async def discover(self, host: str) -> AsyncIterator[str]:
        """The DIDs that `host` (a relay, directory or PDS) knows to have records of ours.

        Raises RepoUnavailable and Refused.
        """
        for collection in KINDS:
            async for did in self._directory.repos_with(host, collection):
                if is_did(did):
                    yield did

    async def _fetch(self, did: str, failures: int) -> float | None:
        if not self._store.is_behind(did):
            return None
        pds, key = self._store.home(did)
        if pds is None or (self._verify and key is None) or not self._lanes.hold(did):
            return 1.0
        self._fetching.add(did)
        try:
            car = await self._fetcher.repo(pds, did)
            trusted = key if self._verify else None
            self.snapshots.append(await asyncio.to_thread(read_snapshot, car, did, trusted))
        except RepoGone as error:
            self._log.info("repo_gone", did=did, error=str(error))
            await self._give_up(did, "gone")
            return None
        except RepoUnavailable as error:
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
        self._wake()
        return None

    async def _give_up(self, did: str, state: SyncState) -> None:
        """Note why a repo could not be fetched now, and let its events go on."""
        await self._note(did, state)
        self.applied(did)
