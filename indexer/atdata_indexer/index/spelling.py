"""What a word that is not in the index may have been meant to be.

A word of 4 to 7 letters may be one edit away from another, a longer one two; an edit leaves out,
adds, changes or swaps a letter. All words at one edit are simply looked up. Those at two are too
many: the index finds records with some of them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import tantivy

from atdata_indexer.index.analysis import UNSPACED, plain_words, stems
from atdata_indexer.index.fields import TEXT, schema
from atdata_indexer.index.query import any_of
from atdata_indexer.index.snapshot import Snapshot
from atdata_indexer.index.suggest import is_live

SHORTEST, LONG, LONGEST = 4, 8, 30
_READ = 30
_SHORTEST_PART = 3
_BLOCK = 0x80
_UNSPACED = re.compile(f"[{UNSPACED}]")


def corrections(snapshot: Snapshot, word: str, limit: int = 3) -> list[str]:
    """Words of the index that a word may be meant to be, the best first.

    Fewer edits come first, then the more frequent word; none is rarer than the word itself. A word
    that is none may also be two that were written as one.
    """
    words = plain_words(word[: LONGEST + 1])
    word = words[0] if len(words) == 1 else ""
    if not SHORTEST <= len(word) <= LONGEST or not word.isalnum() or _UNSPACED.search(word):
        return []
    if not any(letter.isalpha() for letter in word):
        return []
    known = snapshot.frequency("word", word)
    near = _more_frequent(snapshot, _one_edit(word), known)
    if not near and not known and (parts := _parts(snapshot, word)):
        return [parts]
    if not near and len(word) >= LONG:
        near = _more_frequent(snapshot, _two_edits(snapshot, word), known)
    ranked = sorted(near, key=lambda one: (-near[one], one))
    found = (one for one in ranked if is_live(snapshot, "word", one, near[one]))
    return list(islice(found, limit))


def distance(left: str, right: str) -> int:
    """How many edits lead from one word to another, a swap of neighbours counted as one."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and b == left[i - 2]:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _more_frequent(snapshot: Snapshot, words: Iterator[str], than: int) -> dict[str, int]:
    counted = ((word, snapshot.frequency("word", word)) for word in set(words))
    return {word: count for word, count in counted if count > than}


def _letters(word: str) -> str:
    """The letters that a word of its script may have."""
    blocks = {ord(letter) // _BLOCK for letter in word}
    codes = (code for block in blocks for code in range(block * _BLOCK, (block + 1) * _BLOCK))
    return "".join(one for one in map(chr, codes) if one.isalnum() and one == one.lower())


def _one_edit(word: str) -> Iterator[str]:
    letters = _letters(word)
    for at in range(len(word) + 1):
        start, rest = word[:at], word[at:]
        yield from (start + letter + rest for letter in letters)
        if not rest:
            return
        yield start + rest[1:]
        yield from (start + letter + rest[1:] for letter in letters if letter != rest[0])
        if rest[1:] and rest[0] != rest[1]:
            yield start + rest[1] + rest[0] + rest[2:]


def _two_edits(snapshot: Snapshot, word: str) -> Iterator[str]:
    """Words at two edits, out of the first records that have any."""
    query = tantivy.Query.fuzzy_term_query(schema(), "word", word, 2, transposition_cost_one=True)
    letters = set(word)
    views = snapshot.views(snapshot.best(query, _READ))
    for other in {other for view in views for other in plain_words(_said(json.loads(view)))}:
        similar = abs(len(other) - len(word)) <= 2 and len(letters ^ set(other)) <= 4
        if similar and distance(word, other) <= 2:
            yield other


def _said(view: Mapping[str, Any]) -> str:
    """The words of a record; members that its lexicon does not know may be anything."""
    record = view["record"]
    said = [record.get("name"), record.get("description")]
    for name in ("tags", "fields"):
        some = record.get(name)
        said += some if isinstance(some, list) else ()
    texts = (one.get("name") if isinstance(one, dict) else one for one in said)
    return " ".join(text for text in texts if isinstance(text, str))


def _parts(snapshot: Snapshot, word: str) -> str | None:
    """Two words that stand side by side somewhere and were written as one."""
    cuts = range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1)
    for left, right in ((word[:at], word[at:]) for at in cuts):
        if not (snapshot.frequency("word", left) and snapshot.frequency("word", right)):
            continue
        sequence: list[str | tuple[int, str]] = [*stems(left), *stems(right)]
        phrases = (tantivy.Query.phrase_query(schema(), name, sequence) for name in TEXT.values())
        if snapshot.best(any_of(*phrases), 1):
            return f"{left} {right}"
    return None
