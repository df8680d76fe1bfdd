"""How many of the datasets found carry each tag, licence, schema, author and kind of field.

A facet counts as if there were no filter of its own name, so that it shows what else could be
chosen. What is broad is counted over a sample of the records and multiplied; one count over the
middle sample tells which sample will do.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import tantivy

from atdata_indexer.index.fields import INVALID_HANDLE, SAMPLES
from atdata_indexer.index.query import Plan, every, term, value
from atdata_indexer.index.snapshot import Address, Snapshot

MAX_VALUES = 100

ENOUGH = 900
"""A sample is counted if it holds so many hits: then a value that a tenth of the hits have is
right to a tenth of it (one standard deviation)."""

_COLUMNS = {
    "tags": "tag",
    "license": "license",
    "schema": "schema_key",
    "author": "author",
    "fieldKind": "fieldkind",
}
"""Schemas and authors are counted by their hashes: to read the texts of a column back is what takes
time, and here only those of the values that are shown are needed."""

NAMES = tuple(_COLUMNS)

_PER_SEGMENT, _PER_SEGMENT_OF_SAMPLE = 1_000, 40
"""How many values of each segment are merged for every ten that are asked for: with fewer, a value
spread thinly is undercounted. An estimate bears that; to read values takes longer than to count."""

_MIDDLE, _SMALLEST = "2", "3"
_MANY = 4_000

# A view may be long, and no more of it is read than must be: the author stands before the record,
# the schema behind it, and within a text a quote is always escaped.
_AUTHOR, _SCHEMA = '"author": ', '"schema": '
_read = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class FacetValue:
    """One value and how many have it; `label` is what people read instead, if there is such."""

    value: str
    count: int
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Facet:
    """The most frequent values of one name, in descending order; `estimated` from a sample."""

    name: str
    values: Sequence[FacetValue]
    estimated: bool


def facets(
    snapshot: Snapshot,
    plan: Plan,
    names: Iterable[str],
    size: int = 10,
    *,
    enough: int = ENOUGH,
) -> list[Facet]:
    """The facets of these NAMES for a search, at most MAX_VALUES of each.

    One aggregation for all names that nothing filters by, one more for each of the others.
    """
    size = max(1, min(size, MAX_VALUES))
    names = list(dict.fromkeys(names))
    free = [name for name in names if name not in plan.filtered]
    counted = _count(snapshot, plan.query(), free, size, enough) if free else {}
    for name in names:
        if name in plan.filtered:
            counted |= _count(snapshot, plan.query(without=name), [name], size, enough)
    return [
        Facet(
            name,
            [_value(snapshot, name, *one) for one in counted[name].values],
            counted[name].estimated,
        )
        for name in names
    ]


def most_frequent(
    snapshot: Snapshot, query: tantivy.Query, name: str, enough: int = ENOUGH
) -> tuple[Sequence[tuple[str, int]], bool]:
    """The MAX_VALUES most frequent values of a facet, and whether the counts are estimated."""
    counted = _count(snapshot, query, [name], MAX_VALUES, enough)[name]
    return counted.values, counted.estimated


@dataclass(frozen=True, slots=True)
class _Counted:
    """What an aggregation found for one name, in descending order."""

    values: Sequence[tuple[Any, int]]
    estimated: bool


def _count(
    snapshot: Snapshot, query: tantivy.Query, names: Sequence[str], size: int, enough: int
) -> dict[str, _Counted]:
    """Count over the smallest sample that says enough, or over everything if none does."""
    sample = _sample(snapshot, query, enough)
    times = 1 if sample is None else SAMPLES[sample]
    if sample is not None:
        query = every(query, term("sample", sample))
    per_ten = _PER_SEGMENT if sample is None else _PER_SEGMENT_OF_SAMPLE
    read = {"size": size, "segment_size": max(10, size) * per_ten // 10}
    found = snapshot.aggregate(
        query, {name: {"terms": {"field": _COLUMNS[name], **read}} for name in names}
    )
    counted = {}
    for name in names:
        values = [(one["key"], int(one["doc_count"]) * times) for one in found[name]["buckets"]]
        unsure = times > 1 or bool(found[name].get("doc_count_error_upper_bound"))
        counted[name] = _Counted(sorted(values, key=lambda one: (-one[1], one[0])), unsure)
    return counted


def _sample(snapshot: Snapshot, query: tantivy.Query, enough: int) -> str | None:
    """The smallest sample that should hold enough hits, by how many are in the middle one."""
    middle = SAMPLES[_MIDDLE]
    hits = middle * snapshot.count(every(query, term("sample", _MIDDLE)))
    return next((one for one, of in reversed(SAMPLES.items()) if hits >= enough * of), None)


def _value(snapshot: Snapshot, name: str, key: Any, count: int) -> FacetValue:
    if name == "author":
        author = author_of(snapshot, value("author", int(key)), count)
        handle = author["handle"]
        return FacetValue(author["did"], count, None if handle == INVALID_HANDLE else handle)
    if name == "schema":
        view = _any_view(snapshot, value("schema_key", int(key)), count)
        link = _read(view, view.rindex(_SCHEMA) + len(_SCHEMA))[0]
        label = f"{link['name']}@{link['version']}" if "name" in link else None
        return FacetValue(link["uri"], count, label)
    return FacetValue(key, count)


def author_of(snapshot: Snapshot, query: tantivy.Query, count: int = 0) -> dict[str, str]:
    """The author in the view of one of the `count` records that match: `did` and `handle`."""
    view = _any_view(snapshot, query, count)
    author: dict[str, str] = _read(view, view.index(_AUTHOR) + len(_AUTHOR))[0]
    return author


def _any_view(snapshot: Snapshot, query: tantivy.Query, count: int) -> str:
    """The view of one of the records that match: out of many, one in a sample is found sooner."""
    hits: Sequence[Address] = ()
    if count >= _MANY:
        hits = snapshot.best(every(term("sample", _SMALLEST), query), 1)
    return snapshot.view((hits or snapshot.best(query, 1))[0])
