"""Answers searches from the tantivy index alone. Any number of readers, in any process.

A reader never touches DuckDB. It holds one snapshot, replaced as a whole by `refresh`; every
method works on the snapshot it started with, so a commit in between is never half seen.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tantivy

from atdata_indexer.errors import StoreError
from atdata_indexer.index import cursor as paging
from atdata_indexer.index.cursor import Position
from atdata_indexer.index.fields import analyzer, open_index, schema
from atdata_indexer.index.panic import guarded
from atdata_indexer.index.query import Search, build, words
from atdata_indexer.index.writer import current, read_sentinel

type Sort = Literal["relevance", "newest", "oldest"]

MAX_PAGE = 4_000_000
"""How many characters of views one page holds; a page that reaches it ends early."""

MAX_DEPTH = 10_000
"""How deep a walk by relevance goes."""

_MOST_TAGS = 100
_SEGMENT_TAGS = 10_000
"""How many tags of each segment are counted: with fewer, a tag spread thinly is undercounted."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of answers: `views` are JSON texts; `cursor` is None on the last page."""

    views: Sequence[str]
    total: int
    cursor: str | None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    index: tantivy.Index
    searcher: tantivy.Searcher
    generation: str
    epoch: str
    seq: int
    name: str = field(init=False)

    def __post_init__(self) -> None:
        name = f"{self.generation}:{self.seq}:{self.searcher.num_segments}"
        object.__setattr__(self, "name", name)


class Reader:
    """Searches the index in `folder`; raises StoreError as long as there is none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._schema = schema()
        self._analyzer = analyzer()
        self._now: _Snapshot | None = None
        self._refreshing = threading.Lock()

    @property
    def seq(self) -> int:
        """The last outbox seq whose effect searches see."""
        return self._snapshot().seq

    def refresh(self) -> int:
        """Look for a newer commit or generation; returns the seq that is searchable now."""
        with self._refreshing, guarded("the index cannot be read"):
            generation = current(self._folder)
            if generation is None:
                raise StoreError("there is no index yet")
            now = self._now
            if now is not None and now.generation == generation:
                index = now.index
                index.reload()
            else:
                index = open_index(str(self._folder / generation))
            searcher = index.searcher()
            epoch, seq = read_sentinel(searcher, self._schema)
            if now is None or (seq, generation) != (now.seq, now.generation):
                self._now = _Snapshot(index, searcher, generation, epoch, seq)
            return seq

    def search(
        self,
        search: Search,
        *,
        sort: Sort | None = None,
        limit: int = 25,
        cursor: str | None = None,
    ) -> Page:
        """A page of `search`. Raises InvalidCursor for a cursor of another walk.

        Date sorts page by unique keys and stay complete while records come and go. Relevance pages
        by rank while the index stands still and goes on behind the last hit when it moved.
        """
        terms = words(search.q, self._analyzer)
        if search.q.strip() and not terms:
            return Page((), 0, None)
        sort = sort or ("relevance" if terms else "newest")
        if sort == "relevance" and not terms:
            sort = "newest"
        identity = f"{sort}\0{search.identity}"
        after = None if cursor is None else paging.decode(cursor, identity)
        snapshot = self._snapshot()
        query = build(search, terms, self._schema)
        with guarded("the search failed"):
            total = _count(snapshot.searcher, query)
            ranked = sort == "relevance"
            if ranked:
                start = self._start(snapshot, query, limit, after)
                hits = self._by_relevance(snapshot, query, limit, start)
            else:
                start, hits = 0, self._by_date(snapshot, query, limit, after, sort)
            views = _views(snapshot.searcher, hits[:limit])
            if len(views) == len(hits):
                return Page(views, total, None)
            key = _keys(snapshot.searcher, hits[len(views) - 1 : len(views)])[0]
        rank = start + len(views)
        position = Position(key, rank, snapshot.name) if ranked else Position(key)
        return Page(views, total, paging.encode(position, identity))

    def get(self, kind: str, uris: Iterable[str]) -> list[str]:
        """The views of those of `uris` that are indexed as `kind`, in the order asked."""
        searcher = self._snapshot().searcher
        views = []
        with guarded("the look-up failed"):
            for uri in uris:
                query = self._all(("kind", kind), ("uri", uri))
                hits = searcher.search(query, limit=1, count=False).hits
                views += [_view(searcher, address) for _, address in hits]
        return views

    def tags(self, limit: int) -> list[tuple[str, int]]:
        """The tags that most datasets carry, folded, with the number of datasets."""
        terms = {"field": "tag", "size": _MOST_TAGS, "segment_size": _SEGMENT_TAGS}
        request = {"tags": {"terms": terms}}
        with guarded("the tags cannot be counted"):
            found = self._snapshot().searcher.aggregate(self._all(("kind", "dataset")), request)
        counted = [(bucket["key"], int(bucket["doc_count"])) for bucket in found["tags"]["buckets"]]
        return sorted(counted, key=lambda one: (-one[1], one[0]))[:limit]

    def counts(self) -> dict[str, int]:
        """How many records of each kind are searchable."""
        searcher = self._snapshot().searcher
        kinds = ("dataset", "schema", "lens")
        with guarded("the records cannot be counted"):
            return {kind: _count(searcher, self._all(("kind", kind))) for kind in kinds}

    def _by_date(
        self,
        snapshot: _Snapshot,
        query: tantivy.Query,
        limit: int,
        after: Position | None,
        sort: Sort,
    ) -> list[tantivy.DocAddress]:
        """One hit more than asked for, if there is one: it says that the walk goes on."""
        newest = sort == "newest"
        if after is not None:
            bounds = (None, after.key - 1) if newest else (after.key + 1, None)
            window = tantivy.Query.range_query(
                self._schema, "created", tantivy.FieldType.Integer, *bounds
            )
            query = query.and_must_match(window)
        order = tantivy.Order.Desc if newest else tantivy.Order.Asc
        hits = snapshot.searcher.search(
            query, limit + 1, count=False, order_by_field="created", order=order
        ).hits
        return [address for _, address in hits]

    def _start(
        self, snapshot: _Snapshot, query: tantivy.Query, limit: int, after: Position | None
    ) -> int:
        """The rank a page by relevance begins at."""
        if after is None:
            return 0
        if after.snapshot == snapshot.name:
            return after.rank
        return _resume(snapshot.searcher, query, after, limit)

    def _by_relevance(
        self, snapshot: _Snapshot, query: tantivy.Query, limit: int, start: int
    ) -> list[tantivy.DocAddress]:
        """One hit more than asked for, if there is one and the walk may go that deep."""
        wanted = min(limit + 1, MAX_DEPTH - start)
        if wanted <= 0:
            return []
        hits = snapshot.searcher.search(query, wanted, count=False, offset=start).hits
        return [address for _, address in hits]

    def _all(self, *terms: tuple[str, str]) -> tantivy.Query:
        queries = [tantivy.Query.term_query(self._schema, *term, "basic") for term in terms]
        return tantivy.Query.boolean_query([(tantivy.Occur.Must, query) for query in queries])

    def _snapshot(self) -> _Snapshot:
        if self._now is None:
            self.refresh()
        assert self._now is not None
        return self._now


def _resume(searcher: tantivy.Searcher, query: tantivy.Query, after: Position, limit: int) -> int:
    """Where a walk by relevance goes on when the index has moved: behind the last hit shown.

    Behind that very record if it is near where it was; if it is gone, at its rank, where its
    successor has moved up to. Its score would not help: every commit shifts all scores a little.
    """
    depth = min(after.rank + 4 * limit, MAX_DEPTH)
    hits = searcher.search(query, depth, count=False).hits
    keys = _keys(searcher, [address for _, address in hits])
    if after.key in keys:
        return keys.index(after.key) + 1
    return max(0, after.rank - 1)


def _keys(searcher: tantivy.Searcher, addresses: list[tantivy.DocAddress]) -> list[int]:
    return [int(key or 0) for key in searcher.fast_field_values("created", addresses)]


def _count(searcher: tantivy.Searcher, query: tantivy.Query) -> int:
    result: Any = searcher.search(query, limit=1, count=True)
    return int(result.count)


def _views(searcher: tantivy.Searcher, addresses: Iterable[tantivy.DocAddress]) -> list[str]:
    """The views at `addresses`, as many as fit into one answer, and one at least."""
    views: list[str] = []
    size = 0
    for address in addresses:
        view = _view(searcher, address)
        size += len(view)
        if views and size > MAX_PAGE:
            break
        views.append(view)
    return views


def _view(searcher: tantivy.Searcher, address: tantivy.DocAddress) -> str:
    return bytes(searcher.doc(address).get_first("view") or b"").decode()
