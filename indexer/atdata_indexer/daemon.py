"""The indexer as a running program: the composition root of this package.

    sources ──frames──▶ followers ──events──▶ lanes ──batch──▶ applier ──▶ writer thread
                            │                                     │           store, tantivy
                            └── tracked DIDs       look-ups, fetches, comparisons

A follower only decodes and queues. A batch is taken every `batch_ms`, applied in the one thread
that owns the store, and reading stops while more than `buffer_mb` waits. A failure of the store
stops the program, loudly: nothing that was not committed has moved a cursor.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Self

import httpx
import structlog

from atdata_indexer import changes_feed
from atdata_indexer.applying import Applier
from atdata_indexer.backfills import Backfills
from atdata_indexer.changes_feed import Batch, Span
from atdata_indexer.discovery import Discovery
from atdata_indexer.errors import StoreError
from atdata_indexer.exporter import Exporter
from atdata_indexer.exports import Export, Exports
from atdata_indexer.fetch import Fetcher, Page
from atdata_indexer.following import Follower, SourceStatus, backoff
from atdata_indexer.hosts import Hosts
from atdata_indexer.housekeeping import Housekeeper
from atdata_indexer.identity import IdentityResolver
from atdata_indexer.index.backup import DATABASE
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store
from atdata_indexer.index.tables import RecordStatus
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.ingest import Ingest, Outcome, Work, wall_clock
from atdata_indexer.labelers import Labelers
from atdata_indexer.lanes import Lanes
from atdata_indexer.lookups import Lookups
from atdata_indexer.net import strangers_client
from atdata_indexer.notes import Notes
from atdata_indexer.reconcile import Reconciler
from atdata_indexer.rounds import Duties, Rounds
from atdata_indexer.sampling import Sample, compare
from atdata_indexer.settings import Settings
from atdata_indexer.sources.configured import Line, configured
from atdata_indexer.sync import Syncer
from atdata_indexer.upkeep import Upkeep


class Indexer:
    """Keeps the index. Make one with `open`, then `run` it; `store` and `reader` serve the API."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        writer: IndexWriter,
        reader: Reader,
        lines: Sequence[Line],
        pause: Callable[[int], float],
        clock: Callable[[], int],
    ) -> None:
        self.store = store
        self.reader = reader
        self._settings = settings
        self._verify = settings.verify == "full"
        self._ingest = Ingest(store, writer, clock, verify=self._verify)
        agent = settings.user_agent
        self._resolver = IdentityResolver(settings, agent)
        self._strangers = strangers_client(agent, allow_private=settings.allow_loopback)
        self._operators = httpx.AsyncClient(headers={"User-Agent": agent}, timeout=10)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self.upkeep = Upkeep(settings, store, lambda: writer, reader, self._hold)
        self._room = asyncio.Event()
        self._read_counts: Counter[str] = Counter()
        self._lanes = Lanes(settings.buffer_mb << 19)
        wake, tracked, notes = asyncio.Event(), store.tracked(), Notes(store, self._thread, clock)
        self._applier = Applier(
            settings,
            self._lanes,
            tracked,
            self._thread,
            notes,
            write=self._apply_now,
            wake=wake,
            room=self._room,
            hurry=lambda: self._rounds.hurry(),
        )
        self._lookups = Lookups(
            self._resolver,
            tracked,
            self._read_counts,
            wake=wake.set,
            give_up=self._applier.give_up,
        )
        # One host may be a PDS and a directory: what it asks for holds for both.
        hosts, repo_bytes = Hosts(), settings.repo_mb << 20
        self._fetcher = Fetcher(self._strangers, repo_bytes=repo_bytes, hosts=hosts)
        self._syncer = Syncer(
            store,
            self._lanes,
            self._fetcher,
            verify=self._verify,
            fetch_by=settings.fetch_by,
            wake=wake.set,
            note=notes.sync,
            look_up=self._lookups.soon,
            collections=settings.collections,
        )
        self._reconciler = Reconciler(
            store,
            self._fetcher,
            note=notes.sync,
            checked=notes.checked,
            fetch=self._syncer.soon,
        )

        async def keep(host: str, collection: str, page: Page) -> int:
            new = await notes.page(host, collection, page)
            tracked.update(new)
            self._lookups.all_soon(new)
            return len(new)

        self.discovery = Discovery(
            settings.asked,
            Fetcher(self._operators, repo_bytes=repo_bytes, hosts=hosts),
            store,
            keep,
            pause,
            settings.collections,
        )
        self._followers = [
            Follower(
                line,
                self._lanes,
                tracked,
                store.cursor,
                # A cursor means nothing to any other source.
                first_cursor=settings.first_cursor if line is lines[0] else None,
                limit=settings.buffer_mb << 19,
                room=self._room,
                counts=self._read_counts,
                pause=pause,
                clock=clock,
                meet=self._applier.meet,
                wake=wake.set,
            )
            for line in lines
        ]
        self._housekeeper = Housekeeper(
            settings,
            store,
            self._lanes,
            tracked,
            notes,
            meet=self._applier.meet,
            fetch=self._syncer.soon,
            wake=wake.set,
            clock=clock,
        )
        live = not all(source.finite for line in lines for source in line)
        self._rounds = Rounds(
            settings,
            store,
            self.discovery if settings.backfill and live else None,
            Duties(
                notes.unresolved,
                self._lookups.all_soon,
                self._reconciler.soon,
                lambda: self._lookups.idle and self._reconciler.idle,
                self._housekeeper.round,
            ),
            clock,
        )
        self.exports = Exports(settings.data_dir)
        self._exporter = Exporter(self.exports, store, reader, clock, settings.export_hour)
        self._applier.attach(self._followers, self._lookups, self._syncer, self._housekeeper)
        self._labelers = Labelers(
            settings.followed_labelers,
            self._resolver,
            store.cursor,
            apply=lambda labels, cursors: self._moderate(
                lambda: store.apply_labels(labels, cursors, clock())
            ),
            expire=lambda: self._moderate(lambda: store.expire_labels(clock())),
            pause=pause,
            user_agent=agent,
            verify=self._verify,
            allow_private=settings.allow_loopback,
        )
        self._backfills = Backfills(
            lambda asked: self.discovery.round(clock(), asked),
            self._fetch_behind,
            lambda: self._syncer.resting and self._lookups.resting and self._applier.idle,
            self._room,
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def counts(self) -> Counter[str]:
        """What became of frames, events and connections since the start."""
        found = self._ingest.counts + self._read_counts + self._housekeeper.counts
        return found + self._labelers.counts

    @property
    def repo_counts(self) -> Counter[str]:
        """What became of repos since the start: named by hosts, compared, fetched, refused."""
        return self._syncer.counts + self._reconciler.counts + self.discovery.counts

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        lines: Sequence[Line] | None = None,
        pause: Callable[[int], float] = backoff,
        clock: Callable[[], int] = wall_clock,
    ) -> AsyncIterator[Self]:
        """Open the data directory, bring the index up to date with the database, and close both.

        `lines` are followed instead of what the settings name. `pause` gives the seconds to wait
        before the n-th attempt to connect again, `clock` the microseconds since the epoch. Raises
        StoreError when the directory cannot be used.
        """
        log = structlog.get_logger()
        store = Store(
            settings.data_dir / DATABASE,
            memory_limit=settings.memory_limit,
            limits=settings.limits,
        )
        try:
            folder = settings.data_dir / "index"
            store.purge()
            store.set_collections(settings.collections)
            store.set_labels(settings.labels, settings.followed_labelers)
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
            followed = configured(settings, settings.user_agent) if lines is None else lines
            indexer = cls(settings, store, writer, reader, followed, pause, clock)
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
        """Whether a record is indexed, quarantined, deferred, hidden, deleted or unseen; why."""
        return self.store.record_status(uri)

    def pds(self, did: str) -> str | None:
        """The PDS of an account that shows its records, as last resolved."""
        return self.store.pds(did)

    def account_counts(self) -> Mapping[str, int]:
        """How many accounts are active and how much is in quarantine."""
        return self.store.counts()

    def sources(self) -> Sequence[SourceStatus]:
        """How the sources are doing."""
        return [replace(status) for one in self._followers for status in one.statuses]

    def head(self) -> int:
        """The newest outbox seq."""
        return self.store.head

    def changes_span(self) -> Span:
        """Which changes are kept for those who follow them."""
        return changes_feed.span(self.store)

    def changes(self, after: int, until: int) -> Batch:
        """The changes of seqs above `after`, `until` included, or the first of them."""
        return changes_feed.read(self.store, after, until)

    def is_current(self, seq: int) -> bool:
        """Whether all up to `seq` of the first source is searchable and no account is looked up."""
        at = self._followers[0].status.cursor
        return at is not None and at >= seq and self.is_settled()

    def is_settled(self) -> bool:
        """Whether all that was read is searchable, and nothing can be looked up or fetched."""
        fetched = self._syncer.idle and self._reconciler.idle and self.discovery.idle
        return (
            not self._lanes.holding
            and self._applier.idle
            and self._lookups.idle
            and (fetched or not self._settings.backfill)
            and self.reader.seq == self.store.head
        )

    async def run(self) -> None:
        """Follow the sources until cancelled, or until they end if they are recordings.

        Raises FutureCursor, ClockBehind and StoreError (in an ExceptionGroup): each is for an
        operator to mend.
        """
        self._loop = asyncio.get_running_loop()
        self._lookups.all_soon(self.store.identities_due())
        async with asyncio.TaskGroup() as tasks:
            errands = [
                tasks.create_task(self._lookups.run()),
                tasks.create_task(self._rounds.run()),
                tasks.create_task(self._labelers.run()),
                tasks.create_task(self._exporter.run()),
            ]
            if self._settings.backfill:
                errands.append(tasks.create_task(self._syncer.run()))
                errands.append(tasks.create_task(self._reconciler.run()))
                errands.append(tasks.create_task(self._backfills.run()))
            applying = tasks.create_task(self._applier.run())
            async with asyncio.TaskGroup() as following:
                for follower in self._followers:
                    following.create_task(follower.run())
                if not self._followers:
                    await asyncio.Event().wait()
            self._applier.end()
            await applying
            for task in errands:
                task.cancel()

    @property
    def backfilling(self) -> bool:
        """Whether a backfill that was asked for is going on."""
        return self._backfills.going

    def begin_backfill(self, hosts: Sequence[str]) -> None:
        """Have `backfill` done by the running indexer. Any thread. Raises StoreError."""
        if not self._settings.backfill:
            raise StoreError(f"{Settings.variable('backfill')} says that no repo is fetched")
        assert self._loop is not None
        self._backfills.begin(hosts, self._loop)

    async def backfill(self, hosts: Sequence[str] = ()) -> None:
        """Ask all directories, or these hosts, for repos; then wait until all that can be fetched
        is searchable. What a crash or a cancellation leaves is gone on with.
        """
        await self._backfills.one(hosts)

    async def _fetch_behind(self) -> None:
        for did in await asyncio.to_thread(self.store.behind):
            self._syncer.soon(did)

    def export(self) -> Export:
        """Export the index as Parquet files now. Any thread but the loop's.

        Raises StoreError and OSError.
        """
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(self._exporter.make(), self._loop).result()

    def check_export(self) -> None:
        """Withdraw the export if it holds what is hidden now. Any thread. Raises StoreError."""
        self._exporter.check()

    def sample(self, size: int) -> Sample:
        """Compare some repos with their PDSs. Any thread but the loop's."""
        assert self._loop is not None
        collections = self._settings.collections
        work = compare(
            self.store, self._fetcher, size, verify=self._verify, collections=collections
        )
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _moderate[T](self, work: Callable[[], T]) -> T:
        """Change what is hidden or said of records, in the thread that owns the store."""
        return await asyncio.to_thread(self.upkeep.moderate, work)

    def _apply_now(self, work: Work) -> Outcome:
        outcome = self._ingest.apply(work)
        self.reader.refresh()
        return outcome

    @property
    def waiting_bytes(self) -> int:
        """How much of the stream has been read and waits to be applied."""
        return self._lanes.ready_bytes

    def _hold[T](self, work: Callable[[], T]) -> T:
        """Run `work` in the writer thread; called from any other."""
        return self._thread.submit(work).result()
