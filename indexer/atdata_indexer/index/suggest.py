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
from atdata_indexer.index.snapshot import Address, Snapshot
from atdata_indexer.index.vocabulary import common

type Kind = Literal["dataset", "tag", "author", "schema"]

MAX_TEXT = 100
MAX_COMPLETIONS = 50
"""So many words a prefix stands for at most."""

_ENDINGS = 5
_WORDS = 8
_READ = 15
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
    """What was typed, as words, and the words that the last of them may become.

    Too many words begin with one or two letters: what is meant by so few is a tag.
    """

    text: str
    words: Sequence[str]
    endings: Sequence[str]

    @classmethod
    def of(cls, snapshot: Snapshot, q: str) -> Self:
        words = plain_words(q)[:_WORDS]
        last = words[-1] if words else ""
        if len(last.encode()) >= _WORD_FROM:
            return cls(fold(q), words, complete(snapshot, last, _ENDINGS))
        likely = tags(snapshot, last, _ENDINGS) if len(last.encode()) >= _TAG_FROM else []
        return cls(fold(q), words, [word for tag, _ in likely for word in plain_words(tag)[:1]])

    def fits(self, name: str) -> bool:
        """Whether a name begins like that or holds the words, the last one as a beginning."""
        if fold(name).startswith(self.text):
            return True
        if not self.words:
            return False
        forms = [*values(name), *pairs(name)]
        whole = {stem for form in forms for stem in stems(form)}
        begun = (word for form in forms for word in plain_words(form))
        all_whole = all(stem in whole for word in self.words[:-1] for stem in stems(word))
        return all_whole and any(word.startswith(self.words[-1]) for word in begun)


def _named(snapshot: Snapshot, kind: Kind, typed: _Typed, limit: int) -> list[Suggestion]:
    """The records of a kind whose names begin like that, then those with the words in theirs."""
    found: dict[str, Suggestion] = {}

    def add(hits: Iterable[Address]) -> None:
        for view in (json.loads(snapshot.view(hit)) for hit in hits):
            record = view["record"]
            text = f"{record['name']}@{record['version']}" if kind == "schema" else record["name"]
            if typed.fits(record["name"]):
                found.setdefault(fold(text), Suggestion(kind, text, view["uri"]))

    add(_beginning_so(snapshot, kind, typed.text, limit))
    if (typed.words[1:] or typed.endings) and len(found) < limit:
        add(snapshot.best(_holding(snapshot, kind, typed), _READ))
    return sorted(found.values(), key=lambda one: not fold(one.text).startswith(typed.text))[:limit]


def _beginning_so(snapshot: Snapshot, kind: Kind, start: str, limit: int) -> Iterator[Address]:
    """Records of a kind whose names begin so, first one that is named just so."""
    kind_is = term("kind", kind)
    if kind == "schema":
        yield from snapshot.best(every(term("name", start), kind_is), 1)
        yield from snapshot.best(every(kind_is, *_bounds(start)), limit)
        return
    just_so = map(value, NAME_COLUMNS, name_columns(start))
    yield from snapshot.best(every(*just_so, kind_is), 1)
    for sample in ("2", "1"):
        hits = snapshot.best(every(term("sample", sample), kind_is, *_bounds(start)), limit)
        if len(hits) == limit:
            yield from hits
            return
    yield from snapshot.best(every(kind_is, *_bounds(start, few=True)), limit)


def _bounds(start: str, *, few: bool = False) -> Iterator[tantivy.Query]:
    """Names that begin so, by the columns that hold their first letters."""
    chunks = ((low + _SIGN).to_bytes(_CHUNK).rstrip(b"\0") for low in name_columns(start))
    for column, chunk in zip(NAME_COLUMNS, chunks, strict=True):
        if chunk.strip(b"\0\1"):
            low, high = (int.from_bytes(chunk.ljust(_CHUNK, end)) for end in (b"\0", b"\xff"))
            is_few = few and column in INDEXED_COLUMNS
            yield between(column, low - _SIGN, high - _SIGN, few=is_few)


def _holding(snapshot: Snapshot, kind: Kind, typed: _Typed) -> tantivy.Query:
    """Records with all of the words but the last; those first that hold one of its endings.

    Of many records only those in a sample.
    """

    def held(words: Sequence[str]) -> tuple[tantivy.Query, int]:
        distinct = dict.fromkeys(stem for word in words for stem in stems(word))
        terms = (tantivy.Query.term_query(schema(), TEXT[kind], one, "freq") for one in distinct)
        return any_of(*terms), sum(snapshot.frequency(TEXT[kind], one) for one in distinct)

    needed = [held([word]) for word in typed.words[:-1]]
    parts = [(tantivy.Occur.Must, query) for query, _ in needed]
    if typed.endings:
        ending = held(typed.endings)
        parts.append((tantivy.Occur.Should, ending[0]))
        needed = needed or [ending]
    some = min(count for _, count in needed)
    samples = [sample for sample, wide in _WIDE.items() if some >= wide]
    parts += [(tantivy.Occur.Must, term("sample", sample)) for sample in samples[-1:]]
    if samples and not typed.words[1:]:
        parts[0] = (tantivy.Occur.Must, parts[0][1])
    return tantivy.Query.boolean_query(parts)
