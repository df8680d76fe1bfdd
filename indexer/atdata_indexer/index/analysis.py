"""How text becomes terms, the same way for documents and for queries. Pure.

Text is first folded and cut up here (`prepare`), then given to a tantivy analyser. Scripts that
are written without spaces become overlapping pairs of characters. Compounds (`ImageNet`,
`image-net`, `COCO2017`) are indexed in more than one form: a document holds its words as they
stand, and, as values of their own, the forms joined and taken apart (`values`). Values stand apart
for phrases, so a phrase never runs from one form into another. A query asks for any of the forms
(`Word`), each a sequence of stems side by side.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Protocol

import tantivy

STEMMED = "en_folded"
PLAIN = "folded"
MAX_WORD = 100  # characters of a word that count
MAX_PIECES = 8  # parts of a compound; one of more is not taken apart, and not joined
MAX_EXTRAS = 100  # further forms of compounds in one text
MAX_SEQUENCE = 32  # stems side by side

# Han, kana, bopomofo, Hangul, Thai, Lao, Khmer, Myanmar: no spaces, or none that part words well.
UNSPACED = (
    r"\u1100-\u11ff\u3005-\u3007\u3041-\u3096\u3099-\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u318f"
    r"\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc"
    r"\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
    r"\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf\u1780-\u17d3\u17d7\u17dc-\u17dd"
    r"\u1000-\u103f\u104e-\u108f\u109a-\u109f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f"
)
UNSPACED_RUN = re.compile(rf"[{UNSPACED}]+")


def _marks() -> tuple[str, str]:
    """Characters that a spaced word may hold besides letters: those that count, those that don't.

    Accents count for nothing, signs that tantivy would part a word at, and what only steers
    layout; vowel signs of Indic scripts count, and so do the voicing marks of kana. Marks beyond
    the first plane are left out, with which the pattern would be ten times as slow for all others:
    words part at them (`fold`).
    """
    unlettered = {*range(0x17C9, 0x17D4), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
    unlettered |= {0x34F, 0xE47, 0xE4C, 0xE4E, 0xECC, 0xECE, 0x640}
    counting, dropped = [], []
    for code in (0xAD, *range(0x300, 0x10000), *range(0xE0100, 0xE01F0)):
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] != "M" and category != "Cf" and code != 0x640:
            continue
        accent = unicodedata.combining(character) and code not in (0x3099, 0x309A)
        ignored = accent or category in ("Me", "Cf") or code in unlettered
        if ignored:
            dropped.append(code)
        elif not UNSPACED_RUN.match(character):
            counting.append(code)
    return _ranges(counting), _ranges(dropped)


def _ranges(codes: Sequence[int]) -> str:
    """Ascending code points as the inside of a character class."""
    found: list[list[int]] = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in found)


_SIGN, _NOTHING = _marks()
_LETTER = rf"[^\W_{UNSPACED}]"
_SIMPLE = rf"(?:{_LETTER}|[{_SIGN}])(?:{_LETTER}++|[{_SIGN}{_NOTHING}]++)*+"
JOINED_BY = r"\-_.'\u2019\u2010\u2011"

# What a text is made of: runs of an unspaced script, and words with what joins them. Nothing is
# given back once taken (`++`), so that any text takes one pass.
CHUNK = re.compile(
    rf"[{UNSPACED}](?:[{UNSPACED}]++|[{_NOTHING}]++)*+|{_SIMPLE}(?:[{JOINED_BY}]{_SIMPLE})*+"
)
_ASCII_CHUNK = re.compile(r"[A-Za-z0-9]++(?:[-_.'][A-Za-z0-9]++)*+")
# The same, of which those are given that may have further forms; of all others, nothing.
_ASCII_COMPOUND = re.compile(
    r"[A-Z]?[a-z]++(?![A-Z0-9]|[-_.'][A-Za-z0-9])"
    r"|([A-Za-z0-9]++(?:[-_.'][A-Za-z0-9]++)*+)"
)
_DROPPED = re.compile(f"[{_NOTHING}]+")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_LONG = re.compile(rf"(?<!{_LETTER})({_LETTER}{{{MAX_WORD}}}){_LETTER}++")
_JOINERS = re.compile(f"[{JOINED_BY}]")
# Of a word's shape: A upper case, a any other letter, 0 digit. `GPUs` is one, `MNISTData` is two.
_PIECES = re.compile(r"[A-Z]++s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


class Asked(Protocol):
    """A word as it was cut out of a query: its text, and whether more may follow it."""

    @property
    def value(self) -> str:
        """The word."""

    @property
    def prefix(self) -> bool:
        """Whether the word may go on."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word or a phrase as the index is asked for it: any of the alternatives, or the prefix.

    An alternative is a sequence of stems that stand side by side. `prefix` is the beginning of an
    unstemmed word; empty when the word was typed whole.
    """

    alternatives: tuple[tuple[str, ...], ...]
    prefix: str = ""


@cache
def analyzer() -> tantivy.TextAnalyzer:
    """Words, without accents, lower-cased, stemmed as English.

    Accents go first: lower-casing `İ` would leave a dot that no accent filter knows.
    """
    return _folding().filter(tantivy.Filter.stemmer("english")).build()


@cache
def plain_analyzer() -> tantivy.TextAnalyzer:
    """Words, without accents, lower-cased, as they are: for the dictionary of words."""
    return _folding().build()


def _folding() -> tantivy.TextAnalyzerBuilder:
    simple = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    return simple.filter(tantivy.Filter.ascii_fold()).filter(tantivy.Filter.lowercase())


def register(index: tantivy.Index) -> None:
    """Give an index the analysers, which tantivy does not keep; after every opening."""
    index.register_tokenizer(STEMMED, analyzer())
    index.register_tokenizer(PLAIN, plain_analyzer())


def fold(text: str) -> str:
    """Text without what does not count: width, ligatures, accents, invisible characters.

    Accents go before as well as after decomposing, because sorting long runs of them takes
    quadratic time. A sigma at the end of a word is a sigma. Lone surrogates, which tantivy
    refuses, become question marks; of what lies beyond the first plane only letters stay, lest
    tantivy take for one what is none here.
    """
    if text.isascii():
        return text
    bare = _DROPPED.sub("", text.encode(errors="replace").decode())
    bare = _DROPPED.sub("", unicodedata.normalize("NFKD", bare))
    bare = _ASTRAL.sub(lambda match: match[0] if match[0].isalnum() else " ", bare)
    return unicodedata.normalize("NFC", bare).replace("\u03c2", "\u03c3")


def prepare(text: str) -> str:
    """Text as it is given to an analyser, on both sides."""
    return _spread(fold(text))


def _spread(folded: str) -> str:
    if len(folded) > MAX_WORD and max(map(len, folded.split()), default=0) > MAX_WORD:
        folded = _LONG.sub(r"\1", folded)
    return folded if folded.isascii() else UNSPACED_RUN.sub(_bigrams, folded)


def _bigrams(run: re.Match[str]) -> str:
    text = run[0]
    pairs = [text[at : at + 2] for at in range(len(text) - 1)]
    return f" {' '.join(pairs or [text])} "


def values(text: str) -> list[str]:
    """The values that a text has in a document, prepared: itself first, then its further forms."""
    folded = fold(text)
    compounds = _ASCII_COMPOUND.findall(folded) if folded.isascii() else _chunks(folded)
    further = [form for chunk in dict.fromkeys(compounds) for form in _further(chunk)]
    if not folded.isascii():
        singles = dict.fromkeys(
            "".join(run for run in UNSPACED_RUN.findall(folded) if len(run) > 1)
        )
        further.insert(0, " ".join(one for one in singles if one.isalnum()))
    prepared = [_spread(folded), *(_spread(form) for form in further[:MAX_EXTRAS])]
    return [value for value in prepared if value]


def pairs(text: str) -> list[str]:
    """Every two neighbours of a text joined, prepared: `image net` gives `imagenet`."""
    chunks = _chunks(fold(text))
    return [_spread(whole) for _, whole in _neighbours(chunks)][:MAX_EXTRAS]


def chunk_pattern(text: str) -> re.Pattern[str]:
    """CHUNK, or what is the same for a text of ASCII, in half the time."""
    return _ASCII_CHUNK if text.isascii() else CHUNK


def _chunks(folded: str) -> list[str]:
    return chunk_pattern(folded).findall(folded)


def _further(chunk: str) -> Iterator[str]:
    """The other forms of a compound: joined, and taken apart."""
    if chunk.isalpha() and (chunk.isupper() or chunk[1:].islower()):
        return
    whole = joined(chunk)
    if whole and whole != chunk:
        yield whole
    apart = pieces(chunk)
    if apart and len(apart) != len(_JOINERS.split(chunk)):
        yield " ".join(chunk[start:end] for start, end in apart)


def joined(chunk: str) -> str:
    """A word without what joins its parts (`imagenet` of `image-net`); empty if there is none."""
    if chunk.isascii() and chunk.isalnum():
        return chunk if len(chunk) <= MAX_WORD else ""
    parts = _JOINERS.split(chunk, MAX_PIECES)
    whole = "".join(parts)
    fits = len(parts) <= MAX_PIECES and len(whole) <= MAX_WORD
    return whole if fits and not UNSPACED_RUN.match(chunk) else ""


def pieces(chunk: str) -> list[tuple[int, int]]:
    """Where the parts of a word begin and end, cut at joiners, capitals and digits as well."""
    if len(chunk) > 2 * MAX_WORD or UNSPACED_RUN.match(chunk):
        return []
    shape = chunk if chunk.isascii() else "".join(map(_shape, chunk))
    found = [match.span() for match in _PIECES.finditer(shape)]
    return found if len(found) <= MAX_PIECES else []


def _shape(character: str) -> str:
    if _JOINERS.match(character):
        return "-"
    if character.isnumeric():
        return "0"
    return "A" if character.isupper() else "a"


def _neighbours(chunks: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Every two neighbouring words written as one, with the place of the first."""
    wholes = [joined(chunk) for chunk in chunks]
    for at, (left, right) in enumerate(pairwise(wholes)):
        if left and right and len(left) + len(right) <= MAX_WORD:
            yield at, left + right


def stems(text: str) -> list[str]:
    """The terms of a text in the analysed fields, without its further forms."""
    return analyzer().analyze(prepare(text))


def plain_words(text: str) -> list[str]:
    """The terms of a text in the dictionary of words, without its further forms."""
    return plain_analyzer().analyze(prepare(text))


def words(asked: Iterable[Asked]) -> list[Word]:
    """The distinct words of a query, in order.

    Neighbours may be written as one: `image net` is also satisfied by `imagenet`, which then is an
    alternative of both words.
    """
    cut: list[tuple[str, bool]] = []
    for part in asked:
        chunks = _chunks(fold(part.value))
        cut += [(chunk, part.prefix and chunk is chunks[-1]) for chunk in chunks]
    forms = [_forms(chunk) for chunk, _ in cut]
    for at, whole in _neighbours(["" if prefix else chunk for chunk, prefix in cut]):
        forms[at].append(whole)
        forms[at + 1].append(whole)
    found = [
        _word(own, _prefix(chunk) if prefix else "")
        for own, (chunk, prefix) in zip(forms, cut, strict=True)
    ]
    return list(dict.fromkeys(word for word in found if word))


def phrase(text: str) -> Word | None:
    """Words side by side; None if there is nothing to look for.

    In a short phrase any two neighbours may be written as one.
    """
    folded = fold(text)
    forms = _forms(folded)
    chunks = _chunks(folded)
    if len(chunks) <= MAX_PIECES:
        for at, whole in _neighbours(chunks):
            forms.append(" ".join([*chunks[:at], whole, *chunks[at + 2 :]]))
    return _word(forms)


def _forms(folded: str) -> list[str]:
    """A query's text as it stands, with its compounds joined, and with them taken apart."""
    pattern = chunk_pattern(folded)

    def apart(match: re.Match[str]) -> str:
        return " ".join(match[0][start:end] for start, end in pieces(match[0])) or match[0]

    joint = pattern.sub(lambda match: joined(match[0]) or match[0], folded)
    return [folded, joint, pattern.sub(apart, folded)]


def _prefix(chunk: str) -> str:
    """The beginning of the words that a chunk may grow into; unspaced scripts need none."""
    return "".join(plain_analyzer().analyze(joined(chunk)))[:MAX_WORD]


def _word(forms: Iterable[str], prefix: str = "") -> Word | None:
    sequences = (analyzer().analyze(_spread(form))[:MAX_SEQUENCE] for form in forms)
    alternatives = tuple(dict.fromkeys(tuple(sequence) for sequence in sequences if sequence))
    return Word(alternatives, prefix) if alternatives or prefix else None
