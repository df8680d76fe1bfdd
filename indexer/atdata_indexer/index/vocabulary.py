"""The common words of an index, for prefixes that too many words begin with to look at them all.

They are those of some records in a sample. A prefix that none of them begins with has few words.
"""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from atdata_indexer.index.analysis import plain_words, values
from atdata_indexer.index.query import every, term
from atdata_indexer.index.remembered import Remembered
from atdata_indexer.index.snapshot import Snapshot

LARGE = 50_000
"""The dictionary of an index of fewer datasets is small enough in any case."""

_SAMPLE, _READ = "3", 1_000
_LONGEST = 300
_PERIOD = 65_536
"""After so many changes words may be common that were not."""

_FEW = 3


def common(snapshot: Snapshot, prefix: str, large: int = LARGE) -> Sequence[str]:
    """The common words that begin so; none if all words that do are soon looked at.

    Some may be of records deleted since.
    """
    if snapshot.records["dataset"] < large:
        return ()
    period = snapshot.generation, snapshot.sentinel.seq // _PERIOD
    words, counts = _remembered.get(period) or _remembered.put(period, _vocabulary(snapshot))
    first, behind = bisect_left(words, prefix), bisect_left(words, prefix + chr(0x10FFFF))
    return words[first:behind] if sum(counts[first:behind]) >= _FEW else ()


type _Vocabulary = tuple[Sequence[str], Sequence[int]]

_remembered: Remembered[tuple[str, int], _Vocabulary] = Remembered(2)
"""By generation and period."""


def _vocabulary(snapshot: Snapshot) -> _Vocabulary:
    """The words of some datasets in their order, and in how many of these each is."""
    query = every(term("sample", _SAMPLE), term("kind", "dataset"))
    counted: Counter[str] = Counter()
    for hit in snapshot.best(query, _READ):
        counted.update(set(_words(json.loads(snapshot.view(hit)))))
    words = sorted(counted)
    return words, [counted[word] for word in words]


def _words(view: Mapping[str, Any]) -> Iterator[str]:
    record = view["record"]
    for text in (record["name"], *record.get("tags", ())):
        for form in values(text):
            yield from plain_words(form)
    yield from plain_words(record.get("description", "")[:_LONGEST])
    yield from plain_words(view.get("schema", {}).get("name") or "")
