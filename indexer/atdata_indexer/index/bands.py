"""The best hits of words, or phrases of words, that each are in very many datasets.

To score all that have them takes as long as they are many, and tells little: the words say little.
A document carries the number of its band. The documents of a band were written one after the other,
so they lie side by side, and to look at a few of the bands costs as much less. As many are looked
at as hold more hits than are counted. Hits that have the words side by side in their names or tags
are looked for everywhere: they are rare, and the best of all.
"""

from collections.abc import Sequence
from itertools import chain
from math import prod

import tantivy

from atdata_indexer.index.analysis import Word
from atdata_indexer.index.page import MOST
from atdata_indexer.index.plan import Asked, clause
from atdata_indexer.index.query import among, any_of, every
from atdata_indexer.index.snapshot import Address, Snapshot

BAND = 1 << 16
"""How many documents a band has when they are written; some of them may be deleted since."""

MANY = 100_000
"""A word in fewer datasets than these is no common one."""

_PROBED = 1 / 32
"""In this part of the datasets it is counted how many have a phrase, which no word tells."""


def best(
    snapshot: Snapshot, asked: Asked, query: tantivy.Query, limit: int
) -> tuple[tantivy.Query, list[tuple[float, Address]]] | None:
    """The best hits in some bands, with the query they are of; more than MOST match it.

    None where `query`, which is that of `asked`, asks for more than words, for any that is not
    common, or where to look at some bands takes nearly as long as at all.
    """
    plan = asked.plan
    if plan.kind != "dataset" or plan.filters or plan.excluded or plan.relaxed:
        return None
    needed = [_single(word.alternatives) for word in asked.words]
    needed += [[stem] for one in asked.phrases for stem in one.alternatives[0]]
    if len(needed) < 2:
        return None
    further = [_further(one.alternatives) for one in asked.phrases]
    if not all(further):
        return None
    held = {stem: snapshot.frequency("text", stem) for ones in needed + further for stem in ones}
    most = [max((held[stem] for stem in stems), default=0) for stems in needed]
    if min(most) < MANY:
        return None
    share = prod(one / snapshot.records["dataset"] for one in most)
    if plan.phrases:
        share = _share(snapshot, query)
    if not share:
        return None
    some = _some(snapshot, 2 * MOST / share)
    if some is None:
        return None
    part, _ = some
    count, found = snapshot.counted(every(part, query), limit)
    if count <= MOST:
        return None
    joined = [stem for stem, number in held.items() if 0 < number < MANY]
    if joined:
        part = any_of(part, among("text", joined))
        beside = (snapshot.scored(_side_by_side(snapshot, asked, stem), limit) for stem in joined)
        found = [*chain.from_iterable(beside), *found]
    hits = {(address.segment_ord, address.doc): (score, address) for score, address in found}
    return every(part, query), sorted(hits.values(), key=lambda hit: -hit[0])[:limit]


def _single(alternatives: Sequence[Sequence[str]]) -> Sequence[str]:
    """The forms of a word that are one stem: itself, and joined to its neighbours."""
    return [one[0] for one in alternatives if len(one) == 1]


def _further(alternatives: Sequence[Sequence[str]]) -> Sequence[str]:
    """The stems that only other forms of a phrase have: two of its words joined."""
    itself, *others = alternatives
    return [stem for form in others for stem in form if stem not in itself]


def _side_by_side(snapshot: Snapshot, asked: Asked, joined: str) -> tantivy.Query:
    """Hits that have two words joined.

    Of a word or phrase with that in one of its forms only one form is asked for: of several, all
    hits near those with the joined words would be gone through.
    """
    clauses = [among("text", [joined])]
    for word in (*asked.words, *asked.phrases):
        forms = word.alternatives
        if (joined,) in forms:
            forms = ((joined,),)
        elif any(joined in form for form in forms):
            forms = forms[:1]
        clauses.append(clause(snapshot, "text", Word(forms)))
    return every(*clauses)


def _share(snapshot: Snapshot, query: tantivy.Query) -> float:
    """How many of the newest documents match, as a part of one."""
    some = _some(snapshot, snapshot.searcher.num_docs * _PROBED)
    if some is None:
        return 0.0
    part, held = some
    return snapshot.count(every(part, query)) / held


def _some(snapshot: Snapshot, wanted: float) -> tuple[tantivy.Query, int] | None:
    """So many documents and how many those are, of those that were written last; None if that is
    most of them.
    """
    documents = snapshot.searcher.num_docs
    if wanted > documents / 2:
        return None
    bands: list[int] = []
    held = 0
    for band in range(max(snapshot.sentinel.written, documents) // BAND, -1, -1):
        if held >= wanted:
            break
        bands.append(band)
        held += snapshot.frequency("band", band)
    return among("band", bands), held
