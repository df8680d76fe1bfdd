"""The index checked against itself: every body against its CID, DuckDB against tantivy.

Works on one moment of both, pinned while nothing writes; what comes later does not disturb it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import tantivy

from atdata_indexer.errors import StoreError
from atdata_indexer.index.fields import open_index, schema
from atdata_indexer.index.packing import unpack
from atdata_indexer.index.panic import guarded
from atdata_indexer.index.snapshot import read_sentinel
from atdata_indexer.index.store import Store
from atdata_indexer.index.tables import shown
from atdata_indexer.index.writer import current
from atdata_indexer.repo import record_cid

type _Document = tuple[str, str]
"""The URI and CID that a document shows."""

SHOWN = 100
"""How many URIs of each kind of difference are named; all are counted."""

_SLICE = 500

_BODIES = (
    "SELECT r.uri, r.cid, r.body, coalesce(%s, false)"
    " FROM records r LEFT JOIN repos p ON p.did = r.did WHERE r.state = 'live'"
)
_LIVE = _BODIES % shown()
_SOME = "SELECT r.uri FROM records r JOIN repos p ON p.did = r.did"
_VISIBLE = f"{_SOME} WHERE {shown()} AND r.uri IN"


@dataclass(slots=True)
class Difference:
    """One kind of difference: how many there are, and the first of them."""

    count: int = 0
    uris: list[str] = field(default_factory=list)

    def add(self, uri: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.uris) < SHOWN:
            self.uris.append(uri)


@dataclass(slots=True)
class Audit:
    """What was found at outbox seq `seq`.

    `altered`: a body that is not what its CID says. `missing`: a visible row without a document.
    `stale`: a document with another CID than its row. `surplus`: a document without a visible row,
    or a second one.
    """

    seq: int
    bodies: int = 0
    documents: int = 0
    altered: Difference = field(default_factory=Difference)
    missing: Difference = field(default_factory=Difference)
    stale: Difference = field(default_factory=Difference)
    surplus: Difference = field(default_factory=Difference)

    @property
    def differences(self) -> int:
        """How many there are of all kinds; 0 when the index is sound."""
        kinds = (self.altered, self.missing, self.stale, self.surplus)
        return sum(kind.count for kind in kinds)


@dataclass(frozen=True, slots=True)
class Pinned:
    """One moment of the database and of the index derived from it."""

    db: duckdb.DuckDBPyConnection
    searcher: tantivy.Searcher
    seq: int


@contextmanager
def pin(store: Store, folder: Path) -> Iterator[Pinned]:
    """Pin this moment. Enter it in the thread that writes, with tantivy caught up; leave it in any.

    Raises StoreError when the index cannot be read or has not caught up.
    """
    with store.reader() as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM records").fetchone()  # what fixes the snapshot
        with guarded("the index cannot be read"):
            name = current(folder)
            if name is None:
                raise StoreError("there is no index yet")
            searcher = open_index(str(folder / name)).searcher()
            reached = read_sentinel(searcher)
        if (reached.epoch, reached.seq) != (store.epoch, store.head):
            where = f"{reached.seq} of epoch {reached.epoch}"
            raise StoreError(f"the index is at {where}, not where the database is")
        yield Pinned(db, searcher, reached.seq)


def audit(pinned: Pinned) -> Audit:
    """Check a pinned moment; any thread, takes as long as it takes."""
    found = Audit(pinned.seq, documents=pinned.searcher.num_docs - 1)  # but for the sentinel
    matched = 0
    rows = pinned.db.execute(_LIVE)
    while batch := rows.fetchmany(_SLICE):
        for uri, cid, body, _ in batch:
            found.bodies += 1
            if not _holds(cid, body):
                found.altered.add(uri)
        visible = {uri: cid for uri, cid, _, is_visible in batch if is_visible}
        documents = _documents(pinned.searcher, visible)
        matched += len(documents)
        _compare(found, visible, documents)
    if matched != found.documents:
        _find_surplus(found, pinned)
    return found


def _holds(cid: str | None, body: str | None) -> bool:
    """Whether a body is what its CID says."""
    try:
        return body is not None and record_cid(json.loads(body)) == cid
    except ValueError:
        return False


def _compare(found: Audit, visible: Mapping[str, str], documents: Sequence[_Document]) -> None:
    times = Counter(uri for uri, _ in documents)
    for uri in visible:
        if not times[uri]:
            found.missing.add(uri)
        elif times[uri] > 1:
            found.surplus.add(uri)
    for uri, cid in dict(documents).items():
        if times[uri] == 1 and cid != visible[uri]:
            found.stale.add(uri)


def _documents(searcher: tantivy.Searcher, uris: Iterable[str]) -> list[_Document]:
    """Every document of these records."""
    query = tantivy.Query.term_set_query(schema(), "uri", list(uris))
    return _read(searcher, query)


def _find_surplus(found: Audit, pinned: Pinned) -> None:
    """Name the documents that no visible row accounts for."""
    shown = [uri for uri, _ in _read(pinned.searcher, tantivy.Query.all_query()) if uri]
    for at in range(0, len(shown), _SLICE):
        some = shown[at : at + _SLICE]
        marks = ", ".join("?" * len(some))
        known = {uri for (uri,) in pinned.db.execute(f"{_VISIBLE} ({marks})", some).fetchall()}
        for uri in some:
            if uri not in known:
                found.surplus.add(uri)


def _read(searcher: tantivy.Searcher, query: tantivy.Query) -> list[_Document]:
    """What the hits of a query show; the sentinel shows no URI."""
    with guarded("the index cannot be read"):
        counted: Any = searcher.search(query, limit=1, count=True)
        hits = searcher.search(query, limit=max(1, counted.count), count=False).hits
        stored = [searcher.doc(address).get_first("view") for _, address in hits]
        views: list[Any] = [json.loads(unpack(one)) if one else {} for one in stored]
    return [(view.get("uri", ""), view.get("cid", "")) for view in views]
