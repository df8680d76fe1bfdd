"""The best hits of words that each are in very many datasets, and of nothing else.

To score all that have them takes as long as they are many, and tells little: the words say little.
A document carries the number of its band. The documents of a band were written one after the other,
so they lie side by side, and to look at a few of the bands costs as much less. As many are looked
at as hold more hits than are counted. Hits that have the words side by side in their names or tags
are looked for everywhere: they are rare, and the best of all.
"""

from collections.abc import Sequence
from math import prod

import tantivy

from atdata_indexer.index.page import MOST
from atdata_indexer.index.plan import Asked
from atdata_indexer.index.query import among, any_of, every
from atdata_indexer.index.snapshot import Address, Snapshot

BAND = 1 << 16
"""How many documents a band has when they are written; some of them may be deleted since."""

MANY = 100_000
"""A word in fewer datasets than these is no common one."""


def best(
    snapshot: Snapshot, asked: Asked, query: tantivy.Query, limit: int
) -> tuple[tantivy.Query, list[tuple[float, Address]]] | None:
    """The best hits in some bands, with the query they are of; more than MOST match it.

    None where `query`, which is that of `asked`, asks for more than words, for any that is not
    common, or where to look at some bands takes nearly as long as at all.
    """
    plan = asked.plan
    parts = plan.filters or plan.phrases or plan.excluded or plan.relaxed
    if plan.kind != "dataset" or parts or len(plan.words) < 2:
        return None
    forms = [_single(word.alternatives) for word in asked.words]
    held = {stem: snapshot.frequency("text", stem) for stems in forms for stem in stems}
    most = [max((held[stem] for stem in stems), default=0) for stems in forms]
    if min(most) < MANY:
        return None
    share = prod(one / snapshot.records["dataset"] for one in most)
    part = _some(snapshot, 2 * MOST / share)
    if part is None:
        return None
    count, found = snapshot.counted(every(part, query), limit)
    if count <= MOST:
        return None
    joined = [stem for stem, number in held.items() if 0 < number < MANY]
    if joined:
        side_by_side = among("text", joined)
        found += snapshot.scored(every(side_by_side, query), limit)
        part = any_of(part, side_by_side)
    hits = {(address.segment_ord, address.doc): (score, address) for score, address in found}
    return every(part, query), sorted(hits.values(), key=lambda hit: -hit[0])[:limit]


def _single(alternatives: Sequence[Sequence[str]]) -> Sequence[str]:
    """The forms of a word that are one stem: itself, and joined to its neighbours."""
    return [one[0] for one in alternatives if len(one) == 1]


def _some(snapshot: Snapshot, wanted: float) -> tantivy.Query | None:
    """So many documents, of those that were written last; None if that is most of them."""
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
    return among("band", bands)
