"""The graph of lenses: which schemas lead to which, and over which lenses.

Schemas and lenses are known here by the keys of their URIs (`fields.key_of`), which are read from
three columns: a hundred thousand lenses as documents would take a second. Keys are not unique by
proof, so a chain of lenses is shown only when their documents say that each begins where the one
before ends.
"""

import json
from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest
from itertools import count, islice
from threading import Lock
from typing import NamedTuple, Self

from atdata_indexer.index.fields import key_of
from atdata_indexer.index.query import among, term
from atdata_indexer.index.snapshot import MAX_PAGE, Address, Snapshot

MOST_SCHEMAS = 2_000
"""So many schemas that reach one are searched, the nearest first."""

MOST_HOPS = 16
MOST_STEPS = 20_000
"""How many lenses a search for paths follows before it gives up."""

_KEPT_REACHES = 64
_KEPT_LENSES = 20_000
_KEPT_GRAPHS = 2

type Path = tuple[int, ...]
"""The keys of lenses, each of which begins where the one before ends."""


class Step(NamedTuple):
    """How a schema reaches another: the lenses it takes at least, and the first of them."""

    distance: int
    lens: int
    """The lens's key; of several the smallest."""
    beyond: int
    """The schema it leads to."""


class Lens(NamedTuple):
    """The URIs of a lens and of its schemas."""

    uri: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Reach:
    """The schemas that `target` can be reached from, the nearest first; `cut` when not all.

    The target reaches itself.
    """

    target: str
    steps: Mapping[int, Step]
    cut: bool

    @property
    def keys(self) -> Sequence[int]:
        """The keys of the schemas, the target's first."""
        return [key_of(self.target), *self.steps]

    def distance(self, schema: int) -> int | None:
        """How many lenses a schema is away, if it reaches the target."""
        path = self.path(schema)
        return None if path is None else len(path)

    def path(self, schema: int) -> Path | None:
        """A shortest path from a schema to the target, always the same one of several."""
        lenses: list[int] = []
        target = key_of(self.target)
        while schema != target:
            step = self.steps.get(schema)
            if step is None:
                return None
            lenses.append(step.lens)
            schema = step.beyond
        return tuple(lenses)


class Paths(NamedTuple):
    """Paths, each the views of its lenses; `cut` when the search gave up before it had all."""

    paths: Sequence[Sequence[str]]
    cut: bool


class LensGraph:
    """The lenses of one version of the graph. Any thread."""

    def __init__(self, lenses: Iterable[int], sources: Iterable[int], targets: Iterable[int]):
        self._keys, self._sources = array("q", lenses), array("q", sources)
        self._targets = array("q", targets)
        self._into = _places(self._targets)
        self._reaches: _Recent[str, Reach] = _Recent(_KEPT_REACHES)
        self._known: dict[int, Lens] = {}

    @classmethod
    def load(cls, snapshot: Snapshot) -> Self:
        """The graph of all lenses in a snapshot."""
        lenses = snapshot.records["lens"]
        addresses = snapshot.best(term("kind", "lens"), lenses) if lenses else []
        columns = ("key", "source_key", "target_key")
        return cls(*(snapshot.values(name, addresses) for name in columns))

    def into(self, schema: int) -> Iterator[tuple[int, int]]:
        """The lenses into a schema, each with the schema it is from."""
        keys, sources = self._keys, self._sources
        return ((keys[at], sources[at]) for at in self._into.get(schema, ()))

    def out_of(self, schema: int) -> Iterator[tuple[int, int]]:
        """The lenses out of a schema, each with the schema it leads to."""
        keys, targets = self._keys, self._targets
        return ((keys[at], targets[at]) for at in self._from.get(schema, ()))

    @cached_property
    def _from(self) -> Mapping[int, Sequence[int]]:
        return _places(self._sources)  # only paths need it

    def levels(self, target: int) -> Iterator[dict[int, Step]]:
        """The schemas that reach `target`, by the number of lenses they take at least."""
        seen = {target}
        nearest = [target]
        for distance in count(1):
            level: dict[int, Step] = {}
            for beyond in nearest:
                for lens, schema in self.into(beyond):
                    if schema not in seen and (schema not in level or lens < level[schema].lens):
                        level[schema] = Step(distance, lens, beyond)
            if not level:
                return
            yield level
            seen |= level.keys()
            nearest = list(level)

    def reach(self, target: str) -> Reach:
        """All schemas that lenses lead to `target` from."""
        return self._reaches.get(target, lambda: self._reach(target))

    def shortest(
        self, snapshot: Snapshot, reach: Reach, schemas: Iterable[str]
    ) -> dict[str, list[str]]:
        """The lenses on a shortest path to the target of `reach`, as AT-URIs, by schema.

        Schemas that do not reach it are left out.
        """
        paths = {uri: path for uri in schemas if (path := reach.path(key_of(uri))) is not None}
        lenses = self._found(snapshot, {key for path in paths.values() for key in path})
        return {
            uri: [lenses[key].uri for key in path]
            for uri, path in paths.items()
            if _fits(uri, reach.target, [lenses[key] for key in path])
        }

    def find(
        self, snapshot: Snapshot, source: str, target: str, max_hops: int, limit: int
    ) -> Paths:
        """Paths from one schema to another, the shortest first, none through a schema twice."""
        search = _PathSearch(self, key_of(source), key_of(target), max_hops)
        found = list(islice(search.paths(), limit))
        addresses = _addresses(snapshot, {key for path in found for key in path})
        views: dict[int, str] = {}
        paths: list[list[str]] = []
        size = 0
        for path in found:
            views |= {key: snapshot.view(addresses[key]) for key in path if key not in views}
            shown = [views[key] for key in path]
            size += sum(map(len, shown))
            if paths and size > MAX_PAGE:
                return Paths(paths, True)
            if _fits(source, target, [_lens(view) for view in shown]):
                paths.append(shown)
        return Paths(paths, search.cut)

    def _reach(self, target: str) -> Reach:
        steps: dict[int, Step] = {}
        levels = self.levels(key_of(target))
        for level in islice(levels, MOST_HOPS):
            nearest = nsmallest(MOST_SCHEMAS - len(steps), level)
            steps |= ((schema, level[schema]) for schema in nearest)
            if len(nearest) < len(level):
                return Reach(target, steps, True)
        return Reach(target, steps, next(levels, None) is not None)

    def _found(self, snapshot: Snapshot, keys: set[int]) -> Mapping[int, Lens]:
        known = {key: lens for key in keys if (lens := self._known.get(key)) is not None}
        addresses = _addresses(snapshot, keys - known.keys())
        found = {key: _lens(snapshot.view(address)) for key, address in addresses.items()}
        if len(self._known) + len(found) > _KEPT_LENSES:
            self._known.clear()
        self._known.update(found)
        return known | found


class LensGraphs:
    """The graphs of the newest snapshots, made anew when a lens came or went. Any thread."""

    def __init__(self) -> None:
        self._graphs: _Recent[Hashable, LensGraph] = _Recent(_KEPT_GRAPHS)

    def of(self, snapshot: Snapshot) -> LensGraph:
        """The graph of the lenses that a snapshot holds."""
        version = snapshot.generation, snapshot.sentinel.epoch, snapshot.sentinel.lenses
        return self._graphs.get(version, lambda: LensGraph.load(snapshot))


class _Recent[K: Hashable, V]:
    """What was made last, as much of it as is kept. Any thread; each is made once."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._made: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        with self._lock:
            if key not in self._made:
                made = make()
                while len(self._made) >= self._kept:
                    self._made.popitem(last=False)
                self._made[key] = made
            self._made.move_to_end(key)
            return self._made[key]


class _PathSearch:
    """One search for paths: by their length, each length from the beginning.

    A path is followed only where what is left of its length can still bring it to the target.
    """

    def __init__(self, graph: LensGraph, source: int, target: int, max_hops: int) -> None:
        self._graph = graph
        self._source = source
        self._target = target
        self._max_hops = max_hops
        self._left = {target: 0}
        self._ways: dict[int, Sequence[tuple[int, int]]] = {}
        self._steps = 0
        self.cut = False
        """Whether the search gave up, so that there may be more paths."""

    def paths(self) -> Iterator[Path]:
        """The paths, the shortest first, those of one length by the keys of their lenses."""
        if self._source == self._target:
            yield ()  # any other would come through this schema twice
            return
        levels = self._graph.levels(self._target)
        for length in range(1, self._max_hops + 1):
            if self._steps > MOST_STEPS or len(self._left) > MOST_STEPS:
                break
            self._left |= dict.fromkeys(next(levels, ()), length)
            self._ways.clear()
            if self._source in self._left:
                yield from self._of(length)
        else:
            self.cut = self._steps > MOST_STEPS
            return
        self.cut = True

    def _of(self, length: int) -> Iterator[Path]:
        schemas = [self._source]
        lenses: list[int] = []
        open_ways = [iter(self._ways_from(self._source))]
        while open_ways:
            way = next(open_ways[-1], None)
            if way is None:
                open_ways.pop()
                schemas.pop()
                if lenses:
                    lenses.pop()
                continue
            self._steps += 1
            if self._steps > MOST_STEPS:
                return
            lens, schema = way
            left = length - len(lenses) - 1
            if schema == self._target:
                if left == 0:
                    yield (*lenses, lens)
            elif self._left[schema] <= left and schema not in schemas:
                schemas.append(schema)
                lenses.append(lens)
                open_ways.append(iter(self._ways_from(schema)))

    def _ways_from(self, schema: int) -> Sequence[tuple[int, int]]:
        """The lenses out of a schema that lead towards the target, by their keys."""
        if schema not in self._ways:
            ways = self._graph.out_of(schema)
            self._ways[schema] = sorted(way for way in ways if way[1] in self._left)
        return self._ways[schema]


def _places(schemas: Iterable[int]) -> Mapping[int, Sequence[int]]:
    """Where in a column each schema stands."""
    places: defaultdict[int, list[int]] = defaultdict(list)
    for at, schema in enumerate(schemas):
        places[schema].append(at)
    return places


def _addresses(snapshot: Snapshot, keys: Iterable[int]) -> dict[int, Address]:
    """Where the lenses of these keys are in a snapshot."""
    wanted = sorted(keys)
    if not wanted:
        return {}
    # Twice as many, lest one that shares its key with another leaves no room for a third.
    addresses = snapshot.best(among("lens_key", wanted), 2 * len(wanted))
    return dict(zip(snapshot.values("key", addresses), addresses, strict=True))


def _lens(view: str) -> Lens:
    record = json.loads(view)
    return Lens(record["uri"], record["source"]["uri"], record["target"]["uri"])


def _fits(source: str, target: str, lenses: Iterable[Lens]) -> bool:
    """Whether lenses lead from one schema to another, by their URIs."""
    reached = source
    for lens in lenses:
        if lens.source != reached:
            return False
        reached = lens.target
    return reached == target
