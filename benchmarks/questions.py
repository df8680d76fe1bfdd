"""What is asked of the index: classes of queries, each with as many questions as are wanted.

A question is a query of the API and, where PostgreSQL can answer it, the statement that does. Both
are asked for the 20 first. The words, tags, schemas, authors and records in them are drawn from the
corpus as they occur there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from atdata_schemas.errors import LexiconError, ValidationError
from atdata_schemas.lexicon import lexicons
from atdata_schemas.syntax import format_micros
from benchmarks.corpus import END_US, Corpus

NS = "app.bsky.atdata"
SEARCH = f"{NS}.searchDatasets"
LIMIT = 20
FACETS = ("tags", "license", "schema", "author", "fieldKind")
DAY_US = 86_400_000_000

_SELECT = "SELECT body::text FROM datasets"
_MATCH = f"{_SELECT}, websearch_to_tsquery('english', %s) query WHERE tsv @@ query"
_RANKED = "ORDER BY ts_rank(tsv, query) DESC LIMIT 20"
_NEWEST = "ORDER BY created DESC LIMIT 20"


@dataclass(frozen=True, slots=True)
class Question:
    """A query of the API as (name, value) pairs, and the SQL of PostgreSQL with its arguments.

    `page` above 1 means that this page of a walk by cursor is what counts.
    """

    params: Sequence[tuple[str, str]]
    nsid: str = SEARCH
    sql: str | None = None
    values: Sequence[Any] = ()
    page: int = 1


class Questions:
    """Questions of every class, out of a seed."""

    def __init__(self, corpus: Corpus, seed: int = 7) -> None:
        self._corpus = corpus
        self._random = Random(seed)
        self._classes: Mapping[str, Callable[[int], Question]] = {
            "rare": lambda n: self._text(self._word(30_000, 80_000)),
            "mid": lambda n: self._text(self._word(150, 1_500)),
            "common": lambda n: self._text(corpus.words[6 + n % 40]),
            "two common": lambda n: self._text(*self._words((5, 25), (5, 25))),
            "three": lambda n: self._text(*self._words((5, 40), (40, 300), (100, 1_000))),
            "prefix": self._prefix,
            "phrase": self._phrase,
            "tag": self._tag,
            "tag + text": self._tag_and_text,
            "schema": self._schema,
            "author": self._author,
            "newest": lambda n: Question(_of(sort="newest"), sql=f"{_SELECT} {_NEWEST}"),
            "date range": self._range,
            "by name": self._by_name,
            "deep newest": self._deep_newest,
            "deep relevance": self._deep_relevance,
            "facets": lambda n: Question(_of(q=corpus.words[6 + n % 40], facets=FACETS)),
            "all facets": lambda n: Question(_of(facets=FACETS)),
            "viewableAs": self._viewable_as,
            "structure": lambda n: Question(_of(field=self._field(n))),
            "suggest": self._suggest,
            "typo": self._typo,
            "similar": lambda n: Question(_of(uri=self._uri()), f"{NS}.getSimilarDatasets"),
            "get": self._get,
        }

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes."""
        return list(self._classes)

    def of(self, name: str, count: int) -> list[Question]:
        """So many questions of a class, all different where the class allows."""
        made: dict[Question, None] = {}
        for number in range(20 * count):
            made[self._classes[name](number)] = None
            if len(made) == count:
                break
        questions = list(made)
        return [questions[n % len(questions)] for n in range(count)]

    def mixed(self, count: int, weights: Mapping[str, float]) -> Iterator[Question]:
        """Questions of these classes, each as often as its weight says; none that is refused."""
        pools = {name: self.of(name, 200) for name in weights}
        known = {name: some for name, some in pools.items() if refused(some[0]) is None}
        chances = [weights[name] for name in known]
        for some in self._random.choices(list(known.values()), chances, k=count):
            yield self._random.choice(some)

    def _text(self, *words: str) -> Question:
        q = " ".join(words)
        return Question(_of(q=q), sql=f"{_MATCH} {_RANKED}", values=(q,))

    def _prefix(self, number: int) -> Question:
        word = self._word(100, 5_000)[:4]
        sql = f"{_MATCH} {_RANKED}".replace("websearch_to_tsquery", "to_tsquery")
        return Question(_of(q=f"{word}*"), sql=sql, values=(f"{word}:*",))

    def _phrase(self, number: int) -> Question:
        words = self._random.choice(self._corpus.first.description).split()
        at = self._random.randrange(len(words) - 1)
        return self._text(f'"{words[at]} {words[at + 1]}"')

    def _tag(self, number: int) -> Question:
        tag = self._a_tag(800)
        return Question(
            _of(tags=tag), sql=f"{_SELECT} WHERE tags @> ARRAY[%s] {_NEWEST}", values=(tag,)
        )

    def _tag_and_text(self, number: int) -> Question:
        tag, word = self._a_tag(60), self._word(5, 60)
        sql = f"{_MATCH} AND tags @> ARRAY[%s] {_RANKED}"
        return Question(_of(tags=tag, q=word), sql=sql, values=(word, tag))

    def _schema(self, number: int) -> Question:
        uri = self._random.choice(self._corpus.first.schema)
        return Question(
            _of(schema=uri), sql=f"{_SELECT} WHERE schema = %s {_NEWEST}", values=(uri,)
        )

    def _author(self, number: int) -> Question:
        did = self._random.choice(self._corpus.first.did)
        return Question(_of(author=did), sql=f"{_SELECT} WHERE did = %s {_NEWEST}", values=(did,))

    def _range(self, number: int) -> Question:
        until = END_US - self._random.randrange(900 * DAY_US)
        since = until - self._random.randrange(DAY_US // 4, 60 * DAY_US)
        sql = f"{_SELECT} WHERE created >= %s AND created < %s {_NEWEST}"
        window = _of(createdAfter=format_micros(since), createdBefore=format_micros(until))
        return Question(window, sql=sql, values=(since, until))

    def _by_name(self, number: int) -> Question:
        word = self._word(8, 300)
        sql = f"{_MATCH} ORDER BY lower(name), uri LIMIT 20"
        return Question(_of(q=word, sort="name"), sql=sql, values=(word,))

    def _deep_newest(self, number: int) -> Question:
        page = 20 + number
        sql = f"{_SELECT} {_NEWEST} OFFSET {LIMIT * (page - 1)}"
        return Question(_of(sort="newest"), sql=sql, page=page)

    def _deep_relevance(self, number: int) -> Question:
        word = self._corpus.words[8 + number % 60]
        sql = f"{_MATCH} {_RANKED} OFFSET {LIMIT * 39}"
        return Question(_of(q=word), sql=sql, values=(word,), page=40)

    def _viewable_as(self, number: int) -> Question:
        hubs = self._corpus.hubs
        target = hubs[number] if number < len(hubs) else self._random.choice(self._corpus.links)[1]
        return Question(_of(viewableAs=target))

    def _field(self, number: int) -> str:
        name = self._corpus.field_names[min(int(self._random.expovariate(0.1)), 300)]
        kind = self._random.choice(("", ":str", ":ndarray", ":ndarray:float32", ":ndarray:uint8:3"))
        return ("" if kind.count(":") == 3 and number % 2 else name) + kind or name

    def _suggest(self, number: int) -> Question:
        word = self._random.choice(self._random.choice(self._corpus.first.name).split())
        start = word[: self._random.randint(2, 6)]
        return Question(_of(q=start), f"{NS}.suggest")

    def _typo(self, number: int) -> Question:
        """A word with two letters turned round or one left out, which then is none."""
        while True:
            word = next(one for _ in range(99) if len(one := self._word(60, 5_000)) > 5)
            at = self._random.randrange(1, len(word) - 2)
            turned = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
            typed = turned if self._random.random() < 0.5 else word[:at] + word[at + 1 :]
            if typed not in self._corpus.known:
                return Question(_of(q=typed))

    def _get(self, number: int) -> Question:
        uri = self._uri()
        sql = f"{_SELECT} WHERE uri = %s"
        return Question(_of(uri=uri), f"{NS}.getDataset", sql, (uri,))

    def _uri(self) -> str:
        return self._random.choice(self._corpus.first.uri)

    def _word(self, low: int, high: int) -> str:
        return self._corpus.words[self._random.randrange(low, high)]

    def _words(self, *ranges: tuple[int, int]) -> list[str]:
        words: dict[str, None] = {}
        for low, high in ranges:
            while (word := self._word(low, high)) in words:
                pass
            words[word] = None
        return list(words)

    def _a_tag(self, until: int) -> str:
        return self._corpus.tags[self._random.randrange(until)]


def refused(question: Question) -> str | None:
    """Why the API of this version does not know questions of this kind."""
    try:
        lexicons().parse_params(question.nsid, question.params)
    except LexiconError:
        return f"there is no {question.nsid}"
    except ValidationError as error:
        return f"{question.nsid}: {error}"
    return None


def _of(**params: str | Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Parameters as pairs; of a sequence, one each."""
    return tuple(
        (name, value)
        for name, values in params.items()
        for value in ([values] if isinstance(values, str) else values)
    )
