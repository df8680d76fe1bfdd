"""Words that nobody says, and how often each is said: by Zipf's law, as in languages."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

VOCABULARY = 80_000
KNOWN = {12: "image", 15: "text", 20: "speech", 30: "video", 60: "medical", 200: "satellite"}
"""Words that are said, by their rank."""

_CLUSTERS = ("br", "cr", "dr", "fl", "gr", "pl", "pr", "st", "tr", "ch", "sh", "th")
_STARTS = (*"bcdfghjklmnprstvwz", *_CLUSTERS)
_VOWELS = (*"aeiou", "ai", "ea", "io", "ou")
_ENDINGS = ("", "n", "r", "s", "v", "l", "m", "x", "nd", "lk", "tion", "ing", "er")

type Ints = NDArray[np.int64]


class Zipf:
    """Ranks whose chance falls with a power of the rank."""

    def __init__(self, size: int, shift: float, power: float = 1.0) -> None:
        weights = (np.arange(size) + shift) ** -power
        self._until = np.cumsum(weights / weights.sum())

    def draw(self, random: np.random.Generator, count: int) -> Ints:
        """So many ranks."""
        found = np.searchsorted(self._until, random.random(count))
        return np.minimum(found, len(self._until) - 1).astype(np.int64)


def runs(
    values: Sequence[str], ranks: Zipf, random: np.random.Generator, lengths: Ints
) -> Iterator[list[str]]:
    """So many values for each length, drawn by rank."""
    drawn = [values[rank] for rank in ranks.draw(random, int(lengths.sum())).tolist()]
    ends = np.cumsum(lengths).tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        yield drawn[start:end]


def joined(
    values: Sequence[str], ranks: Zipf, random: np.random.Generator, lengths: Ints
) -> list[str]:
    """So many words for each length, as text."""
    return [" ".join(some) for some in runs(values, ranks, random, lengths)]


def vocabulary(random: np.random.Generator) -> list[str]:
    """Words one can pronounce, the shorter ones first on the whole, as in languages."""
    made: dict[str, None] = {}
    while len(made) < VOCABULARY:
        syllables = [
            [_STARTS[a] + _VOWELS[b] for a, b in zip(*pair, strict=True)]
            for pair in (
                (random.integers(0, len(_STARTS), 50_000).tolist(),
                 random.integers(0, len(_VOWELS), 50_000).tolist())
                for _ in range(3)
            )
        ]  # fmt: skip
        last = random.integers(0, len(_ENDINGS), 50_000).tolist()
        lengths = random.integers(1, 4, 50_000).tolist()
        for one, two, three, end, length in zip(*syllables, last, lengths, strict=True):
            word = "".join((one, two, three)[:length]) + _ENDINGS[end]
            if len(word) >= 3:
                made[word] = None
    words = sorted(dict.fromkeys([*list(made)[:VOCABULARY]]), key=len)
    blocks = [words[at : at + 20_000] for at in range(0, VOCABULARY, 20_000)]
    words = [word for block in blocks for word in random.permutation(block).tolist()]
    for rank, word in KNOWN.items():
        if word in words:
            words[words.index(word)] = words[rank]
        words[rank] = word
    return words
