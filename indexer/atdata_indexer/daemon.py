"""The indexer as a running program: the composition root of this package.

    source ──chunks──▶ reader task ──events──▶ waiting ──batch──▶ writer thread ──▶ searchable
                            │                                          │
                            └── tracked DIDs            identities due ┴──▶ resolver tasks

The reader only decodes and queues. A batch is taken every `batch_ms`, applied in the one thread
that owns the store, and reading stops while more than `buffer_mb` waits. A failure of the store
stops the program, loudly: nothing that was not committed has moved the cursor.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Self

import structlog
from websockets.exceptions import WebSocketException

from atdata_indexer.errors import FrameError, FutureCursor, StreamError
from atdata_indexer.frames import Decoder, Event, Identity, event_micros
from atdata_indexer.identity import IdentityResolver, IdentityUnavailable, ResolvedIdentity
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store
from atdata_indexer.index.tables import RecordStatus
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.ingest import Ingest, wall_clock
from atdata_indexer.settings import Settings
from atdata_indexer.sources import Source
from atdata_indexer.sources.relay import RelaySource

USER_AGENT = "atdata-appview"
MAX_BACKOFF_S = 60.0
RESOLVERS = 8
IDLE_SAVE_S = 2.0


def backoff(failures: int) -> float:
    """Seconds to wait after the n-th failure in a row: doubling, with jitter, up to a minute."""
    most = min(MAX_BACKOFF_S, 0.5 * 2 ** min(failures, 10))
    return random.uniform(0.1, most)  # noqa: S311 - jitter, not a secret


@dataclass(slots=True)
class SourceStatus:
    """How a source is doing: `cursor` is stored, `lag_us` the age of its newest event when read."""

    name: str
    connected: bool = False
    cursor: int | None = None
    lag_us: int | None = None


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
    ) -> None:
        self._pause = pause
        self.store = store
        self.reader = reader
        self.status = SourceStatus(source.name, cursor=store.cursor(source.name))
        self._settings = settings
        self._source = source
        self._ingest = Ingest(store, writer, source.name)
        self._resolver = IdentityResolver(settings, USER_AGENT)
        self._tracked = store.tracked()
        self._decoder = Decoder(self._tracked)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._waiting: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self._resolved: list[ResolvedIdentity] = []
        self._read: int | None = None
        self._ended = False
        self._timed = 0.0
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._new: set[str] = set()
        self._due: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()
        self._tries: dict[str, int] = {}
        self._log = structlog.get_logger().bind(source=source.name)

    @property
    def counts(self) -> Counter[str]:
        """What became of events and connections since the start."""
        return self._ingest.counts

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        source: Source | None = None,
        pause: Callable[[int], float] = backoff,
    ) -> AsyncIterator[Self]:
        """Open the data directory, bring the index up to date with the database, and close both.

        `pause` gives the seconds to wait before the n-th attempt to connect again. Raises
        StoreError when the directory cannot be used.
        """
        log = structlog.get_logger()
        store = Store(settings.data_dir / "appview.duckdb", memory_limit=settings.memory_limit)
        try:
            folder = settings.data_dir / "index"
            writer = IndexWriter(
                folder, store, lambda done: log.info("index_rebuilding", documents=done)
            )
            if writer.rebuilt:
                log.info("index_rebuilt", why=writer.rebuilt)
            writer.catch_up()
            reader = Reader(folder)
            reader.refresh()
            source = source or RelaySource(
                settings.relay, user_agent=USER_AGENT, buffer_bytes=settings.buffer_mb << 19
            )
            indexer = cls(settings, store, writer, reader, source, pause)
            try:
                yield indexer
            finally:
                await indexer._resolver.aclose()
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
        """Whether all up to `seq` of the source is searchable, the authors' identities included."""
        return (
            self.status.cursor is not None
            and self.status.cursor >= seq
            and not self.store.identities_due()
            and self.reader.seq == self.store.head
        )

    async def run(self) -> None:
        """Follow the source until cancelled, or until it ends if it is a recording.

        Raises FutureCursor and StoreError (in an ExceptionGroup): both are for an operator.
        """
        for did in self.store.identities_due():
            self._resolve_soon(did)
        async with asyncio.TaskGroup() as tasks:
            resolvers = [tasks.create_task(self._resolve()) for _ in range(RESOLVERS)]
            applying = tasks.create_task(self._apply())
            await self._follow()
            self._ended = True
            self._wake.set()
            await applying
            for task in resolvers:
                task.cancel()

    async def _follow(self) -> None:
        """Read the source, again and again, from where reading stopped."""
        failures = 0
        while True:
            try:
                async with aclosing(self._source.frames(self._start())) as chunks:
                    async for chunk in chunks:
                        if not self.status.connected:
                            self.status.connected = True
                            self._log.info("connected", cursor=self._start())
                        if chunk:
                            failures = 0
                            self._take(chunk)
                        await self._below(self._settings.buffer_mb << 19)
                if self._source.finite:
                    return
                self._log.info("stream_ended")
            except FutureCursor:
                self._log.error("future_cursor", cursor=self._start())
                raise
            except (OSError, WebSocketException, FrameError, StreamError) as error:
                self.counts["disconnects"] += 1
                self._log.warning("disconnected", error=str(error)[:300])
            finally:
                self.status.connected = False
            failures += 1
            await asyncio.sleep(self._pause(failures))

    def _start(self) -> int | None:
        if self._read is not None:
            return self._read
        stored = self.status.cursor
        return stored if stored is not None else self._settings.first_cursor

    def _take(self, chunk: Sequence[bytes]) -> None:
        """Decode a chunk and queue what concerns us."""
        decode, tracked = self._decoder.decode, self._tracked
        for frame in chunk:
            seq, event = decode(frame)
            if event is not None:
                if event.did is not None and event.did not in tracked:
                    tracked.add(event.did)
                    self._new.add(event.did)
                self._waiting.append((event, len(frame)))
                self._bytes += len(frame)
            if seq:
                self._read = seq
        now = asyncio.get_running_loop().time()
        if now - self._timed >= 1:
            self._timed = now
            sent = event_micros(chunk[-1])
            self.status.lag_us = None if sent is None else max(0, wall_clock() - sent)
        self._wake.set()

    async def _below(self, limit: int) -> None:
        """Wait until less than `limit` bytes of events wait to be applied."""
        while self._bytes > limit:
            self._drained.clear()
            await self._drained.wait()

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
            while self._waiting or self._resolved or (idle and self._read != self.status.cursor):
                await self._apply_batch(loop)
                saved = loop.time()
            if self._ended:
                return

    async def _apply_batch(self, loop: asyncio.AbstractEventLoop) -> None:
        count = min(len(self._waiting), self._settings.batch_events)
        batch = [self._waiting.popleft() for _ in range(count)]
        events = [event for event, _ in batch]
        resolved, self._resolved = self._resolved, []
        seq = events[-1].seq if self._waiting else self._read
        await loop.run_in_executor(self._thread, self._apply_now, events, resolved, seq)
        self.status.cursor = seq
        self._bytes -= sum(size for _, size in batch)
        self._drained.set()
        for event in events:
            if isinstance(event, Identity):
                self._resolve_soon(event.did)
            elif event.did in self._new:
                # Only now: its row must exist before an identity can be stored with it.
                self._new.remove(event.did)
                self._resolve_soon(event.did)

    def _apply_now(
        self, events: Sequence[Event], resolved: Sequence[ResolvedIdentity], seq: int | None
    ) -> None:
        self._ingest.apply(events, resolved, seq)
        self.reader.refresh()

    def _resolve_soon(self, did: str) -> None:
        if did not in self._queued:
            self._queued.add(did)
            self._due.put_nowait(did)

    async def _resolve(self) -> None:
        """Resolve identities that are due; one that cannot be had now is asked for again later."""
        loop = asyncio.get_running_loop()
        while True:
            did = await self._due.get()
            self._queued.discard(did)
            try:
                # Awaited first: the list that results are put into is swapped meanwhile.
                identity = await self._resolver.resolve(did)
                self._resolved.append(identity)
            except IdentityUnavailable as error:
                tries = self._tries[did] = self._tries.get(did, 0) + 1
                self.counts["identities_unavailable"] += 1
                self._log.warning("identity_unavailable", did=did, error=str(error)[:300])
                loop.call_later(min(3600, 2.0**tries), self._resolve_soon, did)
            else:
                self._tries.pop(did, None)
                self._wake.set()
