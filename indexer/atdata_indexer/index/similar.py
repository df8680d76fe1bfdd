"""Datasets like a given one: by the words that tell it from others, its tags, and its schema."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tantivy

from atdata_indexer.index.analysis import stems
from atdata_indexer.index.fields import TEXT, fold, schema
from atdata_indexer.index.query import any_of, but, every, term, value
from atdata_indexer.index.ranking import place
from atdata_indexer.index.snapshot import Address, Snapshot

MAX_WORDS = 12
MAX_TAGS = 5

OF_TEN = 3
"""So many of ten are of one author, as long as there are others."""

_AT_LEAST, _MOST = 3, 100_000
"""So many of the best parts are asked for, however common, and more up to so many datasets."""

_MOST_TIMES = 3
_TAG = 2.0
_SCHEMA = 3.0
"""How much it says to share a tag or a schema, against a word that is as rare."""


def similar(snapshot: Snapshot, uri: str, limit: int = 10) -> list[str] | None:
    """The views of the datasets most like the one at `uri`, the best first.

    None if there is no such dataset.
    """
    own = snapshot.best(every(term("uri", uri), term("kind", "dataset")), 1)
    if not own:
        return None
    parts = _affordable(_parts(snapshot, json.loads(snapshot.view(own[0]))))
    return snapshot.views(_varied(snapshot, any_of(*parts), own[0], limit)) if parts else []


@dataclass(frozen=True, slots=True)
class _Part:
    """Something that `count` datasets share, and what it adds to their scores."""

    query: tantivy.Query
    count: int
    worth: float


def _affordable(parts: Iterable[_Part]) -> list[tantivy.Query]:
    """The parts that are worth most, as long as not too many datasets have one of them."""
    some: list[tantivy.Query] = []
    count = 0
    for part in sorted(parts, key=lambda one: -one.worth):
        count += part.count
        if len(some) >= _AT_LEAST and count > _MOST:
            break
        some.append(part.query)
    return some


def _parts(snapshot: Snapshot, view: Mapping[str, Any]) -> Iterator[_Part]:
    """What another dataset should match as much of as it can. Nothing that no other has."""
    field = TEXT["dataset"]
    words: Counter[str] = Counter()
    for text, times in _texts(view):
        for word in dict.fromkeys(stems(text)):
            words[word] = min(words[word] + times, _MOST_TIMES)
    counts = {word: n for word in words if (n := snapshot.frequency(field, word)) > 1}
    worth = {word: words[word] * _rarity(snapshot, n) for word, n in counts.items()}
    for word in sorted(worth, key=lambda one: (-worth[one], one))[:MAX_WORDS]:
        query = tantivy.Query.term_query(schema(), field, word, "freq")
        boosted = tantivy.Query.boost_query(query, float(words[word]))
        yield _Part(boosted, counts[word], worth[word])
    tags = dict.fromkeys(fold(tag) for tag in view["record"].get("tags", ()))
    counts = {tag: n for tag in tags if (n := snapshot.frequency("tag", tag)) > 1}
    for tag in sorted(counts, key=lambda one: (counts[one], one))[:MAX_TAGS]:
        yield _plus("tag", tag, counts[tag], _TAG * _rarity(snapshot, counts[tag]))
    uri = view.get("schema", {}).get("uri", "")
    if (count := snapshot.frequency("schema", uri)) > 1:
        yield _plus("schema", uri, count, _SCHEMA * _rarity(snapshot, count))


def _texts(view: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    record = view["record"]
    yield record["name"], 3
    yield from ((tag, 2) for tag in record.get("tags", ()))
    yield record.get("description", ""), 1
    yield view.get("schema", {}).get("name") or "", 1


def _rarity(snapshot: Snapshot, count: int) -> float:
    """How much a term of so many datasets says: nothing if all have it."""
    return math.log(max(snapshot.records["dataset"], count) / count)


def _plus(field: str, text: str, count: int, worth: float) -> _Part:
    return _Part(tantivy.Query.const_score_query(term(field, text), worth), count, worth)


def _varied(
    snapshot: Snapshot, query: tantivy.Query, own: Address, limit: int
) -> Sequence[Address]:
    """The best hits, OF_TEN of one author in ten, then more of theirs if there are no others."""
    most = max(1, round(limit * OF_TEN / 10))
    taken: Counter[int] = Counter()
    seen = {place(own)}
    kept: list[Address] = []
    left: list[Address] = []
    rest, wanted = query, 2 * limit + 1
    # Each round that finds too few fills up another author: there are four at most.
    while True:
        found = snapshot.best(rest, wanted)
        for address, author in zip(found, snapshot.values("author", found), strict=True):
            if place(address) in seen:
                continue
            seen.add(place(address))
            taken[author] += 1
            (kept if taken[author] <= most else left).append(address)
        if len(kept) >= limit or len(found) < wanted:
            return [*kept, *left][:limit]
        full = (author for author, count in taken.items() if count >= most)
        rest = but(query, *(value("author", author) for author in full))
