"""How many datasets were created within some time, without looking at each.

A dataset has a term for its day and one for its hour: whole days and hours are counted by how
frequent these terms are, and only what is left at the ends by the datasets themselves.
"""

from collections.abc import Mapping, Sequence

import tantivy

from atdata_indexer.index.fields import SPANS
from atdata_indexer.index.query import among, any_of, between, every, term
from atdata_indexer.index.snapshot import Snapshot

_LONG = 20 * 365 * SPANS["day"]
"""In microseconds. A record may say any date: not every day since the year 10 is looked up."""

type Bounds = tuple[int | None, int | None]
"""From and to, both included; None is without end."""


def cut(low: int, high: int) -> tuple[Mapping[str, Sequence[int]], Sequence[tuple[int, int]]]:
    """Whole days, whole hours beside them, and what is left, of the microseconds from `low` to
    `high`, both included.
    """
    whole: dict[str, list[int]] = {}
    rests = [(low, high)]
    for name, length in SPANS.items():
        whole[name] = []
        around = []
        for start, end in rests:
            first, behind = -(-start // length), (end + 1) // length
            if first < behind:
                whole[name] += range(first, behind)
                around += [(start, first * length - 1), (behind * length, end)]
            else:
                around.append((start, end))
        rests = [(start, end) for start, end in around if start <= end]
    return whole, rests


def created_within(snapshot: Snapshot, bounds: Bounds, sample: Sequence[int], enough: int) -> int:
    """How many datasets have a `created` in bounds; more than `enough` may be fewer than there are.

    `sample` are some values of `created` in rising order: few are before the first of them, and
    few behind the last. Those long before the last are few as well.
    """
    low, high = bounds
    if not sample:
        return snapshot.count(_datasets([bounds]))
    first, last = max(sample[0], sample[-1] - _LONG), sample[-1]
    beyond: list[Bounds] = []
    if low is None or low < first:
        beyond.append((low, first - 1 if high is None else min(first - 1, high)))
        low = first
    if high is None or high > last:
        beyond.append((max(last + 1, low), high))
        high = last
    whole, rests = cut(low, high)
    held = sum(snapshot.frequency(name, one) for name, some in whole.items() for one in some)
    if held - snapshot.deleted > enough:
        return held - snapshot.deleted
    ends = [*beyond, *rests]
    others = snapshot.count(_datasets(ends)) if ends else 0
    if held and snapshot.deleted:
        spans = [among(name, some) for name, some in whole.items() if some]
        held = snapshot.count(any_of(*spans))
    return held + others


def _datasets(times: Sequence[Bounds]) -> tantivy.Query:
    """The datasets of a few short times."""
    some = any_of(*(between("created", *bounds, few=True) for bounds in times))
    return every(term("kind", "dataset"), some)
