"""Walks by relevance: the best hits first, but not all of one author.

The first LEAD places are the best hits with at most MOST of each author, as long as others match;
what that leaves out follows in the order of the scores. A walk goes down to MAX_DEPTH, and is
exact while the index stands still: on another state of it all scores are a little different.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import tantivy

from atdata_indexer.index.cursor import Position
from atdata_indexer.index.query import but, value
from atdata_indexer.index.snapshot import Address, Snapshot

MAX_DEPTH = 10_000
"""How deep a walk by relevance goes."""

LEAD = 100
MOST = 5
ENOUGH = 50
"""Others are looked for when the first hits fill no more places than this."""

_ROUNDS = 10

type Place = tuple[int, int]
"""An address in a form that can be compared."""


@dataclass(frozen=True, slots=True)
class Step:
    """One page of a walk: `offset` is how many of the engine's hits are used up after it."""

    hits: Sequence[Address]
    offset: int


def step(
    snapshot: Snapshot,
    query: tantivy.Query,
    best: Sequence[Address],
    first: Sequence[Address] | None,
    limit: int,
    rank: int = 0,
    offset: int = 0,
) -> Step:
    """The hits from place `rank` on, when `offset` of the engine's hits are used up already.

    `best` are the first LEAD by their scores, `first` is the lead of the walk, None where all goes
    by the scores.
    """
    limit = min(limit, MAX_DEPTH - rank)
    if limit <= 0 or offset > MAX_DEPTH + LEAD:
        return Step((), offset)  # a forged cursor may name any place
    if first is None:
        hits = list(best[rank : rank + limit])
        if len(hits) < limit and len(best) >= LEAD:
            hits += snapshot.best(query, limit - len(hits), rank + len(hits))
        return Step(hits, rank + len(hits))
    hits = list(first[rank : rank + limit])
    shown = {place(address) for address in first}
    while len(hits) < limit:
        wanted = limit - len(hits)
        found = snapshot.best(query, wanted, offset)
        offset += len(found)
        hits += [address for address in found if place(address) not in shown]
        if len(found) < wanted:
            break
    return Step(hits, offset)


def resume(
    snapshot: Snapshot,
    query: tantivy.Query,
    first: Sequence[Address] | None,
    after: Position,
    limit: int,
) -> tuple[int, int]:
    """The rank and offset a walk goes on with when the index has moved: behind the last hit shown.

    Behind that very record if it is near where it was; if it is gone, its successor has moved up to
    its place. Its score would not help: every commit shifts all scores a little.
    """
    if first is not None and after.rank <= len(first):
        return _behind(snapshot, first, after.key[0], after.rank), 0
    # Without a lead a rank is a place among the engine's hits.
    at = after.rank if first is None else after.offset
    depth = min(at + 4 * limit, MAX_DEPTH)
    best = snapshot.best(query, depth) if depth else []
    offset = _behind(snapshot, best, after.key[0], at)
    if first is None:
        return offset, offset
    shown = {place(address) for address in first}
    return len(first) + sum(place(one) not in shown for one in best[:offset]), offset


def _behind(snapshot: Snapshot, hits: Sequence[Address], key: int, otherwise: int) -> int:
    keys = snapshot.values("created", hits)
    return keys.index(key) + 1 if key in keys else max(0, otherwise - 1)


def place(address: Address) -> Place:
    """Where a document is, in a form that can be compared."""
    return address.segment_ord, address.doc


def lead(
    snapshot: Snapshot, query: tantivy.Query, best: list[tuple[float, Address]]
) -> Sequence[Address] | None:
    """The first places of a walk, where they are others than the `best` LEAD hits."""
    kept: list[tuple[float, Address]] = []
    full: list[int] = []
    rest = best
    for _ in range(_ROUNDS):
        authors = snapshot.values("author", [address for _, address in rest])
        crowding = {author for author, hits in Counter(authors).items() if hits > MOST}
        if not crowding:
            break
        asked = len(rest)
        taken: Counter[int] = Counter()
        others = []
        for author, hit in zip(authors, rest, strict=True):
            taken[author] += 1
            if author not in crowding:
                others.append(hit)
            elif taken[author] <= MOST:
                kept.append(hit)
        full += crowding
        rest = others
        if len(kept) + len(rest) >= ENOUGH or asked < LEAD:
            break  # the front is varied as it is, and to ask for others takes as long again
        rest = snapshot.scored(but(query, *(value("author", one) for one in full)), LEAD)
    hits = sorted(kept + rest, key=lambda hit: -hit[0])[:LEAD]
    by_score = [place(address) for _, address in best[: len(hits)]]
    found = [address for _, address in hits]
    return None if [place(address) for address in found] == by_score else found
