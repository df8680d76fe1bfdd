"""Derives the tantivy index from the store: catches up with the outbox, or makes it anew.

Generations lie side by side in `index/`; the file CURRENT names the one that readers use and is
swapped by an atomic rename. What a generation has reached stands in its sentinel document, which
is part of the same tantivy commit as the documents, so a crash between the store's commit and
tantivy's only means that the tail of the outbox is applied (again) at the next start.
"""

import secrets
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import tantivy

from atdata_indexer.errors import StoreError
from atdata_indexer.index.bands import BAND
from atdata_indexer.index.fields import LAYOUT, create_index, document, open_index, schema
from atdata_indexer.index.files import write_atomically
from atdata_indexer.index.panic import guarded
from atdata_indexer.index.sentinel import Sentinel
from atdata_indexer.index.snapshot import read_sentinel
from atdata_indexer.index.store import Store
from atdata_indexer.index.tables import Stored
from atdata_schemas.records import COLLECTIONS

_LAYOUT = f"v{LAYOUT}-"
CURRENT = "CURRENT"
_HEAP_BYTES = 64_000_000
_REBUILD_BYTES = 400_000_000
_MERGED, _SMALLEST = 8, 10_000
"""tantivy merges so many segments of one size into one; those of fewer documents count as such."""
_SLICE = 2000
BACKLOG = 2000
"""After so many outbox entries tantivy commits, however many more are to come."""


class IndexWriter:
    """The one writer of the index in `folder`. Not thread-safe: one thread owns it.

    `progress` is told how many documents a rebuild has written; `committed` is called whenever
    there is more to be found.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        progress: Callable[[int], None] = lambda done: None,
        committed: Callable[[], object] = lambda: None,
    ) -> None:
        self._committed = committed
        self._folder = folder
        self._store = store
        self._progress = progress
        self._schema = schema()
        self.seq = self._staged = self._lenses = self._written = 0
        self.rebuilt: str | None = None
        """Why the index was made anew when it was opened; None when it was not."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._writer = self._take_up()
        except StoreError as error:
            self.rebuilt = str(error)
            self._writer = self.rebuild()

    def catch_up(self, *, more: bool = False) -> int:
        """Apply the outbox; returns the seq that is searchable, which is the newest.

        With `more` to come at once, only every BACKLOG entries: tantivy goes on with the documents
        it was given meanwhile, and a commit costs as much for few as for many.
        """
        while entries := self._store.outbox(self._staged, _SLICE):
            self._stage(dict.fromkeys(uri for _, uri in entries))
            self._staged = entries[-1][0]
            touching = (seq for seq, uri in entries if _account(uri) or _is_lens(uri))
            self._lenses = max(touching, default=self._lenses)
            if self._staged - self.seq >= BACKLOG:
                self._make_searchable()
        if self._staged > self.seq and not more:
            self._make_searchable()
        return self.seq

    def rebuild(self) -> tantivy.IndexWriter:
        """Make a new generation from the store and let CURRENT name it.

        Readers go on with the one before, whose files stay until the next is made. A failure
        leaves everything as it was. It is written in pieces of one size, so many that merges make
        one segment of them: every search looks into each segment there is.
        """
        name = f"{_LAYOUT}{secrets.token_hex(4)}"
        path = self._folder / name
        self._forget_all_but(current(self._folder))
        path.mkdir()
        seq, done = self._store.head, 0
        before, self._written = self._written, 0
        piece = _piece(self._store.visible())
        try:
            with guarded("cannot build the index", self._folder):
                writer = create_index(path).writer(_REBUILD_BYTES, 1)
                for batch in self._store.load_all():
                    for one in batch:
                        self._add(writer, one)
                        if self._written % piece == 0:
                            writer.commit()
                    done += len(batch)
                    self._progress(done)
                self._mark(writer, seq, seq)
                writer.commit()
        except StoreError:
            shutil.rmtree(path, ignore_errors=True)
            self._written = before
            raise
        self._release()
        self._writer, self.seq, self._staged = writer, seq, seq
        self._lenses = seq
        write_atomically(self._folder / CURRENT, name)
        return writer

    def close(self) -> None:
        """Release the index; merges that run are waited for."""
        self._release()

    def _take_up(self) -> tantivy.IndexWriter:
        """Open what CURRENT names. Raises StoreError when it cannot be continued from."""
        name = current(self._folder)
        self._forget_all_but(name)
        if name is None:
            raise StoreError("there is no index yet")
        if not has_layout(name):
            raise StoreError(f"the index {name} has another layout")
        with guarded("the index cannot be opened", self._folder):
            index = open_index(str(self._folder / name))
            searcher = index.searcher()
            reached = read_sentinel(searcher)
            self._written = max(reached.written, searcher.num_docs)
            epoch, seq = reached.epoch, reached.seq
            writer = index.writer(_HEAP_BYTES, 1)
        oldest = self._store.oldest()
        if epoch != self._store.epoch:
            raise StoreError("the index belongs to another database")
        if seq > self._store.head:
            raise StoreError("the index is ahead of the database")
        if seq < (self._store.head if oldest is None else oldest - 1):
            raise StoreError("the index is behind what the outbox still holds")
        self.seq = self._staged = seq
        self._lenses = reached.lenses
        return writer

    def _forget_all_but(self, name: str | None) -> None:
        for stale in self._folder.iterdir():
            if stale.is_dir() and stale.name != name:
                shutil.rmtree(stale)

    def _commit(self) -> "_Commit":
        return _Commit(self._writer, self._folder)

    def _document(self, fields: dict[str, object]) -> tantivy.Document:
        # Without the schema a wrong type is accepted here and fails the commit later.
        return tantivy.Document.from_dict(fields, self._schema)

    def _add(self, writer: tantivy.IndexWriter, stored: Stored) -> None:
        writer.add_document(self._document(document(stored) | {"band": self._written // BAND}))
        self._written += 1

    def _stage(self, uris: Iterable[str]) -> None:
        """Give tantivy what is to be found of these records, or nothing of what was staged."""
        stored = self._store.load(uris)
        writer = self._writer
        try:
            with guarded("cannot write the index", self._folder):
                for uri in uris:
                    account = _account(uri)
                    field, value = ("uri", uri) if account is None else ("did", account)
                    writer.delete_documents_by_term(field, value)
                for one in stored:
                    self._add(writer, one)
        except StoreError:
            self._staged = self.seq
            with suppress(Exception):  # the failure itself is what is reported
                writer.rollback()
            raise

    def _make_searchable(self) -> None:
        reached, self._staged = self._staged, self.seq
        with self._commit() as writer:
            self._mark(writer, reached, self._lenses)
        self.seq = self._staged = reached
        self._committed()

    def _mark(self, writer: tantivy.IndexWriter, seq: int, lenses: int) -> None:
        writer.delete_documents_by_term("kind", Sentinel.KIND)
        mark = Sentinel(self._store.epoch, seq, lenses, self._written)
        writer.add_document(self._document(mark.document()))

    def _release(self) -> None:
        writer = getattr(self, "_writer", None)
        if writer is not None:
            del self._writer
            # A merge that fails loses nothing, and must not hide why a commit failed before it.
            with suppress(StoreError), guarded("the index cannot be closed"):
                writer.wait_merging_threads()


class _Commit:
    """One tantivy commit: all of it, or a rollback and a StoreError."""

    def __init__(self, writer: tantivy.IndexWriter, folder: Path) -> None:
        self._writer = writer
        self._guard = guarded("cannot write the index", folder)

    def __enter__(self) -> tantivy.IndexWriter:
        self._guard.__enter__()
        return self._writer

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool | None:
        if error is None:
            try:
                self._writer.commit()
            except BaseException as failure:
                error = failure
        if error is not None:
            with suppress(Exception):  # the failure itself is what is reported
                self._writer.rollback()
            return self._guard.__exit__(type(error), error, error.__traceback__)
        return self._guard.__exit__(None, None, None)


def _piece(records: int) -> int:
    """How many documents to commit at a time of so many."""
    size = records
    while size >= _SMALLEST * _MERGED:
        size //= _MERGED
    return max(size, 1)


def has_layout(generation: str) -> bool:
    """Whether a generation holds documents as this version makes them."""
    return generation.startswith(_LAYOUT)


def current(folder: Path) -> str | None:
    """The name of the generation that readers use, if there is one."""
    try:
        # Damaged, it names what is not there.
        return (folder / CURRENT).read_text("ascii", errors="replace").strip() or None
    except FileNotFoundError:
        return None


def _is_lens(uri: str) -> bool:
    return COLLECTIONS.get(uri.split("/")[3]) == "lens"


def _account(uri: str) -> str | None:
    """The DID, where an entry of the outbox stands for all records of an account: `at://did`."""
    return uri.removeprefix("at://") if uri.count("/") == 2 else None
