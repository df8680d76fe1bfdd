"""What the search box offers while somebody types, and which tags there are.

The dictionaries of an index still hold the words of deleted records; nothing out of them is shown
before a record that is not deleted was found for it. A term of more records than there are deleted
ones has such a record.

To walk a dictionary takes as long as it has terms that begin so. Where they are many, names are
looked for in a sample of the records, and words among those of some records (`vocabulary`).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Self

import tantivy

from atdata_indexer.index.analysis import pairs, plain_words, stems, values
from atdata_indexer.index.facets import ENOUGH, author_of, most_frequent
from atdata_indexer.index.fields import (
    INDEXED_COLUMNS,
    NAME_COLUMNS,
    SAMPLES,
    TEXT,
    fold,
    name_columns,
    schema,
)
from atdata_indexer.index.query import any_of, between, every, term, value
from atdata_indexer.index.ranking import Place, place
from atdata_indexer.index.snapshot import Address, Snapshot
from atdata_indexer.index.vocabulary import common

type Kind = Literal["dataset", "tag", "author", "schema"]

MAX_TEXT = 100
MAX_COMPLETIONS = 50
"""So many words a prefix stands for at most."""

_ENDINGS = 5
_READ = 100
"""So many records of a kind are looked at most, however few of them fit."""

_ALIKE = 20_000
"""Of so many records with the same first letters the next letters are looked at one by one."""

_HANDLE_FROM = _TAG_FROM = 2
_WORD_FROM = 3
"""Bytes of a beginning that are enough to look for it in these dictionaries."""

_WIDE = {"1": 10_000, "2": 200_000}
"""From so many records on, those with a word are looked for in this sample only."""

_CHUNK, _SIGN = 8, 2**63


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One offer: `text` to show; `value` a folded tag, an AT-URI, or a DID.

    `count` says how many datasets a tag or an author has.
    """

    kind: Kind
    text: str
    value: str
    count: int | None = None


def suggest(snapshot: Snapshot, q: str, limit: int = 8) -> list[Suggestion]:
    """What begins like `q`: names of datasets first, then tags, schemas, authors.

    Each kind has its share of `limit`, and what others leave of theirs. Names that begin with `q`
    come before those that only hold its words.
    """
    q = q[:MAX_TEXT]
    if not fold(q):
        return []
    typed = _Typed.of(snapshot, q)
    found = {
        "dataset": _named(snapshot, "dataset", typed, limit),
        "tag": [Suggestion("tag", tag, tag, count) for tag, count in tags(snapshot, q, limit)],
        "schema": _named(snapshot, "schema", typed, limit),
        "author": list(_authors(snapshot, q, limit)),
    }
    large, small = max(1, limit * 3 // 8), max(1, limit // 8)
    shares = {"dataset": large, "tag": large, "schema": small, "author": small}
    chosen = [one for kind, share in shares.items() for one in found[kind][:share]]
    chosen += [one for kind, share in shares.items() for one in found[kind][share:]]
    kinds = list(shares)
    return sorted(chosen[:limit], key=lambda one: kinds.index(one.kind))


def tags(
    snapshot: Snapshot, prefix: str = "", limit: int = 25, *, enough: int = ENOUGH
) -> list[tuple[str, int]]:
    """The folded tags that begin with `prefix` and that most datasets carry, with how many.

    All tags together may be too many to count: then those are counted that are frequent in a
    sample of `enough` records.
    """
    prefix = fold(prefix[:MAX_TEXT])
    if prefix:
        return _beginning(snapshot, "tag", prefix, limit, exact=True)
    counted, estimated = most_frequent(snapshot, term("kind", "dataset"), "tags", enough)
    if not estimated:
        return list(counted[:limit])
    likely = [(tag, snapshot.frequency("tag", tag)) for tag, _ in counted]
    return _live(snapshot, "tag", sorted(likely, key=_rank), limit, exact=True)


def complete(snapshot: Snapshot, word: str, limit: int = MAX_COMPLETIONS) -> list[str]:
    """The words that begin with `word`, as they stand in records, the most frequent first."""
    prefix = "".join(plain_words(word[:MAX_TEXT]))
    limit = min(limit, MAX_COMPLETIONS)
    if not prefix:
        return []
    known = common(snapshot, prefix)
    if not known:
        return [one for one, _ in _beginning(snapshot, "word", prefix, limit)]
    counted = ((one, snapshot.frequency("word", one)) for one in {prefix, *known})
    likely = sorted((one for one in counted if one[1]), key=_rank)
    return [one for one, _ in _live(snapshot, "word", likely, limit)]


def is_live(snapshot: Snapshot, field: str, text: str, count: int) -> bool:
    """Whether a term that so many documents had is in one that is not deleted."""
    if count > snapshot.deleted:
        return True
    query = term(field, text)
    some = (every(query, term("sample", sample)) for sample in reversed(SAMPLES))
    return any(snapshot.best(one, 1) for one in (*some, query))


def _beginning(
    snapshot: Snapshot, field: str, prefix: str, limit: int, *, exact: bool = False
) -> list[tuple[str, int]]:
    """The terms that begin so and that most records have, with how many."""
    find = snapshot.searcher.terms_with_prefix
    likely = find(field, prefix, limit=2 * limit)
    found = _live(snapshot, field, likely, limit, exact=exact)
    if len(likely) < 2 * limit:
        return found
    if len(found) == limit and (not exact or found[-1][1] >= likely[-1][1]):
        return found
    # So many are deleted that others may have more: to look at the records of all takes longer.
    return find(field, prefix, filter_query=tantivy.Query.all_query(), limit=limit)


def _live(
    snapshot: Snapshot,
    field: str,
    likely: Sequence[tuple[str, int]],
    limit: int,
    *,
    exact: bool = False,
) -> list[tuple[str, int]]:
    """Of terms and the number of documents that had them, descending: the first that still are.

    With `exact` the numbers are those of the records that are left.
    """
    found: list[tuple[str, int]] = []
    for text, count in likely:
        if len(found) >= limit and count <= sorted(found, key=_rank)[limit - 1][1]:
            break  # no term has more records than it had documents
        left = count
        if snapshot.deleted and exact:
            left = snapshot.count(term(field, text))
        elif not is_live(snapshot, field, text, count):
            left = 0
        if left:
            found.append((text, left))
    return sorted(found, key=_rank)[:limit]


def _rank(one: tuple[str, int]) -> tuple[int, str]:
    return -one[1], one[0]


def _authors(snapshot: Snapshot, q: str, limit: int) -> Iterator[Suggestion]:
    prefix = fold(q).removeprefix("@")
    if len(prefix.encode()) < _HANDLE_FROM:
        return
    for handle, _ in _beginning(snapshot, "handle", prefix, limit):
        query = term("handle", handle)
        count = snapshot.count(every(query, term("kind", "dataset")))
        yield Suggestion("author", handle, author_of(snapshot, query)["did"], count)


@dataclass(frozen=True, slots=True)
class _Typed:
    """What was typed: the stems of its whole words, and its last word with what that may become.

    Too many words begin with one or two letters: what is meant by so few is a tag, or that word.
    """

    text: str
    whole: Sequence[str]
    last: str
    endings: Sequence[str]

    @classmethod
    def of(cls, snapshot: Snapshot, q: str) -> Self:
        *before, last = plain_words(q) or [""]
        endings = [last] if before else []
        if len(last.encode()) >= _WORD_FROM:
            endings += complete(snapshot, last, _ENDINGS)
        elif len(last.encode()) >= _TAG_FROM:
            likely = tags(snapshot, last, _ENDINGS)
            endings += [word for tag, _ in likely for word in plain_words(tag)[:1]]
        return cls(fold(q), _distinct(before), last, _distinct(endings))

    @property
    def is_long(self) -> bool:
        """Whether names that begin so are told apart behind what their columns hold."""
        return (name_columns(self.text)[-1] + _SIGN) % 256 > 1

    def begins(self, name: str) -> bool:
        """Whether a name begins like that."""
        return fold(name).startswith(self.text)

    def is_held(self, name: str) -> bool:
        """Whether a name holds the words, the last one as a beginning."""
        if not self.last:
            return False
        forms = [*values(name), *pairs(name)]
        begun = (word for form in forms for word in plain_words(form))
        all_whole = {stem for form in forms for stem in stems(form)}.issuperset(self.whole)
        return all_whole and any(word.startswith(self.last) for word in begun)


def _distinct(words: Iterable[str]) -> Sequence[str]:
    return list(dict.fromkeys(stem for word in words for stem in stems(word)))


def _named(snapshot: Snapshot, kind: Kind, typed: _Typed, limit: int) -> list[Suggestion]:
    """The records of a kind whose names begin like that, then those with the words in theirs."""
    begun: dict[str, Suggestion] = {}
    others: dict[str, Suggestion] = {}
    for hit, may_begin in islice(_likely(snapshot, kind, typed, limit), _READ):
        view = json.loads(snapshot.view(hit))
        name = view["record"]["name"]
        text = f"{name}@{view['record']['version']}" if kind == "schema" else name
        if typed.begins(name):
            begun.setdefault(fold(text), Suggestion(kind, text, view["uri"]))
        elif typed.is_held(name):
            others.setdefault(fold(text), Suggestion(kind, text, view["uri"]))
        if len(begun) + (0 if may_begin else len(others)) >= limit:
            break
    return [*begun.values(), *others.values()][:limit]


def _likely(
    snapshot: Snapshot, kind: Kind, typed: _Typed, limit: int
) -> Iterator[tuple[Address, bool]]:
    """Records whose names may begin so, then such that hold the words; each once."""
    seen: set[Place] = set()
    beginning = _beginning_so(snapshot, kind, typed, limit)
    for hits, may_begin in (beginning, True), (_holding(snapshot, kind, typed), False):
        for hit in hits:
            if place(hit) not in seen:
                seen.add(place(hit))
                yield hit, may_begin


def _beginning_so(snapshot: Snapshot, kind: Kind, typed: _Typed, limit: int) -> Iterator[Address]:
    """Records of a kind whose names begin so, first one that is named just so.

    What is long is looked for by the first column and its words, first with the last one whole;
    what is shorter among the names with the same first column, unless they are too many.
    """
    kind_is, columns = term("kind", kind), name_columns(typed.text)
    same_start = [kind_is, value(NAME_COLUMNS[0], columns[0])]
    if typed.is_long and typed.whole:
        whole = [term(TEXT[kind], stem) for stem in typed.whole]
        last = [term(TEXT[kind], stem) for stem in stems(typed.last)]
        yield from _some(snapshot, [*same_start, *whole, *last], _READ)
        yield from _some(snapshot, [*same_start, *whole], _READ)
        return
    enough = _READ if typed.is_long else limit
    bounds = list(_bounds(typed.text))
    if snapshot.frequency(NAME_COLUMNS[0], columns[0]) <= _ALIKE:
        alike = snapshot.best(every(*same_start), _ALIKE)
        just_so = map(_Bounds, NAME_COLUMNS, columns, columns)
        yield from _within(snapshot, alike, just_so)[:1]
        if bounds and bounds[0].low == bounds[0].high:
            yield from _within(snapshot, alike, bounds[1:])[:enough]
            return
    elif kind == "schema":
        yield from snapshot.best(every(kind_is, term("name", typed.text)), 1)
    else:
        yield from snapshot.best(every(kind_is, *map(value, NAME_COLUMNS, columns)), 1)
    ranges, few = ([kind_is, *_ranges(bounds, few=few)] for few in (False, True))
    if kind == "schema":
        yield from snapshot.best(every(*ranges), enough)
    else:
        yield from _some(snapshot, ranges, enough, few)


def _some(
    snapshot: Snapshot,
    needed: Sequence[tantivy.Query],
    limit: int,
    few: Sequence[tantivy.Query] = (),
) -> list[Address]:
    """Records that match all; of many, some in a sample. `few` is quicker where they are not."""
    for sample in ("2", "1"):
        hits = snapshot.best(every(term("sample", sample), *needed), limit)
        if len(hits) == limit:
            return hits
    return snapshot.best(every(*(few or needed)), limit)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What a column holds of names that begin so, both included."""

    column: str
    low: int
    high: int


def _bounds(start: str) -> Iterator[_Bounds]:
    """Names that begin so, by the columns that hold their first letters."""
    chunks = ((low + _SIGN).to_bytes(_CHUNK).rstrip(b"\0") for low in name_columns(start))
    for column, chunk in zip(NAME_COLUMNS, chunks, strict=True):
        if chunk.strip(b"\0\1"):
            low, high = (int.from_bytes(chunk.ljust(_CHUNK, end)) for end in (b"\0", b"\xff"))
            yield _Bounds(column, low - _SIGN, high - _SIGN)


def _ranges(bounds: Iterable[_Bounds], *, few: bool) -> Iterator[tantivy.Query]:
    for one in bounds:
        is_few = few and one.column in INDEXED_COLUMNS
        yield between(one.column, one.low, one.high, few=is_few)


def _within(
    snapshot: Snapshot, hits: Sequence[Address], bounds: Iterable[_Bounds]
) -> Sequence[Address]:
    """Those in bounds; to look at a few thousand is quicker than to search a whole column."""
    for one in bounds:
        found = zip(hits, snapshot.values(one.column, hits), strict=True)
        hits = [address for address, held in found if one.low <= held <= one.high]
    return hits


def _holding(snapshot: Snapshot, kind: Kind, typed: _Typed) -> Iterator[Address]:
    """Records with all of the words but the last; those first that hold one of its endings.

    Of many records only those in a sample.
    """
    if not typed.endings:
        return

    def held(terms: Sequence[str]) -> tuple[tantivy.Query, int]:
        queries = (tantivy.Query.term_query(schema(), TEXT[kind], one, "freq") for one in terms)
        return any_of(*queries), sum(snapshot.frequency(TEXT[kind], one) for one in terms)

    ending = held(typed.endings)
    needed = [held([stem]) for stem in typed.whole] or [ending]
    parts = [(tantivy.Occur.Must, query) for query, _ in needed]
    if typed.whole:
        parts.append((tantivy.Occur.Should, ending[0]))
    some = min(count for _, count in needed)
    samples = [sample for sample, wide in _WIDE.items() if some >= wide]
    parts += [(tantivy.Occur.Must, term("sample", sample)) for sample in samples[-1:]]
    yield from snapshot.best(tantivy.Query.boolean_query(parts), _READ)
