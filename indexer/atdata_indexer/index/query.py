"""tantivy queries by their parts. Pure; never touches tantivy's own parser.

tantivy's parser is recursive and knows field names: a few thousand parentheses end the process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import tantivy

from atdata_indexer.index.fields import INDEXED_COLUMNS, schema

FEW = 2_000
"""So many records are looked at one by one as soon as by any other way."""


def term(field: str, text: str) -> tantivy.Query:
    """Documents that hold an exact term; does not score."""
    query = tantivy.Query.term_query(schema(), field, text, "basic")
    return tantivy.Query.const_score_query(query, 0.0)


def value(column: str, number: int) -> tantivy.Query:
    """Documents of one value in an integer column; does not score."""
    if column in INDEXED_COLUMNS:
        query = tantivy.Query.term_query(schema(), column, number, "basic")
        return tantivy.Query.const_score_query(query, 0.0)
    return between(column, number, number)


def between(column: str, low: int | None, high: int | None, *, few: bool = False) -> tantivy.Query:
    """Documents whose integer column is in bounds, both included; does not score.

    With `few` documents in them, and an indexed column, their terms are quicker than the column.
    """
    return tantivy.Query.const_score_query(
        tantivy.Query.range_query(
            schema(), column, tantivy.FieldType.Integer, low, high, use_inverted_index=few
        ),
        0.0,
    )


def every(*queries: tantivy.Query) -> tantivy.Query:
    """Documents that match all of these."""
    if len(queries) == 1:
        return queries[0]
    return tantivy.Query.boolean_query([(tantivy.Occur.Must, query) for query in queries])


def any_of(*queries: tantivy.Query) -> tantivy.Query:
    """Documents that match one of these at least."""
    return tantivy.Query.boolean_query([(tantivy.Occur.Should, query) for query in queries])


def but(query: tantivy.Query, *excluded: tantivy.Query) -> tantivy.Query:
    """Documents that match the first and none of the others."""
    parts = [(tantivy.Occur.Must, query)]
    parts += [(tantivy.Occur.MustNot, one) for one in excluded]
    return tantivy.Query.boolean_query(parts)


def among(field: str, values: Sequence[str] | Sequence[int]) -> tantivy.Query:
    """Documents that hold one of many exact terms; does not score.

    A set of terms is looked up in the whole dictionary, which does not pay for a few.
    """
    if 0 < len(values) <= _FEW:
        terms = [tantivy.Query.term_query(schema(), field, one, "basic") for one in values]
        query = terms[0] if len(terms) == 1 else any_of(*terms)
    else:
        query = tantivy.Query.term_set_query(schema(), field, list(values))
    return tantivy.Query.const_score_query(query, 0.0)


_FEW = 64
_OF_DATASETS = frozenset({"tags", "license", "schema", "viewableAs", "samples", "bytes"})
"""Filters that only datasets pass, so that the kind need not be asked for."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked for: all of it must hold.

    `q` is text in the mini-language (`language`); `schema` an AT-URI, or a name with a range of
    versions; `viewable_as` the AT-URI of a schema that lenses lead to; `author` a DID or handle;
    `fields` are patterns `name[:kind[:dtype[:ndim]]]`. Times are microseconds, `created_after_us`
    included, `created_before_us` not; sizes are included. `source` and `target` are the schemas of
    a lens.
    """

    kind: str
    q: str = ""
    tags: Sequence[str] = ()
    tag_match: str = "all"
    schema: str | None = None
    viewable_as: str | None = None
    author: str | None = None
    licenses: Sequence[str] = ()
    fields: Sequence[str] = ()
    created_after_us: int | None = None
    created_before_us: int | None = None
    samples_min: int | None = None
    samples_max: int | None = None
    bytes_min: int | None = None
    bytes_max: int | None = None
    namespace: str | None = None
    source: str | None = None
    target: str | None = None

    @property
    def identity(self) -> str:
        """What a cursor of this search is bound to."""
        return repr([getattr(self, name) for name in self.__slots__])


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of a search as tantivy queries.

    `filters` do not score and are named, those that facets count by the facet. `phrases` and
    `words` score; every one must match, or with `relaxed` only some of the words.
    """

    kind: str
    filters: Mapping[str, tantivy.Query] = field(default_factory=dict)
    phrases: Sequence[tantivy.Query] = ()
    words: Sequence[tantivy.Query] = ()
    excluded: Sequence[tantivy.Query] = ()
    relaxed: bool = False
    created: tuple[int | None, int | None] = (None, None)
    """The bounds of the filter `created`, which walks by date keep to by themselves."""

    @property
    def filtered(self) -> frozenset[str]:
        """The names of the filters there are."""
        return frozenset(self.filters)

    @property
    def scores(self) -> bool:
        """Whether there is anything that hits can be put in order by."""
        return bool(self.words or self.phrases)

    @property
    def is_broad(self) -> bool:
        """Whether there is nothing but the kind."""
        return not (self.filters or self.scores or self.excluded)

    @property
    def is_span(self) -> bool:
        """Whether datasets of some time are asked for, and nothing else."""
        alone = self.kind == "dataset" and self.filtered == {"created"}
        return alone and not (self.scores or self.excluded)

    def query(self, without: str | None = None) -> tantivy.Query:
        """The whole query, or all of it but the filter of one name."""
        filters = {name: query for name, query in self.filters.items() if name != without}
        parts = list(filters.values())
        if not self.scores and (self.kind != "dataset" or not _OF_DATASETS & filters.keys()):
            parts.append(term("kind", self.kind))
        parts += self.phrases
        if self.relaxed and len(self.words) > 1:
            parts.append(_most_of(self.words, none_will_do=bool(self.phrases)))
        else:
            parts += self.words
        return but(every(*parts), *self.excluded) if self.excluded else every(*parts)


def _most_of(words: Sequence[tantivy.Query], *, none_will_do: bool) -> tantivy.Query:
    """Documents that match some of these; those that match all of them count more."""
    all_of_them = tantivy.Query.boost_query(every(*words), _WHOLE)
    parts = [*words, all_of_them]
    if none_will_do:
        parts.append(tantivy.Query.const_score_query(tantivy.Query.all_query(), 0.0))
    return any_of(*parts)


_WHOLE = 1.0
"""How much more a hit counts that has every word of the question."""
