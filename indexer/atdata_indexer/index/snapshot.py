"""One state of the tantivy index, which stands still while it is asked.

A snapshot knows nothing of what a search means: it counts, gives the first hits by score or by a
column, and the values and views of hits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import tantivy

from atdata_indexer.index.fields import schema
from atdata_indexer.index.packing import unpack
from atdata_indexer.index.sentinel import Sentinel

type Address = tantivy.DocAddress

KINDS = ("dataset", "schema", "lens", "label", "verification", "index", "sentinel")

MAX_PAGE = 4_000_000
"""How many characters of views one page holds; a page that reaches it ends early."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What searches see at one time; `name` is another one for every other state."""

    index: tantivy.Index
    searcher: tantivy.Searcher
    generation: str
    sentinel: Sentinel
    name: str = field(init=False)
    records: dict[str, int] = field(init=False)
    """How many of each kind there are, deleted ones of the last minutes included."""
    deleted: int = field(init=False)
    """How many documents are deleted and still count in the frequencies of terms."""

    def __post_init__(self) -> None:
        seq, segments = self.sentinel.seq, self.searcher.num_segments
        records = {kind: self.searcher.doc_freq("kind", kind) for kind in KINDS}
        object.__setattr__(self, "name", f"{self.generation}:{seq}:{segments}")
        object.__setattr__(self, "records", records)
        object.__setattr__(self, "deleted", sum(records.values()) - self.searcher.num_docs)

    @classmethod
    def of(cls, index: tantivy.Index, generation: str) -> "Snapshot":
        """The newest state of an index. Raises StoreError when it holds no sentinel."""
        searcher = index.searcher()
        return cls(index, searcher, generation, read_sentinel(searcher))

    def count(self, query: tantivy.Query) -> int:
        """How many documents match."""
        result: Any = self.searcher.search(query, limit=1, count=True)
        return int(result.count)

    def frequency(self, name: str, value: str | int) -> int:
        """In how many documents a term is: exact when nothing is deleted, else up to `deleted`
        more than are visible."""
        return self.searcher.doc_freq(name, value)

    def best(self, query: tantivy.Query, limit: int, offset: int = 0) -> list[Address]:
        """The hits of the highest scores."""
        return [address for _, address in self.scored(query, limit, offset)]

    def scored(
        self, query: tantivy.Query, limit: int, offset: int = 0
    ) -> list[tuple[float, Address]]:
        """The hits of the highest scores, with those."""
        return self.searcher.search(query, limit, count=False, offset=offset).hits

    def counted(self, query: tantivy.Query, limit: int) -> tuple[int, list[tuple[float, Address]]]:
        """How many documents match, and the hits of the highest scores with those."""
        result: Any = self.searcher.search(query, limit, count=True)
        return int(result.count), result.hits

    def first(
        self, query: tantivy.Query, limit: int, column: str, *, descending: bool = False
    ) -> tuple[list[Address], list[int]]:
        """The first hits by an integer column, with its values; equal values in any order."""
        order = tantivy.Order.Desc if descending else tantivy.Order.Asc
        hits: Sequence[tuple[Any, Address]] = self.searcher.search(
            query, limit, count=False, order_by_field=column, order=order
        ).hits
        return [address for _, address in hits], [int(value or 0) for value, _ in hits]

    def all_and_first(
        self, query: tantivy.Query, limit: int, column: str, *, descending: bool
    ) -> tuple[int, list[tuple[Address, int]]]:
        """How many documents match, and the first of them by an integer column, with its values.

        Every match is looked at: for queries of few.
        """
        order = tantivy.Order.Desc if descending else tantivy.Order.Asc
        result: Any = self.searcher.search(
            query, limit, count=True, order_by_field=column, order=order
        )
        return int(result.count), [(address, int(value or 0)) for value, address in result.hits]

    def values(self, column: str, addresses: Sequence[Address]) -> list[int]:
        """The values of an integer column; 0 where a document has none."""
        if not addresses:
            return []
        found = self.searcher.fast_field_values(column, [*addresses])
        return cast("list[int]", [value or 0 for value in found])

    def view(self, address: Address) -> str:
        """The stored view, JSON text."""
        return unpack(self.searcher.doc(address).get_first("view") or b"")

    def views(self, addresses: Iterable[Address]) -> list[str]:
        """The views at `addresses`, as many as fit into one answer, and one at least."""
        views: list[str] = []
        size = 0
        stored = self.searcher.doc
        for address in addresses:
            view = unpack(stored(address).get_first("view") or b"")
            size += len(view)
            if views and size > MAX_PAGE:
                break
            views.append(view)
        return views

    def aggregate(self, query: tantivy.Query, request: dict[str, Any]) -> dict[str, Any]:
        """Counts by terms, as tantivy's aggregations give them."""
        return dict(self.searcher.aggregate(query, request))


def read_sentinel(searcher: tantivy.Searcher) -> Sentinel:
    """How far an index has come. Raises StoreError when it holds no sentinel."""
    query = tantivy.Query.term_query(schema(), "kind", Sentinel.KIND, "basic")
    hits = searcher.search(query, limit=1, count=False).hits
    return Sentinel.read(bytes(searcher.doc(hits[0][1]).get_first("view") or b"") if hits else b"")
