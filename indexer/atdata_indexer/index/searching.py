"""One search over one snapshot: from what was asked to a page.

By date, name or size: complete walks (`order`), with every word. By relevance: the best hits first
(`ranking`); where few records have every word, those that have some of them are hits as well.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import tantivy

from atdata_indexer.index import bands
from atdata_indexer.index import cursor as paging
from atdata_indexer.index.cursor import Position
from atdata_indexer.index.facets import facets
from atdata_indexer.index.highlight import Highlighter
from atdata_indexer.index.lens_graph import LensGraphs
from atdata_indexer.index.links import resolve_schema
from atdata_indexer.index.order import ORDERS, Key, Order, Samples, Walk
from atdata_indexer.index.page import MOST, NOTHING, Page
from atdata_indexer.index.plan import Asked, plan, relaxed
from atdata_indexer.index.query import Search
from atdata_indexer.index.ranking import LEAD, MAX_DEPTH, lead, resume, step
from atdata_indexer.index.remembered import Remembered
from atdata_indexer.index.snapshot import Address, Snapshot
from atdata_indexer.index.spans import created_within
from atdata_schemas.versions import SchemaName

type Sort = Literal["relevance", "newest", "oldest", "name", "samples"]

ENOUGH = 20
"""With fewer records that have every word, those that have some are shown as well."""

_OPENINGS = 500
_PAGES = 200
_SMALL = 1 << 17
"""Pages of more characters are not remembered: what they would take is up to strangers."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the answer is to be given: its order, size and place, and what is told beside it."""

    sort: Sort | None = None
    limit: int = 25
    cursor: str | None = None
    facets: Sequence[str] = ()
    facet_size: int = 10
    highlight: bool = False


@dataclass(frozen=True, slots=True)
class _Opening:
    """What a walk by relevance begins with, and every page of it needs."""

    asked: Asked
    query: tantivy.Query
    total: int
    best: Sequence[Address]
    lead: Sequence[Address] | None


@dataclass(frozen=True, slots=True)
class _Hits:
    """The hits of a page; `position` is where the next one begins, if there is one."""

    asked: Asked
    total: int
    views: Sequence[str]
    position: Position | None
    approximate: bool = False


class Searching:
    """Answers searches, and remembers what makes the next one faster. Any thread."""

    def __init__(self, graphs: LensGraphs) -> None:
        self._graphs = graphs
        self._samples = Samples()
        self._openings: Remembered[tuple[str, str, bool | None], _Opening] = Remembered(_OPENINGS)
        self._pages: Remembered[tuple[str, str, str], Page] = Remembered(_PAGES)

    def page(self, snapshot: Snapshot, search: Search, wanted: Wanted) -> Page:
        """A page of `search`. Raises InvalidCursor for a cursor of another walk, ValidationError
        for a parameter that breaks its rule.
        """
        asked = search.identity
        name = snapshot.name, asked, repr(wanted)
        known = self._pages.get(name)
        if known is not None:
            return known
        page = self._page(snapshot, search, wanted, asked)
        return self._pages.put(name, page) if page.size <= _SMALL else page

    def _page(self, snapshot: Snapshot, search: Search, wanted: Wanted, name: str) -> Page:
        graph = None if search.viewable_as is None else self._graphs.of(snapshot)
        reach = graph.reach(search.viewable_as) if graph and search.viewable_as else None
        cuts = [reach.cut] if reach else []

        def resolve(reference: SchemaName) -> Sequence[int]:
            keys, cut = resolve_schema(snapshot, reference)
            cuts.append(cut)
            return keys

        asked = plan(snapshot, search, resolve, reach.keys if reach else None)
        if search.q.strip() and asked.says_nothing:
            return NOTHING
        sort = wanted.sort or "relevance"
        if sort == "relevance" and not asked.plan.scores:
            sort = "newest"
        identity = f"{sort}\0{name}"
        if sort == "relevance":
            hits = self._by_relevance(snapshot, asked, wanted, identity)
        else:
            hits = self._in_order(snapshot, asked, wanted, identity, sort)
        views = hits.views
        if reach or wanted.highlight:
            parsed = [json.loads(view) for view in views]
            members: list[dict[str, Any]] = [{} for _ in views]
            if graph and reach:
                schemas = [view["schema"]["uri"] for view in parsed]
                paths = graph.shortest(snapshot, reach, schemas)
                for one, schema in zip(members, schemas, strict=True):
                    if schema in paths:  # two schemas may share a key, though no honest two will
                        one["lensPath"] = paths[schema]
            if wanted.highlight:
                marker = Highlighter([*hits.asked.words, *hits.asked.phrases])
                for one, view in zip(members, parsed, strict=True):
                    one["highlights"] = list(_highlights(marker, view["record"]))
            views = [_extended(*pair) for pair in zip(views, members, strict=True)]
        return Page(
            views,
            min(hits.total, MOST),
            None if hits.position is None else paging.encode(hits.position, identity),
            is_bound=hits.total > MOST,
            facets=facets(snapshot, hits.asked.plan, wanted.facets, wanted.facet_size)
            if wanted.facets
            else None,
            did_you_mean=hits.asked.did_you_mean,
            cut=any(cuts),
            approximate=hits.approximate,
        )

    def _in_order(
        self, snapshot: Snapshot, asked: Asked, wanted: Wanted, identity: str, sort: Sort
    ) -> _Hits:
        order, made, limit = ORDERS[sort], asked.plan, wanted.limit
        hits: Sequence[tuple[Address, Key]]
        if wanted.cursor is None and asked.few and len(order.columns) == 1:
            column, descending = order.columns[0], order.descending
            total, found = snapshot.all_and_first(
                made.query(), limit + 1, column, descending=descending
            )
            hits = [(address, (value,)) for address, value in found]
        else:
            total, hits = self._walked(snapshot, asked, wanted, identity, order)
        views = snapshot.views(address for address, _ in hits[:limit])
        more = len(views) < len(hits)
        following = Position(list(hits[len(views) - 1][1]), total) if more else None
        if not total and asked.plan.words:
            asked = replace(asked, meant=relaxed(snapshot, asked, completing=False).meant)
        return _Hits(asked, total, views, following)

    def _walked(
        self, snapshot: Snapshot, asked: Asked, wanted: Wanted, identity: str, order: Order
    ) -> tuple[int, Sequence[tuple[Address, Key]]]:
        """How many records match, and a page of them with one more."""
        made, after = asked.plan, None
        if wanted.cursor is None:
            total = self._total(snapshot, asked)
        else:
            position = paging.decode(wanted.cursor, identity, len(order.columns))
            after, total = tuple(position.key), position.total
        by_date = order.columns[0] == "created"
        query = made.query(without="created") if by_date else made.query()
        bounds = made.created if by_date else (None, None)
        dense = total
        if bounds != (None, None):  # as many as there would be if all times were like these
            near = self._samples.between(snapshot, made.kind, "created", *bounds)
            dense = total * snapshot.records[made.kind] // max(near, total, 1)
        walk = Walk(snapshot, self._samples, query, made.kind, order, dense, bounds)
        return total, walk.page(after, wanted.limit + 1)

    def _total(self, snapshot: Snapshot, asked: Asked) -> int:
        """How many records match; more than MOST may be an estimate."""
        made = asked.plan
        known = _frequency(snapshot, asked)
        if known is None and made.is_span:
            near = self._samples.between(snapshot, made.kind, "created", *made.created)
            sample = self._samples.of(snapshot, made.kind, "created")
            sure = near - snapshot.deleted > 2 * MOST
            return near if sure else created_within(snapshot, made.created, sample, MOST)
        return snapshot.count(made.query()) if known is None else known

    def _by_relevance(
        self, snapshot: Snapshot, asked: Asked, wanted: Wanted, identity: str
    ) -> _Hits:
        after = None if wanted.cursor is None else paging.decode(wanted.cursor, identity, 1)
        opening = self._opening(snapshot, asked, identity, None if after is None else after.relaxed)
        query, first = opening.query, opening.lead
        rank = offset = 0
        moved = False
        if after is not None:
            rank, offset = after.rank, after.offset
            moved = after.snapshot != snapshot.name
            if moved:
                rank, offset = resume(snapshot, query, first, after, wanted.limit)
        taken = step(snapshot, query, opening.best, first, wanted.limit, rank, offset)
        views = snapshot.views(taken.hits)
        if len(views) < len(taken.hits):
            taken = step(snapshot, query, opening.best, first, len(views), rank, offset)
        rank += len(views)
        position = None
        if views and rank < min(opening.total, MAX_DEPTH):
            key = snapshot.values("created", taken.hits[-1:])
            loose = opening.asked.plan.relaxed
            position = Position(key, opening.total, rank, taken.offset, loose, snapshot.name)
        return _Hits(opening.asked, opening.total, views, position, approximate=moved)

    def _opening(
        self, snapshot: Snapshot, asked: Asked, identity: str, loose: bool | None
    ) -> _Opening:
        """The beginning of a walk; `loose` is whether words may be missing, if that is settled."""
        name = snapshot.name, identity, loose
        known = self._openings.get(name)
        if known is not None:
            return known
        query = asked.plan.query()
        some = bands.best(snapshot, asked, query, LEAD)
        if some is not None:
            part, front = some
            places = [address for _, address in front]
            ahead = lead(snapshot, part, front) or places
            return self._openings.put(name, _Opening(asked, query, MOST + 1, places, ahead))
        total, best = _best(snapshot, asked, query)
        if asked.plan.words and (total < ENOUGH if loose is None else loose):
            completing = not asked.question.typed[-1:].isspace()
            asked = relaxed(snapshot, asked, completing=completing)
            query = asked.plan.query()
            total, best = _best(snapshot, asked, query)
        # What has every word comes first, whoever wrote it, where few have.
        as_scored = asked.plan.relaxed or "author" in asked.plan.filtered
        first = None if as_scored else lead(snapshot, query, best)
        opening = _Opening(asked, query, total, [address for _, address in best], first)
        return self._openings.put(name, opening)


def _best(
    snapshot: Snapshot, asked: Asked, query: tantivy.Query
) -> tuple[int, list[tuple[float, Address]]]:
    """How many records match, and the first of them by their scores."""
    known = _frequency(snapshot, asked)
    if known is None:
        return snapshot.counted(query, LEAD)
    return known, snapshot.scored(query, LEAD)


def _frequency(snapshot: Snapshot, asked: Asked) -> int | None:
    """How many records match, where that is known without counting."""
    if asked.sole is None:
        return None
    field, terms = asked.sole
    held = sum(snapshot.frequency(field, term) for term in terms)
    if not snapshot.deleted:
        return held
    return held - snapshot.deleted if held - snapshot.deleted > MOST else None


def _extended(view: str, members: Mapping[str, Any]) -> str:
    """A view, which is JSON text of an object, with more members."""
    return f"{view[:-1]}, {json.dumps(members)[1:]}"


def _highlights(marker: Highlighter, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for one in marker.highlight(record.get("name", ""), record.get("description", "")):
        slices = [{"byteStart": s.byte_start, "byteEnd": s.byte_end} for s in one.slices]
        yield {"field": one.field, "text": one.text, "slices": slices}
