"""From what was asked to the parts of a tantivy query: filters, words, exclusions.

    q ──language──▶ parts ──analysis──▶ stems ─┐
    parameters ────────────────────────────────┴──▶ Plan

A word that the index does not hold may have been typed in part or wrongly: what it may be meant to
be is searched in its place, counting less, where hits are put in order by their scores.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import tantivy

from atdata_indexer.index.analysis import Word, phrase, stems, words
from atdata_indexer.index.fields import TEXT, fold, schema
from atdata_indexer.index.language import Kind, Part, Question, parse
from atdata_indexer.index.query import FEW, Plan, Search, among, any_of, between, every, term
from atdata_indexer.index.snapshot import Snapshot
from atdata_indexer.index.spelling import corrections
from atdata_indexer.index.structure import pattern_term
from atdata_indexer.index.suggest import complete
from atdata_schemas.errors import ValidationError
from atdata_schemas.versions import SchemaName, parse_schema_reference

RARE = 2
"""A word in no more documents than this may be another one, mistyped."""

_MEANT = 0.6
_TOGETHER = 0.3
_COMPLETIONS = 10
_MOST_DOUBTED = 4
"""So many words of a question are looked up as mistyped: it takes milliseconds for each."""

_RARER = 10

_TEXTS = (Kind.WORD, Kind.PHRASE)

_SAYING_NOTHING = frozenset(
    stem
    for line in (
        "a an and are as at be by for from in into is it",
        "its of on or that the this to with",
    )
    for stem in line.split()
)

_KINDS = {text: kind for kind, text in TEXT.items()}

type Resolve = Callable[[SchemaName], Sequence[int]]
"""From a name with a range of versions to the keys of the schemas that have them."""

type Sole = tuple[str, Sequence[str] | Sequence[int]]
"""A field and terms of it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a search comes to: its plan, the words in it, and what they should have been.

    `meant` has what was searched beside words that the index does not hold, by the word.
    """

    question: Question
    plan: Plan
    words: Sequence[Word]
    phrases: Sequence[Word] = ()
    meant: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sole: Sole | None = None
    """The field and terms, where the whole plan asks for one of these, and no document has two."""
    few: bool = False
    """Whether no more than FEW records can match, as far as is known without looking."""

    @property
    def says_nothing(self) -> bool:
        """Whether nothing was typed but signs."""
        typed = all(one.kind in _TEXTS and not one.excluded for one in self.question.parts)
        return typed and not (self.words or self.phrases)

    @property
    def did_you_mean(self) -> str | None:
        """`q` with its mistyped words put right, if there are any."""
        right = {wrong: found[0] for wrong, found in self.meant.items()}
        if not right:
            return None
        return self.question.corrected(lambda run: right.get(fold(run)))


def plan(
    snapshot: Snapshot, search: Search, resolve: Resolve, reach: Sequence[int] | None = None
) -> Asked:
    """The plan of a search, every word of which must match.

    `reach` are the keys of the schemas that `viewable_as` can be reached from. Raises
    ValidationError for a parameter that breaks its rule, naming it.
    """
    question = parse(search.q)
    filters = {name: every(*queries) for name, queries in _filters(search, question, resolve)}
    if reach is not None:
        filters["viewableAs"] = among("schema_key", list(reach))
    text = TEXT.get(search.kind, TEXT["dataset"])  # what has no words is not asked for any
    phrases = [one for part in question.phrases if (one := phrase(part.value))]
    asked = _telling(words(question.words), beside=bool(phrases))
    excluded = list(_excluded(snapshot, text, question, resolve))
    made = Plan(
        search.kind,
        filters,
        [clause(snapshot, text, one) for one in phrases],
        [clause(snapshot, text, one) for one in asked],
        excluded,
        created=(search.created_after_us, _before(search.created_before_us)),
    )
    sole: Sole | None = _sole(search, made, asked)
    if reach is not None and made.filtered == {"viewableAs"} and not (made.scores or excluded):
        sole = "schema_key", reach
    few = search.author is not None and snapshot.frequency(*_author_term(search.author)) <= FEW
    return Asked(question, made, asked, phrases, sole=sole, few=few)


def relaxed(snapshot: Snapshot, asked: Asked, *, completing: bool) -> Asked:
    """The same, but that words may be missing, and that what they may be meant to be will do.

    With `completing` the last word may be the beginning of one.
    """
    text = TEXT[asked.plan.kind]
    last = asked.question.parts[-1] if asked.question.parts else None
    meant: dict[str, Sequence[str]] = {}
    clauses, searched = [], []
    doubted = 0
    for word, part in _typed(asked):
        found: list[str] = []
        if part is not None and doubted < _MOST_DOUBTED and _is_rare(snapshot, text, word):
            doubted += 1
            if completing and part is last and not part.excluded:
                found = complete(snapshot, fold(part.value), _COMPLETIONS)
            if not found:
                found = _corrected(snapshot, text, word, part)
                if found:
                    meant[fold(part.value)] = found
        others = [one for other in found if (one := phrase(other))]
        others += [Word(((stem,),)) for stem in _parts_of(word)]
        searched += [word, *others]
        best = clause(snapshot, text, word)
        if others:
            most = [tantivy.Query.boost_query(clause(snapshot, text, o), _MEANT) for o in others]
            best = tantivy.Query.disjunction_max_query([best, *most], _TOGETHER)
        clauses.append(best)
    made = replace(asked.plan, words=clauses, relaxed=True)
    return replace(asked, plan=made, words=searched, meant=meant, sole=None)


def _telling(asked: list[Word], *, beside: bool) -> list[Word]:
    """The words that say something; all of them if none does and there is nothing `beside`."""
    telling = [one for one in asked if one.prefix or one.alternatives[0][0] not in _SAYING_NOTHING]
    return telling if telling or beside else asked


def _typed(asked: Asked) -> Iterator[tuple[Word, Part | None]]:
    """The words of a plan, those that were typed as such with the part they are."""
    # A neighbour may have given the word further forms; its own comes first.
    by_form = {one.alternatives[:1]: part for part in asked.question.words for one in words([part])}
    for word in asked.words:
        yield word, by_form.get(word.alternatives[:1])


def _parts_of(word: Word) -> Sequence[str]:
    """The stems of a compound, or of a run of signs without spaces: each says something too."""
    return list(dict.fromkeys(stem for one in word.alternatives if len(one) > 1 for stem in one))


def _is_rare(snapshot: Snapshot, text: str, word: Word) -> bool:
    return all(
        len(one) == 1 and snapshot.frequency(text, one[0]) <= RARE for one in word.alternatives
    )


def _corrected(snapshot: Snapshot, text: str, word: Word, part: Part) -> list[str]:
    """Words that one may be meant to be, each far more common."""
    held = max(snapshot.frequency(text, one[0]) for one in word.alternatives)
    found = corrections(snapshot, fold(part.value))
    return [
        other
        for other in found
        if any(snapshot.frequency(text, stem) > held * _RARER for stem in stems(other))
    ]


def clause(snapshot: Snapshot, text: str, word: Word) -> tantivy.Query:
    """Documents that hold a word, in any of its forms; scores."""
    if word.prefix:
        return _beginning(snapshot, text, word.prefix)
    known = [
        one
        for one in word.alternatives
        if len(one) > 1 or snapshot.frequency(text, one[0]) or one is word.alternatives[0]
    ]
    forms = [_form(text, one) for one in known]
    return forms[0] if len(forms) == 1 else tantivy.Query.disjunction_max_query(forms, 0.0)


def _form(text: str, stems: Sequence[str]) -> tantivy.Query:
    if len(stems) == 1:
        return tantivy.Query.term_query(schema(), text, stems[0], "freq")
    return tantivy.Query.phrase_query(schema(), text, list(stems))


def _beginning(snapshot: Snapshot, text: str, prefix: str) -> tantivy.Query:
    """Documents with a word that begins so; the common ones among these words score."""
    # A prefix is letters and digits of one script: it says nothing as a pattern.
    pattern = "".join(c if c.isalnum() else "." for c in prefix) + ".*"
    held = tantivy.Query.regex_query(schema(), "word", pattern)
    found = {stem: None for one in complete(snapshot, prefix, _COMPLETIONS) for stem in stems(one)}
    scored = [(tantivy.Occur.Should, _form(text, [stem])) for stem in found]
    must = (tantivy.Occur.Must, tantivy.Query.const_score_query(held, 0.0))
    if text == TEXT["dataset"]:  # nearly all are datasets: the others are sooner left out
        others = [one for one in TEXT if one != "dataset"]
        kind = tantivy.Occur.MustNot, among("kind", others)
    else:
        kind = tantivy.Occur.Must, term("kind", _KINDS[text])
    return tantivy.Query.boolean_query([must, kind, *scored])


def _excluded(
    snapshot: Snapshot, text: str, question: Question, resolve: Resolve
) -> Iterator[tantivy.Query]:
    for part in question.parts:
        if part.excluded and part.kind in _PARTS:
            yield _part(part, resolve)
        elif part.excluded:
            excluded = words([part]) if part.prefix else [phrase(part.value)]
            yield from (clause(snapshot, text, word) for word in excluded if word)


def _filters(
    search: Search, question: Question, resolve: Resolve
) -> Iterator[tuple[str, list[tantivy.Query]]]:
    """The filters of the parameters and those in `q`, together where they are of one name."""
    found: dict[str, list[tantivy.Query]] = {}
    for name, query in _parameters(search, resolve):
        found.setdefault(name, []).append(query)
    for part in question.parts:
        if part.kind in _PARTS and not part.excluded:
            found.setdefault(_PARTS[part.kind], []).append(_part(part, resolve))
    yield from found.items()


def _parameters(search: Search, resolve: Resolve) -> Iterator[tuple[str, tantivy.Query]]:
    if search.tags:
        tags = [term("tag", fold(tag)) for tag in search.tags]
        yield "tags", any_of(*tags) if search.tag_match == "any" else every(*tags)
    if search.schema is not None:
        yield "schema", _schema(search.schema, resolve)
    if search.author is not None:
        yield "author", _author(search.author)
    if search.licenses:
        yield "license", any_of(*(term("license", fold(one)) for one in search.licenses))
    for pattern in search.fields:
        yield "fieldKind", term("field", pattern_term(pattern))
    if search.namespace is not None:
        yield "namespace", term("ns", search.namespace)
    for name, uri in (("source", search.source), ("target", search.target)):
        if uri is not None:
            yield name, term(name, uri)
    yield from _bounds("created", search.created_after_us, _before(search.created_before_us))
    yield from _bounds("samples", search.samples_min, search.samples_max)
    yield from _bounds("bytes", search.bytes_min, search.bytes_max)


def _bounds(name: str, low: int | None, high: int | None) -> Iterator[tuple[str, tantivy.Query]]:
    if name != "created":
        if low is not None and high is not None and low > high:
            raise ValidationError(f"{name}Min", "range", f"is above {name}Max")
        if high is not None:
            low = low or 0  # what is not known is -1, and not small
    if low is not None or high is not None:
        yield name, between(name, low, high)


def _before(us: int | None) -> int | None:
    return None if us is None else us - 1


_PARTS = {
    Kind.TAG: "tags",
    Kind.AUTHOR: "author",
    Kind.LICENSE: "license",
    Kind.FIELD: "fieldKind",
    Kind.SCHEMA: "schema",
}
"""The filters that `q` may hold, by the name that the parameters and facets have for them."""


def _part(part: Part, resolve: Resolve) -> tantivy.Query:
    match part.kind:
        case Kind.TAG:
            return term("tag", fold(part.value))
        case Kind.AUTHOR:
            return _author(part.value)
        case Kind.LICENSE:
            return term("license", fold(part.value))
        case Kind.FIELD:
            return term("field", pattern_term(part.value, "q"))
        case _:
            return _schema(part.value, resolve)


def _author(author: str) -> tantivy.Query:
    return term(*_author_term(author))


def _author_term(author: str) -> tuple[str, str]:
    return ("did", author) if author.startswith("did:") else ("handle", author.lower())


def _schema(text: str, resolve: Resolve) -> tantivy.Query:
    reference = parse_schema_reference(text)
    if isinstance(reference, str):
        return term("schema", reference)
    return among("schema_key", list(resolve(reference)))


def _sole(search: Search, made: Plan, asked: Sequence[Word]) -> Sole | None:
    """The one term that a plan comes to, if it does."""
    if made.is_broad:
        return "kind", [search.kind]
    if made.excluded or made.phrases or len(made.filters) + len(made.words) > 1:
        return None
    if asked:
        forms = asked[0].alternatives
        single = not asked[0].prefix and len(forms) == 1 and len(forms[0]) == 1
        return (TEXT[search.kind], forms[0]) if single else None
    if search.q:
        return None  # its filters may add to those of the parameters
    if search.kind == "dataset" and search.schema is not None:
        return ("schema", [search.schema]) if search.schema.startswith("at://") else None
    return ("tag", [fold(search.tags[0])]) if len(search.tags) == 1 else None
