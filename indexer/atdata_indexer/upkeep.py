"""What an operator has done to a data directory: verify, rebuild, backup, takedowns.

The same work whether the indexer runs or not. What must not meet a write is handed to `hold`, which
runs it in the thread that owns the store; while it runs, reading of the source waits and searches
go on.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, Self

from atdata_indexer.errors import StoreError
from atdata_indexer.exports import Export, Exports
from atdata_indexer.index import backup
from atdata_indexer.index.audit import Audit, audit, pin
from atdata_indexer.index.backup import DATABASE, Manifest
from atdata_indexer.index.census import Census, take
from atdata_indexer.index.moderation import Takedown
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.ingest import wall_clock
from atdata_indexer.settings import Settings
from atdata_schemas.syntax import format_micros

INDEX = "index"


class Hold(Protocol):
    """Runs work in the thread that owns the store, and waits for what it gives."""

    def __call__[T](self, work: Callable[[], T], /) -> T:
        """The result of `work`."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A new index: the outbox seq it stands at, and how many documents it has."""

    seq: int
    documents: int


class Upkeep:
    """The work of an operator on the store and index in `data_dir`. Any thread."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        writer: Callable[[], IndexWriter],
        reader: Reader,
        hold: Hold,
    ) -> None:
        self.settings = settings
        self.store = store
        self._writer = writer
        self._reader = reader
        self._hold = hold

    @classmethod
    @contextmanager
    def open(cls, settings: Settings) -> Iterator[Self]:
        """Over a data directory that no indexer holds. Raises StoreError.

        The index is only opened, and made again if it is damaged, when it is needed.
        """
        path = settings.data_dir / DATABASE
        if not path.exists():
            raise StoreError(
                f"there is no database in {settings.data_dir}:"
                f" {Settings.variable('data_dir')} says where to look"
            )
        with ExitStack() as stack:
            store = Store(path, memory_limit=settings.memory_limit)
            stack.callback(store.close)

            @cache
            def writer() -> IndexWriter:
                opened = IndexWriter(settings.data_dir / INDEX, store)
                stack.callback(opened.close)
                return opened

            yield cls(settings, store, writer, Reader(settings.data_dir / INDEX), _directly)

    def census(self) -> Census:
        """What the database holds."""
        return take(self.store)

    def index_seq(self) -> int | None:
        """The outbox seq the index has reached; None when it cannot be read."""
        try:
            return self._reader.refresh()
        except StoreError:
            return None

    def verify(self) -> Audit:
        """Check every stored body, and the index against the database, as of now."""
        with ExitStack() as stack:
            pinned = self._hold(lambda: stack.enter_context(self._pin()))
            return audit(pinned)

    def rebuild(self) -> Rebuilt:
        """Make the index anew from the database."""

        def work() -> Rebuilt:
            self._writer().rebuild()
            seq = self._reader.refresh()
            return Rebuilt(seq, sum(self._reader.counts().values()))

        return self._hold(work)

    def take_down(self, named: str, reason: str) -> Takedown:
        """Hide a record or an account, everywhere at once."""
        return self.moderate(lambda: self.store.take_down(named, reason, wall_clock()))

    def put_back(self, named: str) -> Takedown:
        """Undo a takedown."""
        return self.moderate(lambda: self.store.put_back(named))

    def takedowns(self) -> Sequence[Takedown]:
        """All takedowns, the newest first."""
        return self.store.takedowns()

    def moderate[T](self, work: Callable[[], T]) -> T:
        """Change what is hidden, or said of records; when this ends, searches keep to it."""

        def and_show() -> T:
            done = work()
            self._writer().catch_up()
            self._reader.refresh()
            return done

        return self._hold(and_show)

    def backup(self, folder: Path) -> Manifest:
        """Copy the database to a new folder."""
        backup.prepare(folder)
        made_at = format_micros(wall_clock())
        copied = self._hold(lambda: backup.copy(self.store, folder))
        return backup.finish(folder, copied, made_at, self.settings.memory_limit)

    def export(self) -> Export:
        """Export the index as Parquet files."""
        return Exports(self.settings.data_dir).make(self.store, wall_clock())

    def _pin(self) -> Any:
        self._writer().catch_up()
        return pin(self.store, self.settings.data_dir / INDEX)


def _directly[T](work: Callable[[], T]) -> T:
    return work()
