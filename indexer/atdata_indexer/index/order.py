"""Walks in the order of columns: complete pages of a query, by date, by name or by size.

An order is a few integer columns, the last of which no two records share: two hits are never equal,
and a page goes on behind the last hit of the page before, whatever came or went in between.
tantivy gives the first hits by one column. What is equal there is put in order by the columns that
follow; where a page ends within such a group, the group is asked for by the next column.

A broad query is asked only for a window of its first column, as wide as will likely hold a page:
to sort a million hits takes fifty times as long. The windows come from a sample of the column.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor
from threading import Lock

import tantivy

from atdata_indexer.index.fields import NAME_COLUMNS, SAMPLES
from atdata_indexer.index.query import FEW, between, every, term, value
from atdata_indexer.index.snapshot import Address, Snapshot

type Key = tuple[int, ...]
"""Where a hit stands: its values of the order's columns."""

_SAMPLED = 10_000
_GROWTH = 8
GROUP = 100
"""So many hits beside those wanted are looked at where they are equal so far: most groups of equal
hits are whole then, and need not be asked for by the columns that follow."""
_STALE = 1_000


@dataclass(frozen=True, slots=True)
class Order:
    """The columns hits are put in order by, all of them upwards or all downwards."""

    columns: Sequence[str]
    descending: bool = False


ORDERS = {
    "newest": Order(("created",), descending=True),
    "oldest": Order(("created",)),
    "name": Order((*NAME_COLUMNS, "created")),
    "samples": Order(("samples", "created"), descending=True),
}


class Samples:
    """Samples of columns, taken again when the index has changed much. Any thread.

    An old sample costs time, not truth: windows that hold too little are widened.
    """

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str, str], tuple[int, Sequence[int]]] = {}
        self._lock = Lock()

    def between(
        self, snapshot: Snapshot, kind: str, column: str, low: int | None, high: int | None
    ) -> int:
        """About how many records of `kind` have a value in bounds, both included."""
        sample = self.of(snapshot, kind, column)
        start = 0 if low is None else bisect_left(sample, low)
        end = len(sample) if high is None else bisect_right(sample, high)
        return max(0, end - start) * snapshot.records[kind] // max(1, len(sample))

    def of(self, snapshot: Snapshot, kind: str, column: str) -> Sequence[int]:
        """Values of `column` in rising order, as many records of `kind` between any two."""
        name, seq = (snapshot.generation, kind, column), snapshot.sentinel.seq
        with self._lock:  # whoever comes while a sample is taken waits for that one
            taken = self._taken.get(name)
            if taken is not None and abs(seq - taken[0]) < _STALE:
                return taken[1]
            records = max(1, snapshot.records[kind])
            rate = next((r for r in SAMPLES if records / SAMPLES[r] <= _SAMPLED), max(SAMPLES))
            query = every(term("kind", kind), term("sample", rate))
            _, values = snapshot.first(query, records // SAMPLES[rate] * 2 + 100, column)
            self._taken = {key: one for key, one in self._taken.items() if key[0] == name[0]}
            self._taken[name] = seq, values
        return values


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk over the hits of `query`, which are records of `kind`, `total` of them or so.

    With `bounds` only those whose first column is in them, both included.
    """

    snapshot: Snapshot
    samples: Samples
    query: tantivy.Query
    kind: str
    order: Order
    total: int
    bounds: tuple[int | None, int | None] = (None, None)

    def page(self, after: Key | None, limit: int) -> list[tuple[Address, Key]]:
        """The first `limit` hits behind `after`, each with where it stands."""
        if after is None:
            low, high = self.bounds
            start = high if self.order.descending else low
            before = None if start is None else start + (1 if self.order.descending else -1)
            return self._fetch((), before, limit)
        hits: list[tuple[Address, Key]] = []
        for depth in reversed(range(len(after))):
            if len(hits) < limit:
                hits += self._fetch(after[:depth], after[depth], limit - len(hits))
        return hits

    def _fetch(self, fixed: Key, beyond: int | None, limit: int) -> list[tuple[Address, Key]]:
        """The first hits whose first columns are `fixed` and whose next one is behind `beyond`."""
        columns = self.order.columns
        column, *rest = columns[len(fixed) :]
        if not rest:
            addresses, values = self._first(fixed, column, beyond, limit)
            return [(one, (*fixed, value)) for one, value in zip(addresses, values, strict=True)]
        asked = limit + (GROUP if fixed else 1)
        addresses, values = self._first(fixed, column, beyond, asked)
        whole = len(values)
        if whole == asked:
            # There may be more of the last value than were given: it is asked for by itself.
            whole = values.index(values[-1])
        head = self._whole(fixed, addresses[:whole], values[:whole], rest)[:limit]
        if len(head) == limit or whole == len(values):
            return head
        return head + self._fetch((*fixed, values[whole]), None, limit - whole)

    def _whole(
        self, fixed: Key, addresses: list[Address], values: list[int], rest: list[str]
    ) -> list[tuple[Address, Key]]:
        """Hits of which none is missing, in order."""
        others = [self.snapshot.values(column, addresses) for column in rest]
        keys = [(*fixed, *key) for key in zip(values, *others, strict=True)]
        hits = list(zip(addresses, keys, strict=True))
        return sorted(hits, key=lambda hit: hit[1], reverse=self.order.descending)

    def _first(
        self, fixed: Key, column: str, beyond: int | None, limit: int
    ) -> tuple[list[Address], list[int]]:
        descending = self.order.descending
        low, high = (None, None) if fixed else self.bounds
        if beyond is not None:
            low, high = (low, beyond - 1) if descending else (beyond + 1, high)
        narrowed = [self.query] + [
            value(one, is_value) for one, is_value in zip(self.order.columns, fixed, strict=False)
        ]
        if not fixed:
            for window in self._windows(column, beyond, limit):
                query = every(*narrowed, window)
                found = self.snapshot.first(query, limit, column, descending=descending)
                if len(found[0]) >= limit:
                    return found
        if low is not None or high is not None:
            narrowed.append(between(column, low, high))
        return self.snapshot.first(every(*narrowed), limit, column, descending=descending)

    def _windows(self, column: str, beyond: int | None, limit: int) -> Iterator[tantivy.Query]:
        """Wider and wider windows behind `beyond`, as long as they leave most of the column out."""
        if self.total <= FEW:
            return
        sample = self.samples.of(self.snapshot, self.kind, column)
        if not sample:
            return
        records = max(1, self.snapshot.records[self.kind])
        step = records / len(sample)
        descending = self.order.descending
        end = self.bounds[0 if descending else 1]
        start = len(sample) if descending else 0.0
        if beyond is not None:
            start = _place(sample, beyond)
        wanted = 2 * limit * records / self.total
        while wanted < records / 4:
            far = _value(sample, start + (-wanted if descending else wanted) / step)
            if far is None or (end is not None and (far < end) is descending):
                return
            few = 2 * wanted < FEW
            if descending:
                yield between(column, far, None if beyond is None else beyond - 1, few=few)
            else:
                yield between(column, None if beyond is None else beyond + 1, far, few=few)
            wanted *= _GROWTH


def _place(sample: Sequence[int], value: int) -> float:
    """Where a value stands in a sample: its index, and what part of the way to the next."""
    at = bisect_left(sample, value)
    if at in {0, len(sample)}:
        return at
    below = sample[at - 1]
    return at - 1 + (value - below) / (sample[at] - below)


def _value(sample: Sequence[int], place: float) -> int | None:
    """The value at a place of a sample; None where it has none."""
    at = floor(place)
    if at == len(sample) - 1:
        return sample[at]
    if not 0 <= at < len(sample):
        return None
    return sample[at] + int((place - at) * (sample[at + 1] - sample[at]))
