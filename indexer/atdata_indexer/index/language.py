"""The mini-language of `q`: words, "phrases", -exclusions and filters. Pure; cuts, never stems.

Lenient: nothing is an error, and what is no syntax is searched as words. Bounded: MAX_TEXT
characters, MAX_PARTS parts, one pass without recursion. tantivy's own parser is neither.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from atdata_indexer.index.analysis import CHUNK
from atdata_indexer.index.structure import pattern_term
from atdata_schemas.errors import ValidationError
from atdata_schemas.syntax import is_at_identifier
from atdata_schemas.versions import parse_schema_reference

MAX_TEXT = 512
MAX_PARTS = 32

_QUOTES = str.maketrans(dict.fromkeys("“”„‟", '"'))
_PART = re.compile(
    r"""(?P<minus>(?<!\S)-(?=[^\s-]))?          # only at a word's beginning, and only one
        (?:(?P<key>[A-Za-z]+):)?
        (?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"]+))""",
    re.VERBOSE,
)
_RUN = re.compile(r"[^\s!-/:-@\[-`{-~]+")


class Kind(StrEnum):
    """What a part of a query is."""

    WORD = "word"
    PHRASE = "phrase"
    TAG = "tag"
    AUTHOR = "author"
    LICENSE = "license"
    FIELD = "field"
    SCHEMA = "schema"


_FILTERS = {kind.value: kind for kind in Kind if kind not in (Kind.WORD, Kind.PHRASE)}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a query: its text without signs and quotes, and where it was typed."""

    kind: Kind
    value: str
    excluded: bool = False
    prefix: bool = False
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        sign, star = "-" * self.excluded, "*" * self.prefix
        if self.kind is Kind.WORD:
            return f"{sign}{self.value}{star}"
        if self.kind is Kind.PHRASE:
            return f'{sign}"{self.value}"'
        bare = self.value and not re.search(r"\s", self.value)
        return f"{sign}{self.kind}:{self.value}" if bare else f'{sign}{self.kind}:"{self.value}"'


@dataclass(frozen=True, slots=True)
class Question:
    """What `q` asks for: its parts in order, and the text they were cut from."""

    parts: tuple[Part, ...]
    typed: str = field(default="", compare=False)

    @property
    def words(self) -> tuple[Part, ...]:
        """The words that are looked for; a prefix says so."""
        return self.of(Kind.WORD)

    @property
    def phrases(self) -> tuple[Part, ...]:
        """The phrases that are looked for."""
        return self.of(Kind.PHRASE)

    def of(self, kind: Kind, *, excluded: bool = False) -> tuple[Part, ...]:
        """The parts of one kind, asked for or excluded."""
        return tuple(p for p in self.parts if p.kind is kind and p.excluded is excluded)

    def __str__(self) -> str:
        return " ".join(map(str, self.parts))

    def corrected(self, correction: Callable[[str], str | None]) -> str:
        """The text as typed, with words of it replaced, for "did you mean".

        `correction` is asked for every run of letters and digits in what is looked for, not in
        filters and exclusions, and answers None for those that stay.
        """

        def replace(run: re.Match[str]) -> str:
            return correction(run[0]) or run[0]

        shown, at = [], 0
        for part in self.parts:
            if part.kind in (Kind.WORD, Kind.PHRASE) and not part.excluded:
                changed = _RUN.sub(replace, self.typed[part.start : part.end])
                shown += [self.typed[at : part.start], changed]
                at = part.end
        return "".join([*shown, self.typed[at:]])


def parse(q: str) -> Question:
    """Cut a query into its parts."""
    q = q[:MAX_TEXT].encode(errors="replace").decode()
    typed = unicodedata.normalize("NFKC", q)[:MAX_TEXT].translate(_QUOTES)
    parts: list[Part] = []
    for match in _PART.finditer(typed):
        parts += _parts(match)
        if len(parts) >= MAX_PARTS:
            break
    return Question(tuple(parts[:MAX_PARTS]), typed)


def _parts(match: re.Match[str]) -> list[Part]:
    """The parts that one match gives: a filter, a phrase, or words."""
    excluded = match["minus"] is not None
    name = "quoted" if match["quoted"] is not None else "bare"
    value = match[name]
    if match["key"] is not None:
        filtered = _filter(match["key"], value.strip())
        if filtered:
            return [Part(*filtered, excluded, start=match.start(), end=match.end())]
        return _words(match, match.start("key"), excluded)
    if name == "quoted":
        return _phrase(value, excluded, match.start("quoted"), match.end("quoted"))
    return _words(match, match.start("bare"), excluded)


def _filter(key: str, value: str) -> tuple[Kind, str] | None:
    kind = _FILTERS.get(key.lower())
    if kind is Kind.AUTHOR:
        value = value.removeprefix("@")
        valid = is_at_identifier(value)
    elif kind is Kind.FIELD:
        valid = _holds(pattern_term, value)
    elif kind is Kind.SCHEMA:
        valid = _holds(parse_schema_reference, value)
    else:
        valid = kind is not None and value != ""
    return (kind, value) if kind and valid else None


def _holds(rule: Callable[[str], object], value: str) -> bool:
    """Whether a value keeps the rule of the parameter that asks for the same."""
    try:
        rule(value)
    except ValidationError:
        return False
    return True


def _phrase(text: str, excluded: bool, start: int, end: int) -> list[Part]:
    if not CHUNK.search(text):
        return []
    return [Part(Kind.PHRASE, text.strip(), excluded, start=start, end=end)]


def _words(match: re.Match[str], start: int, excluded: bool) -> list[Part]:
    """The words of what is neither phrase nor filter; several that are excluded are a phrase."""
    text, end = match.string, match.end()
    chunks = list(CHUNK.finditer(text, start, end))
    if excluded and len(chunks) > 1:
        return _phrase(text[start:end].replace('"', ""), excluded, start, end)
    return [
        Part(Kind.WORD, chunk[0], excluded, text[chunk.end() : end] == "*", *chunk.span())
        for chunk in chunks
    ]
