"""Lenses lead from schema to schema: what reaches a schema, and over which lenses."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata_indexer.changes import Row
from atdata_indexer.index import fields, lens_graph
from atdata_indexer.index.fields import key_of, open_index
from atdata_indexer.index.lens_graph import MOST_HOPS, MOST_SCHEMAS, LensGraph, LensGraphs, Paths
from atdata_indexer.index.snapshot import Snapshot
from atdata_indexer.index.writer import current
from tests.small_index import ALICE, BOB, SCHEMA, SmallIndex, dataset, lens, schema

type Edge = tuple[int, int]
"""A lens from one schema to another, by their numbers."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    yield small
    small.close()


@pytest.fixture(scope="module")
def shared_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallIndex]:
    """One index that every example adds a graph of its own to."""
    small = SmallIndex(tmp_path_factory.mktemp("lenses"))
    yield small
    small.close()


def uri_of(number: int) -> str:
    """A schema that no record stands for: lenses may name what is missing."""
    return f"at://{ALICE}/{SCHEMA}/3k{number:011d}"


def put(index: SmallIndex, *edges: Edge, first: int = 0, did: str = BOB) -> list[str]:
    """Lenses in this order; gives their URIs."""
    rows = [
        lens(uri_of(source), uri_of(target), did, f"3l{number:011d}")
        for number, (source, target) in enumerate(edges, first)
    ]
    index.put(rows)
    return [row.uri for row in rows]


def deleted(number: int) -> Row:
    """What takes the lens of this number away."""
    live = lens("", "", rkey=f"3l{number:011d}", rev="3mzzzzzzzzzz2")
    return replace(live, state="deleted", cid=None, body=None)


def snapshot_of(index: SmallIndex) -> Snapshot:
    folder = index.folder / "index"
    generation = current(folder)
    assert generation is not None
    return Snapshot.of(open_index(str(folder / generation)), generation)


def uris(found: Paths) -> list[list[str]]:
    return [[json.loads(view)["uri"] for view in path] for path in found.paths]


def find(
    index: SmallIndex, source: int, target: int, max_hops: int = 8, limit: int = 50
) -> list[list[str]]:
    snapshot = snapshot_of(index)
    found = LensGraph.load(snapshot).find(snapshot, uri_of(source), uri_of(target), max_hops, limit)
    assert not found.cut
    return uris(found)


def shortest(index: SmallIndex, target: int, *sources: int) -> dict[str, list[str]]:
    snapshot = snapshot_of(index)
    graph = LensGraph.load(snapshot)
    return graph.shortest(snapshot, graph.reach(uri_of(target)), map(uri_of, sources))


def simple_paths(lenses: Mapping[str, Edge], source: int, target: int) -> list[list[str]]:
    """Every path that comes through no schema twice, found without any cleverness."""
    found: list[list[str]] = []

    def walk(schema: int, seen: Sequence[int], path: list[str]) -> None:
        if schema == target:
            found.append(path)
            return
        for uri, (one, other) in lenses.items():
            if one == schema and other not in seen:
                walk(other, [*seen, other], [*path, uri])

    walk(source, [source], [])
    return sorted(found, key=lambda path: (len(path), [key_of(uri) for uri in path]))


def test_an_empty_graph_has_only_the_way_that_is_none(index: SmallIndex) -> None:
    index.put([schema()])
    assert find(index, 1, 2) == []
    assert find(index, 1, 1) == [[]]
    assert shortest(index, 1, 1, 2) == {uri_of(1): []}


def test_a_chain_of_five_reaches_its_end_from_every_link(index: SmallIndex) -> None:
    chain = put(index, *((at, at + 1) for at in range(5)))
    assert shortest(index, 5, *range(7)) == {uri_of(at): chain[at:] for at in range(6)}
    graph = LensGraph.load(snapshot_of(index))
    reach = graph.reach(uri_of(5))
    assert list(reach.keys) == [key_of(uri_of(at)) for at in (5, 4, 3, 2, 1, 0)]
    assert [reach.distance(key) for key in reach.keys] == [0, 1, 2, 3, 4, 5]
    assert reach.distance(key_of(uri_of(6))) is None
    assert not reach.cut
    assert find(index, 0, 5) == [chain]
    assert find(index, 0, 5, max_hops=4) == []
    assert find(index, 5, 0) == []


def test_cycles_and_lenses_from_a_schema_to_itself_do_no_harm(index: SmallIndex) -> None:
    loop, out, back, on, home, extra = put(index, (1, 1), (1, 2), (2, 1), (2, 3), (3, 1), (3, 3))
    assert find(index, 1, 3) == [[out, on]]
    assert find(index, 3, 2) == [[home, out]]
    assert find(index, 1, 1) == [[]]
    assert shortest(index, 1, 1, 2, 3) == {
        uri_of(1): [],
        uri_of(2): [back],
        uri_of(3): [home],
    }
    assert loop != extra


def test_of_two_shortest_paths_it_is_always_the_one_of_the_smallest_key(
    index: SmallIndex,
) -> None:
    up, upper, down, lower, again = put(index, (1, 2), (2, 4), (1, 3), (3, 4), (1, 2))
    both = sorted([[up, upper], [again, upper], [down, lower]], key=lambda p: key_of(p[0]))
    assert find(index, 1, 4) == both
    assert find(index, 1, 4, limit=2) == both[:2]
    assert shortest(index, 4, 1) == {uri_of(1): both[0]}
    index.writer.rebuild()
    assert find(index, 1, 4) == both


def test_a_deleted_lens_leads_nowhere_and_a_new_one_at_once(index: SmallIndex) -> None:
    graphs = LensGraphs()
    first, second = put(index, (1, 2), (2, 3))

    def reached() -> list[str] | None:
        snapshot = snapshot_of(index)
        graph = graphs.of(snapshot)
        return graph.shortest(snapshot, graph.reach(uri_of(3)), [uri_of(1)]).get(uri_of(1))

    assert reached() == [first, second]
    index.put([deleted(0)])
    assert reached() is None
    (third,) = put(index, (1, 3), first=2)
    assert reached() == [third]


def test_an_updated_lens_leads_elsewhere(index: SmallIndex) -> None:
    put(index, (1, 2))
    changed = lens(uri_of(1), uri_of(3), rkey="3l00000000000", rev="3mzzzzzzzzzz2")
    index.put([changed])
    assert find(index, 1, 2) == []
    assert find(index, 1, 3) == [[changed.uri]]


def test_lenses_of_a_hidden_account_are_gone_until_it_is_back(index: SmallIndex) -> None:
    graphs = LensGraphs()
    put(index, (1, 2))
    (own,) = put(index, (2, 3), first=1, did=ALICE)

    def reaching() -> int:
        return len(graphs.of(snapshot_of(index)).reach(uri_of(3)).keys)

    assert reaching() == 3
    index.account(BOB, active=False, status="deactivated")
    assert reaching() == 2
    index.account(BOB, active=True)
    assert reaching() == 3
    assert find(index, 2, 3) == [[own]]


def test_the_graph_is_made_anew_only_when_a_lens_came_or_went(index: SmallIndex) -> None:
    graphs = LensGraphs()
    put(index, (1, 2))
    before = graphs.of(snapshot_of(index))
    index.put([schema(), dataset(schema().uri)])
    later = snapshot_of(index)
    assert graphs.of(later) is before
    put(index, (2, 3), first=1)
    newest = snapshot_of(index)
    assert graphs.of(newest) is not before
    # Who still asks the older snapshot is answered from its own graph.
    assert graphs.of(later) is before
    index.writer.rebuild()
    assert graphs.of(snapshot_of(index)) is not graphs.of(newest)


def test_many_threads_share_one_graph_and_one_reach(index: SmallIndex) -> None:
    put(index, (1, 2), (2, 3))
    graphs, snapshot = LensGraphs(), snapshot_of(index)
    barrier = Barrier(8)

    def ask(_: int) -> object:
        barrier.wait()
        graph = graphs.of(snapshot)
        return id(graph), id(graph.reach(uri_of(3)))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_reaches_that_were_not_asked_for_lately_are_forgotten(index: SmallIndex) -> None:
    put(index, (1, 2))
    graph = LensGraph.load(snapshot_of(index))
    first = graph.reach(uri_of(2))
    for number in range(3, 40):
        graph.reach(uri_of(number))
    assert graph.reach(uri_of(2)) is first
    for number in range(100, 200):
        graph.reach(uri_of(number))
    again = graph.reach(uri_of(2))
    assert again is not first
    assert again == first


def test_of_too_many_schemas_the_nearest_are_kept_and_the_cut_is_told(index: SmallIndex) -> None:
    hub, near = 1, range(10, 11 + MOST_SCHEMAS // 2)
    far = range(5_000, 5_000 + MOST_SCHEMAS // 2)
    put(index, *((at, hub) for at in near), *((at, near[0]) for at in far))
    reach = LensGraph.load(snapshot_of(index)).reach(uri_of(hub))
    assert reach.cut
    assert len(reach.keys) == MOST_SCHEMAS + 1
    assert {key_of(uri_of(at)) for at in near} <= set(reach.keys)
    left_out = {key_of(uri_of(at)) for at in far} - set(reach.keys)
    assert left_out == {max(key_of(uri_of(at)) for at in far)}
    index.put([deleted(len(near))])
    reach = LensGraph.load(snapshot_of(index)).reach(uri_of(hub))
    assert len(reach.keys) == MOST_SCHEMAS + 1
    assert not reach.cut


def test_a_hub_between_many_schemas_gives_as_many_paths_as_asked_for(index: SmallIndex) -> None:
    put(index, *((at, 1) for at in range(10, 60)), *((1, at) for at in range(60, 110)))
    assert [len(path) for path in find(index, 10, 60)] == [2]
    assert find(index, 60, 10) == []
    put(index, *((10, 1) for _ in range(20)), first=100)
    assert len(find(index, 10, 60, limit=10)) == 10
    assert len(find(index, 10, 60)) == 21


def test_chains_beyond_the_most_hops_are_cut(index: SmallIndex) -> None:
    put(index, *((at, at + 1) for at in range(MOST_HOPS + 1)))
    graph = LensGraph.load(snapshot_of(index))
    reach = graph.reach(uri_of(MOST_HOPS + 1))
    assert len(reach.keys) == MOST_HOPS + 1
    assert reach.cut
    assert not graph.reach(uri_of(MOST_HOPS)).cut


def test_a_search_that_finds_only_dead_ends_gives_up_and_says_so(index: SmallIndex) -> None:
    source, target, crowd = 1, 2, range(10, 20)
    edges = [(source, at) for at in crowd] + [(at, source) for at in crowd]
    edges += [(one, other) for one in crowd for other in crowd if one != other]
    (direct, *_) = put(index, (source, target), *edges)
    snapshot = snapshot_of(index)
    found = LensGraph.load(snapshot).find(snapshot, uri_of(source), uri_of(target), 8, 10)
    assert found.cut
    assert uris(found) == [[direct]]
    found = LensGraph.load(snapshot).find(snapshot, uri_of(source), uri_of(target), 4, 10)
    assert not found.cut
    assert uris(found) == [[direct]]


def test_paths_that_no_answer_holds_are_cut(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(index, (1, 2), (1, 2), (1, 2))
    snapshot = snapshot_of(index)
    graph = LensGraph.load(snapshot)
    (size,) = {len(path[0]) for path in graph.find(snapshot, uri_of(1), uri_of(2), 4, 9).paths}
    for most, shown in ((1, 1), (2 * size, 2), (3 * size, 3)):
        monkeypatch.setattr(lens_graph, "MAX_PAGE", most)
        found = graph.find(snapshot, uri_of(1), uri_of(2), 4, 9)
        assert (len(found.paths), found.cut) == (shown, shown < 3)


def test_schemas_whose_keys_are_equal_are_told_apart_by_their_uris(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    collided: list[str] = []

    def weak(text: str) -> int:
        if text in (uri_of(1), uri_of(2)):
            collided.append(text)
            return 7
        return key_of(text)

    monkeypatch.setattr(fields, "key_of", weak)
    monkeypatch.setattr(lens_graph, "key_of", weak)
    first, last, other = put(index, (1, 3), (3, 4), (5, 2))
    assert shortest(index, 4, 1, 2, 3, 5) == {uri_of(1): [first, last], uri_of(3): [last]}
    assert find(index, 1, 4) == [[first, last]]
    assert find(index, 2, 4) == []
    assert find(index, 5, 4) == []
    assert find(index, 5, 2) == [[other]]
    assert {uri_of(1), uri_of(2)} <= set(collided)


EDGES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=14)
GRAPHS = count(1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EDGES, st.integers(1, 8), st.integers(1, 60))
def test_paths_are_those_that_a_naive_search_finds(
    shared_index: SmallIndex, edges: list[Edge], max_hops: int, limit: int
) -> None:
    base = next(GRAPHS) * 1_000
    own = [(base + source, base + target) for source, target in edges]
    lenses = dict(zip(put(shared_index, *own, first=base), own, strict=True))
    snapshot = snapshot_of(shared_index)
    graph = LensGraph.load(snapshot)
    for target in range(base, base + 6):
        reach = graph.reach(uri_of(target))
        found = graph.shortest(snapshot, reach, map(uri_of, range(base, base + 6)))
        for source in range(base, base + 6):
            expected = simple_paths(lenses, source, target)
            assert found.get(uri_of(source)) == (expected[0] if expected else None)
            paths = graph.find(snapshot, uri_of(source), uri_of(target), max_hops, limit)
            assert uris(paths) == [path for path in expected if len(path) <= max_hops][:limit]
            assert not paths.cut
        assert set(found) == {u for at in range(6) if key_of(u := uri_of(base + at)) in reach.keys}
