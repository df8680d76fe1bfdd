"""Which parts of a name and a description matched a search. Pure.

The given text is looked at, not the index: its words are analysed as documents are, and those
that satisfy a word, a sequence or a prefix that was asked for are marked. Slices are UTF-8 byte
offsets into the shown text, as in app.bsky.richtext.facet.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from atdata_indexer.index.analysis import (
    JOINED_BY,
    UNSPACED_RUN,
    Word,
    chunk_pattern,
    fold,
    joined,
    pieces,
    plain_words,
    stems,
)

EXCERPT = 240  # characters shown of a description, marks of omission included
LOOKED_AT = 1_000  # characters of a text in which matches are looked for
_OMITTED = "…"
_COMPOUND = re.compile(rf"[\d{JOINED_BY}]")
_WORDS = re.compile(rf"[^{JOINED_BY}]+")
_VOICING = ("\u3099", "\u309a")
_BORDER = re.compile(r"\s(?=\S)")

type Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the shown text, in bytes of its UTF-8 form."""

    byte_start: int
    byte_end: int


@dataclass(frozen=True, slots=True)
class Highlight:
    """A field as it is shown, and the parts of it that matched."""

    field: Literal["name", "description"]
    text: str
    slices: tuple[Slice, ...]


@dataclass(slots=True)
class _Token:
    """A piece of a text; `stem` is empty when no search asks for it, which parts sequences."""

    start: int
    end: int
    stem: str = ""
    matches: bool = False


@dataclass(slots=True)
class _Chunk:
    """What is known of a chunk: its words as they stand, and the spans its other forms give."""

    tokens: Sequence[_Token] = ()
    spans: Sequence[Span] = ()


_NOT_ASKED = _Chunk()


class Highlighter:
    """Marks what one search asked for; made once for it and used for each of its records."""

    def __init__(self, asked: Iterable[Word]) -> None:
        asked = list(asked)
        sequences = {sequence for word in asked for sequence in word.alternatives}
        self._prefixes = tuple({word.prefix for word in asked if word.prefix})
        self._single = {sequence[0] for sequence in sequences if len(sequence) == 1}
        self._sequences = [sequence for sequence in sequences if len(sequence) > 1]
        self._wanted = self._single.union(*self._sequences)
        self._initials = {text[0] for text in (*self._wanted, *self._prefixes)}
        self._chunks: dict[str, _Chunk] = {}
        self._folds: dict[str, str] = {}

    def highlight(self, name: str, description: str) -> list[Highlight]:
        """What to show of a record; a field in which nothing matched is left out."""
        shown: list[Highlight] = []
        if spans := self.spans(name) or self._pairs(name):
            shown.append(Highlight("name", name, tuple(_slices(name, spans))))
        if spans := self.spans(description):
            text, spans = _excerpt(description, spans)
            shown.append(Highlight("description", text, tuple(_slices(text, spans))))
        return [highlight for highlight in shown if highlight.slices]

    def spans(self, text: str) -> list[Span]:
        """The parts of a text that match, in characters, in order, none touching another."""
        spans: list[Span] = []
        tokens: list[_Token] = []
        known = self._chunks.get
        for match in chunk_pattern(text).finditer(text, 0, LOOKED_AT) if self._initials else ():
            chunk = match[0]
            found = known(chunk) or self._look_at(chunk)
            if found is _NOT_ASKED:
                if tokens and tokens[-1].stem:
                    tokens.append(_Token(0, 0))
                continue
            at, end = match.span()
            if end == LOOKED_AT < len(text) and not UNSPACED_RUN.match(chunk):
                break  # cut off here, so not the word it seems to be
            spans += [(at + start, at + end) for start, end in found.spans]
            tokens += [_Token(at + t.start, at + t.end, t.stem, t.matches) for t in found.tokens]
        return _merged([*spans, *self._matching(tokens)])

    def _pairs(self, text: str) -> list[Span]:
        """Neighbours in a text that match written as one, as they do in names."""
        chunks = [
            (match.span(), joined(fold(match[0]))) for match in chunk_pattern(text).finditer(text)
        ]
        return _merged(
            (left[0], right[1])
            for (left, first), (right, second) in pairwise(chunks if self._single else ())
            if first and second and self._token(first + second, (0, 0)).matches
        )

    def _look_at(self, chunk: str) -> _Chunk:
        found = self._chunks[chunk] = self._found_in(chunk) or _NOT_ASKED
        return found

    def _found_in(self, chunk: str) -> _Chunk | None:
        """What is asked for of a chunk; None if nothing is."""
        if _is_simple(chunk):
            initial = self._fold(chunk[0])[:1].lower()
            known = initial.isascii() or "\u0370" <= initial < "\u1d00"
            if known and initial not in self._initials:
                return None  # stems begin as their words do; only Latin letters fold further
            token = self._token(chunk, (0, len(chunk)))
            return _Chunk([token]) if token.stem or token.matches else None
        if UNSPACED_RUN.match(chunk):
            return self._found_in_run(chunk)
        folded = fold(chunk)
        tokens = [self._token(word[0], word.span()) for word in _WORDS.finditer(folded)]
        whole = joined(folded)
        if whole and self._token(whole, (0, 0)).matches:
            spans = [(0, len(folded))]
        else:
            apart = [self._token(folded[slice(*span)], span) for span in pieces(folded)]
            spans = list(self._matching(apart))
        return self._placed(chunk, folded, tokens, spans)

    def _found_in_run(self, chunk: str) -> _Chunk | None:
        """Of an unspaced script: pairs of characters, and single ones. They are their own stems."""
        folded = fold(chunk)
        size = 2 if len(folded) > 1 else 1
        tokens: list[_Token] = []
        for at in range(len(folded) - size + 1):
            pair = folded[at : at + size]
            if pair in self._wanted:
                tokens.append(_Token(at, at + size, pair, pair in self._single))
            elif not tokens or tokens[-1].stem:
                tokens.append(_Token(0, 0))
        spans = [(at, at + 1) for at, one in enumerate(folded) if one in self._single]
        return self._placed(chunk, folded, tokens, spans)

    def _placed(
        self, chunk: str, folded: str, tokens: list[_Token], spans: list[Span]
    ) -> _Chunk | None:
        """What was found in the folded form of a chunk, as places in the chunk itself."""
        if not spans and not any(token.stem or token.matches for token in tokens):
            return None
        if folded == chunk:
            return _Chunk(tokens, spans)
        parts = self._folded_one_by_one(chunk)
        if "".join(parts) != folded:  # no telling what became of which character: all of it
            hit = bool(spans) or any(True for _ in self._matching(tokens))
            return _Chunk(spans=[(0, len(chunk))]) if hit else None
        kept = [at for at, part in enumerate(parts) if part]
        starts = [at for at in kept for _ in parts[at]]
        after = dict(zip(kept, [*kept[1:], len(chunk)], strict=True))

        def place(start: int, end: int) -> Span:
            return (starts[start], after[starts[end - 1]]) if start < end else (0, 0)

        return _Chunk(
            [_Token(*place(t.start, t.end), t.stem, t.matches) for t in tokens],
            [place(*span) for span in spans],
        )

    def _folded_one_by_one(self, chunk: str) -> list[str]:
        """What each character becomes; nothing, if it only voices the one before it."""
        parts: list[str] = []
        base = 0
        for at, character in enumerate(chunk):
            part = self._fold(character)
            if part in _VOICING and at:
                parts[base], part = fold(parts[base] + part), ""
            elif part:
                base = at
            parts.append(part)
        return parts

    def _token(self, text: str, span: Span) -> _Token:
        terms = stems(text)
        stem = terms[0] if len(terms) == 1 and terms[0] in self._wanted else ""
        matches = stem in self._single
        if not matches and self._prefixes:
            matches = any(word.startswith(self._prefixes) for word in plain_words(text))
        return _Token(*span, stem, matches)

    def _matching(self, tokens: Sequence[_Token]) -> Iterator[Span]:
        """The spans of the tokens that match, alone or as a sequence; not what lies between."""
        yield from ((token.start, token.end) for token in tokens if token.matches)
        found = [token.stem for token in tokens] if self._sequences else []
        for sequence in self._sequences:
            size, first = len(sequence), sequence[0]
            for at in range(len(found) - size + 1):
                if found[at] == first and tuple(found[at : at + size]) == sequence:
                    yield from ((token.start, token.end) for token in tokens[at : at + size])

    def _fold(self, character: str) -> str:
        if character not in self._folds:
            self._folds[character] = fold(character)
        return self._folds[character]


def _is_simple(chunk: str) -> bool:
    """Whether a chunk is one word without further forms."""
    rest = chunk[1:]
    if chunk.isascii() and chunk.isalpha() and rest.islower():
        return True
    if _COMPOUND.search(chunk) or UNSPACED_RUN.match(chunk):
        return False
    return rest == rest.lower() or chunk.isupper()


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _excerpt(text: str, spans: Sequence[Span]) -> tuple[str, list[Span]]:
    """The part of a text where most different words match, and the spans that lie in it."""
    if len(text) <= EXCERPT:
        return text, list(spans)
    room = EXCERPT - 2 * len(_OMITTED)
    spans = [(start, end) for start, end in spans if end - start <= room]
    first, last = _densest(text, spans, room)
    start = max(0, first - (room - (last - first)) // 2)
    end = min(len(text), start + room)
    start = _begin(text, max(0, end - room), first)
    end = _finish(text, last, end)
    before, after = _OMITTED * (start > 0), _OMITTED * (end < len(text))
    shift = len(before) - start
    inside = [(a + shift, b + shift) for a, b in spans if start <= a and b <= end]
    return f"{before}{text[start:end]}{after}", inside


def _densest(text: str, spans: Sequence[Span], room: int) -> Span:
    """The stretch, no longer than `room`, with most different matches, then most of them."""
    best, stretch = (0, 0), (0, 0)
    within: Counter[str] = Counter()
    first = 0
    words = [text[start:end].lower() for start, end in spans]
    for last, (_, end) in enumerate(spans):
        within[words[last]] += 1
        while end - spans[first][0] > room:
            within[words[first]] -= 1
            within += Counter()  # forgets those that are no longer within
            first += 1
        if (score := (len(within), last - first)) > best:
            best, stretch = score, (spans[first][0], end)
    return stretch


def _begin(text: str, start: int, first: int) -> int:
    """Where an excerpt begins that may begin at `start` and must before `first`."""
    if start == 0:
        return 0
    border = _BORDER.search(text, start - 1, first + 1)
    if border:
        return border.end()
    while start < first and _continues(text[start]):
        start += 1
    return start


def _finish(text: str, last: int, end: int) -> int:
    """Where an excerpt ends that may end at `end` and must not before `last`."""
    if end == len(text):
        return end
    borders = [match.start() for match in re.finditer(r"\s", text[last : end + 1])]
    if borders:
        return last + borders[-1]
    while end > last and _continues(text[end]):
        end -= 1
    return end


def _continues(character: str) -> bool:
    """Whether a character belongs to the one before it."""
    return unicodedata.category(character)[0] == "M" or character == "\u200d"


def _slices(text: str, spans: Iterable[Span]) -> Iterator[Slice]:
    if text.isascii():
        yield from (Slice(start, end) for start, end in spans)
        return
    size, at = 0, 0
    for start, end in spans:
        size += len(text[at:start].encode())
        length = len(text[start:end].encode())
        yield Slice(size, size + length)
        size, at = size + length, end
