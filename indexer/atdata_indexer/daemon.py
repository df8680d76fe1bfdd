"""The indexer as a running program: the composition root of this package.

    source ──chunks──▶ reader task ──events──▶ waiting ──batch──▶ writer thread ──▶ searchable
                            │                                          │
                            └── tracked DIDs            identities due ┴──▶ resolver tasks

The reader only decodes and queues. A batch is taken every `batch_ms`, applied in the one thread
that owns the store, and reading stops while more than `buffer_mb` waits. A failure of the store
stops the program, loudly: nothing that was not committed has moved the cursor.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Self

import httpx
import structlog

from atdata_indexer.errands import Errands
from atdata_indexer.fetch import Fetcher, Refused, RepoUnavailable
from atdata_indexer.fold import SyncState
from atdata_indexer.following import Follower, SourceStatus, backoff
from atdata_indexer.frames import Account, Commit, Identity, Sync
from atdata_indexer.identity import IdentityResolver, IdentityUnavailable, ResolvedIdentity
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store
from atdata_indexer.index.tables import RecordStatus
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.ingest import Ingest, Outcome, Work, wall_clock
from atdata_indexer.lanes import Lanes
from atdata_indexer.net import strangers_client
from atdata_indexer.settings import Settings
from atdata_indexer.sources import Source
from atdata_indexer.sources.relay import RelaySource
from atdata_indexer.sync import Syncer
from atdata_indexer.upkeep import Upkeep

USER_AGENT = "atdata-appview"
LOOKUPS = 8
PATIENT_LOOKUPS = 3
JUDGED_S = 300.0
DISCOVERED = 500
IDLE_SAVE_S = 2.0


class Indexer:
    """Keeps the index. Make one with `open`, then `run` it; `store` and `reader` serve the API."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        writer: IndexWriter,
        reader: Reader,
        source: Source,
        pause: Callable[[int], float],
        clock: Callable[[], int],
    ) -> None:
        self._pause = pause
        self.store = store
        self.reader = reader
        self.status = SourceStatus(source.name, cursor=store.cursor(source.name))
        self._settings = settings
        self._source = source
        self._verify = settings.verify == "full"
        self._ingest = Ingest(store, writer, source.name, clock, verify=self._verify)
        self._resolver = IdentityResolver(settings, USER_AGENT)
        self._strangers = strangers_client(USER_AGENT, allow_private=settings.allow_loopback)
        self._operators = httpx.AsyncClient(headers={"User-Agent": USER_AGENT}, timeout=10)
        self._tracked = store.tracked()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self.upkeep = Upkeep(settings, store, lambda: writer, reader, self._hold)
        self._wake = asyncio.Event()
        self._lanes = Lanes(settings.buffer_mb << 19)
        self._lookups = Errands(self._look_up, LOOKUPS)
        self._syncer = Syncer(
            store,
            self._lanes,
            Fetcher(self._strangers, repo_bytes=settings.repo_mb << 20),
            Fetcher(self._operators, repo_bytes=settings.repo_mb << 20),
            verify=self._verify,
            wake=self._wake.set,
            note=self._note_sync,
            look_up=self._lookups.soon,
        )
        self.follower = Follower(
            source,
            self._lanes,
            self._tracked,
            self.status,
            first_cursor=settings.first_cursor,
            limit=settings.buffer_mb << 19,
            pause=pause,
            clock=clock,
            meet=self._meet,
            wake=self._wake.set,
        )
        self._found: list[str] = []
        self._resolved: list[ResolvedIdentity] = []
        self._judged: dict[str, float] = {}
        self._ended = False
        self._log = structlog.get_logger().bind(source=source.name)

    @property
    def counts(self) -> Counter[str]:
        """What became of events and connections since the start."""
        return self._ingest.counts + self.follower.counts

    @property
    def sync_counts(self) -> Counter[str]:
        """Why snapshots of repos were refused since the start."""
        return self._syncer.counts

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        source: Source | None = None,
        pause: Callable[[int], float] = backoff,
        clock: Callable[[], int] = wall_clock,
    ) -> AsyncIterator[Self]:
        """Open the data directory, bring the index up to date with the database, and close both.

        `pause` gives the seconds to wait before the n-th attempt to connect again, `clock` the
        microseconds since the epoch. Raises StoreError when the directory cannot be used.
        """
        log = structlog.get_logger()
        store = Store(settings.data_dir / "appview.duckdb", memory_limit=settings.memory_limit)
        try:
            folder = settings.data_dir / "index"
            store.purge()
            reader = Reader(folder)
            writer = IndexWriter(
                folder,
                store,
                progress=lambda done: log.info("index_rebuilding", documents=done),
                committed=reader.refresh,
            )
            if writer.rebuilt:
                log.info("index_rebuilt", why=writer.rebuilt)
            writer.catch_up()
            reader.refresh()
            source = source or RelaySource(
                settings.relay, user_agent=USER_AGENT, buffer_bytes=settings.buffer_mb << 19
            )
            indexer = cls(settings, store, writer, reader, source, pause, clock)
            try:
                yield indexer
            finally:
                await indexer._resolver.aclose()
                await indexer._strangers.aclose()
                await indexer._operators.aclose()
                indexer._thread.shutdown()
                writer.close()
        finally:
            store.close()

    def record_status(self, uri: str) -> RecordStatus:
        """Whether a record is indexed, quarantined, hidden, deleted or unseen, and why."""
        return self.store.record_status(uri)

    def account_counts(self) -> Mapping[str, int]:
        """How many accounts are active and how much is in quarantine."""
        return self.store.counts()

    def sources(self) -> Sequence[SourceStatus]:
        """How the source is doing."""
        return (replace(self.status),)

    def head(self) -> int:
        """The newest outbox seq."""
        return self.store.head

    def is_current(self, seq: int) -> bool:
        """Whether all up to `seq` of the source is searchable and no account is looked up."""
        return (
            self.status.cursor is not None
            and self.status.cursor >= seq
            and not self._lanes.holding
            and self._lookups.idle
            and (self._syncer.idle or not self._settings.backfill)
            and not (self._found or self._resolved)
            and self.reader.seq == self.store.head
        )

    async def run(self) -> None:
        """Follow the source until cancelled, or until it ends if it is a recording.

        Raises FutureCursor, ClockBehind and StoreError (in an ExceptionGroup): each is for an
        operator to mend.
        """
        for did in self.store.identities_due():
            self._lookups.soon(did)
        first = self.status.cursor is None and self._settings.backfill
        async with asyncio.TaskGroup() as tasks:
            errands = [
                tasks.create_task(self._lookups.run()),
            ]
            if self._settings.backfill:
                errands.append(tasks.create_task(self._syncer.run()))
            if first and not self._source.finite:
                errands.append(tasks.create_task(self._discover_in_time()))
            applying = tasks.create_task(self._apply())
            await self.follower.run()
            self._ended = True
            self._wake.set()
            await applying
            for task in errands:
                task.cancel()

    async def discover(self, host: str) -> int:
        """Track every repo with records of ours that `host` knows; each is then fetched whole.

        Returns how many were new. Raises RepoUnavailable and Refused; asked again, it goes on with
        what is still unknown.
        """
        new = 0
        async for did in self._syncer.discover(host):
            if did not in self._tracked:
                self._tracked.add(did)
                self._found.append(did)
                new += 1
            if len(self._found) >= DISCOVERED:
                self._wake.set()
                self.follower.room.clear()
                await self.follower.room.wait()
        self._wake.set()
        self._log.info("discovered", host=host, repos=new)
        return new

    async def _discover_in_time(self) -> None:
        """The discovery of a first start, tried until the host answers."""
        host = self._settings.relay.replace("ws", "http", 1)
        failures = 0
        while True:
            try:
                await self.discover(host)
            except (RepoUnavailable, Refused) as error:
                failures += 1
                self._log.warning("discovery_failed", host=host, error=str(error)[:300])
                await asyncio.sleep(self._pause(failures))
            else:
                return

    async def _apply(self) -> None:
        """Take what waits, batch by batch, to the writer thread."""
        loop = asyncio.get_running_loop()
        saved = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SAVE_S):
                    await self._wake.wait()
            if not self._ended:
                await asyncio.sleep(self._settings.batch_ms / 1000)
            self._wake.clear()
            idle = self._ended or loop.time() - saved >= IDLE_SAVE_S
            while self._has_work():
                await self._turn(loop)
                saved = loop.time()
            if idle and self.follower.read != self.status.cursor:
                # Once, not until they agree: the cursor stays behind while a repo is held.
                await self._turn(loop)
                saved = loop.time()
            if self._ended and not self._lanes.holding and not self._has_work():
                return

    def _has_work(self) -> bool:
        waits = self._found or self._resolved or self._syncer.snapshots
        return bool(len(self._lanes) or waits)

    async def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """One turn of the writer, and what follows from it."""
        events = self._lanes.take(self._settings.batch_events)
        work = Work(
            events=events,
            seq=self.follower.read,
            waiting=self._lanes.oldest(),
            repos=self._found,
            identities=self._resolved,
            snapshots=self._syncer.snapshots,
            judged=self._judged_now(loop.time()),
        )
        self._found, self._resolved, self._syncer.snapshots = [], [], []
        outcome = await loop.run_in_executor(self._thread, self._apply_now, work)
        if outcome.cursor is not None:
            self.status.cursor = outcome.cursor
        self.follower.room.set()
        for did in work.repos:
            self._lookups.soon(did)
        for event in events:
            if isinstance(event, Identity):
                self._judged.pop(event.did, None)
                self._lookups.soon(event.did)
            elif isinstance(event, Account | Sync):
                self._syncer.soon(event.did)
                if isinstance(event, Account) and event.status == "deleted":
                    self._lanes.drop(event.did)
        for did in outcome.behind:
            self._syncer.soon(did)
        self._doubt(outcome.doubted)
        for identity in work.identities:
            if not self._syncer.is_fetching(identity.did):
                self._lanes.release(identity.did)
            self._syncer.resolved(identity)
        for snapshot in work.snapshots:
            self._syncer.applied(snapshot.did)
        for did in outcome.outdated:
            self._syncer.later(did)

    def _apply_now(self, work: Work) -> Outcome:
        outcome = self._ingest.apply(work)
        self.reader.refresh()
        return outcome

    def _meet(self, did: str) -> None:
        """Begin to track an account; its commits wait until its key is known."""
        self._tracked.add(did)
        self._found.append(did)
        if self._verify:
            self._lanes.hold(did)

    def _judged_now(self, now: float) -> frozenset[str]:
        """The accounts whose keys were looked up so lately that they need not be again."""
        self._judged = {did: until for did, until in self._judged.items() if until > now}
        return frozenset(self._judged)

    def _doubt(self, commits: Sequence[Commit]) -> None:
        """Look keys up anew for commits that they do not fit; a second failure decides."""
        by_repo: dict[str, list[Commit]] = {}
        for commit in commits:
            by_repo.setdefault(commit.did, []).append(commit)
        for did, doubted in by_repo.items():
            self._judged[did] = asyncio.get_running_loop().time() + JUDGED_S
            self._lanes.hold(did)
            self._lanes.put_back(did, doubted)
            self._lookups.soon(did)

    async def _look_up(self, did: str, failures: int) -> float | None:
        """Resolve an identity; what waits for one that cannot be had is given up after a while."""
        try:
            # Awaited first: the list that results are put into is swapped meanwhile.
            identity = await self._resolver.resolve(did)
            self._resolved.append(identity)
        except IdentityUnavailable as error:
            self.follower.counts["identities_unavailable"] += 1
            self._log.warning("identity_unavailable", did=did, error=str(error)[:300])
            if failures >= PATIENT_LOOKUPS and not self._syncer.is_fetching(did):
                self._lanes.drop(did)
                self._lanes.release(did)
            return 1.0
        self._wake.set()
        return None

    async def _note_sync(self, did: str, state: SyncState) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self.store.set_sync_state, did, state)

    @property
    def waiting_bytes(self) -> int:
        """How much of the stream has been read and waits to be applied."""
        return self._lanes.ready_bytes

    def _hold[T](self, work: Callable[[], T]) -> T:
        """Run `work` in the writer thread; called from any other."""
        return self._thread.submit(work).result()
