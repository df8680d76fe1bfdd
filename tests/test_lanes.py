"""What waits between reading and writing: its order, what holds it back, its bounds, the cursor."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from atdata_indexer.frames import Account, Event, Identity, Sync
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.ingest import Ingest, Work
from atdata_indexer.lanes import Lanes
from tests.signed import Author, decoded, tid

A, B, C = (f"did:plc:{name * 24}" for name in "abc")
SOURCE = "wss://relay.example"


def event(seq: int, did: str, source: str = SOURCE) -> Sync:
    return Sync(seq, did, tid(seq), source)


def put(lanes: Lanes, *events: Event, size: int = 10) -> None:
    for one in events:
        lanes.put(one, size)


def seqs(lanes: Lanes) -> list[int]:
    """All that can be taken now."""
    return [event.seq for event in lanes.take(100)]


def test_the_example_of_its_docstring() -> None:
    lanes = Lanes(1000)
    put(lanes, event(1, A))
    lanes.hold(A)
    put(lanes, event(2, B), event(3, A))
    assert seqs(lanes) == [2]
    lanes.release(A)
    put(lanes, event(4, B))
    assert seqs(lanes) == [1, 3, 4]


def test_a_held_repo_goes_on_in_order_and_ahead_of_what_came_after() -> None:
    lanes = Lanes(1000)
    put(lanes, event(1, A))
    assert lanes.hold(A)
    assert not lanes.hold(A), "held already"
    put(lanes, *(event(seq, did) for seq, did in ((2, B), (3, A), (4, B), (5, A))))
    assert seqs(lanes) == [2, 4]
    put(lanes, event(6, B))
    lanes.release(A)
    put(lanes, event(7, A))
    assert seqs(lanes) == [1, 3, 5, 6, 7]
    assert not lanes.holding


def test_what_was_taken_can_be_put_back_first() -> None:
    lanes = Lanes(1000)
    put(lanes, event(1, A), event(2, B), event(3, A))
    first = lanes.take(1)
    lanes.hold(A)
    lanes.put_back(A, first)
    assert seqs(lanes) == [2]
    lanes.release(A)
    assert seqs(lanes) == [1, 3]


def test_the_state_of_an_account_waits_for_nothing() -> None:
    lanes = Lanes(1000)
    lanes.hold(A)
    put(lanes, Identity(1, A), Account(2, A, False, "takendown"))
    assert seqs(lanes) == [2]


def test_the_oldest_that_waits_is_known_of_each_source_wherever_it_waits() -> None:
    lanes = Lanes(1000)
    assert lanes.oldest() == {}
    lanes.hold(A)
    put(lanes, event(7, B, "two"), event(5, A), event(6, B), event(9, A, "two"))
    assert lanes.oldest() == {SOURCE: 5, "two": 7}
    lanes.take(10)
    assert lanes.oldest() == {SOURCE: 5, "two": 9}
    put(lanes, event(8, B))
    lanes.release(A)
    assert lanes.oldest() == {SOURCE: 5, "two": 9}, "released, it stands before what came earlier"
    lanes.take(10)
    assert lanes.oldest() == {}


def test_a_held_repo_that_takes_more_than_its_share_is_lost_and_says_so() -> None:
    """It must be fetched; nobody else loses anything."""
    lanes = Lanes(100)
    lanes.hold(A)
    lanes.hold(B)
    put(lanes, event(1, B))
    put(lanes, *(event(seq, A) for seq in range(2, 12)))
    assert lanes.lost == {A}
    put(lanes, event(12, A), event(13, B))
    assert lanes.oldest() == {SOURCE: 1}
    lanes.release(A)
    lanes.release(B)
    assert seqs(lanes) == [1, 13]
    assert lanes.lost == {A}, "until it was noted that it must be fetched"
    lanes.made_up_for(A)
    assert lanes.lost == set()


def test_dropping_forgets_what_waits_and_goes_on_holding() -> None:
    lanes = Lanes(1000)
    lanes.hold(A)
    put(lanes, event(1, A))
    lanes.drop(A)
    put(lanes, event(2, A))
    assert seqs(lanes) == []
    lanes.release(A)
    assert seqs(lanes) == [2]


def test_it_says_of_whom_something_waits() -> None:
    lanes = Lanes(1000)
    lanes.hold(A)
    put(lanes, event(1, B))
    assert [lanes.waits(did) for did in (A, B, C)] == [True, True, False]


def test_the_cursor_stays_below_what_waits_and_what_is_undecided(tmp_path: Path) -> None:
    author = Author("alice")
    store = Store(tmp_path / "db")
    writer = IndexWriter(tmp_path / "index", store)
    ingest = Ingest(store, writer)
    try:
        ingest.apply(Work(read={SOURCE: 50}, waiting={SOURCE: 8}))
        assert store.cursor(SOURCE) == 7
        doubted = replace(decoded(author.create(1)), seq=40, source=SOURCE)
        outcome = ingest.apply(Work([doubted], {SOURCE: 50}, {SOURCE: 60}))
        assert outcome.doubted == [doubted]
        assert store.cursor(SOURCE) == 39
        ingest.apply(Work(read={SOURCE: 50}))
        assert store.cursor(SOURCE) == 50
    finally:
        writer.close()
        store.close()


STEPS = ["put", "put", "put", "hold", "release", "take"]
steps = st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from([A, B, C])), max_size=60)


@given(steps, st.integers(20, 10_000))
def test_whatever_happens_bytes_are_counted_right_and_each_repo_keeps_its_order(
    steps: list[tuple[str, str]], limit: int
) -> None:
    lanes = Lanes(limit)
    came: dict[str | None, list[int]] = {A: [], B: [], C: []}
    lost: set[str] = set()
    for seq, (step, did) in enumerate(steps, 1):
        match step:
            case "put":
                lanes.put(event(seq, did), 10)
            case "hold":
                lanes.hold(did)
            case "release":
                lanes.release(did)
            case _:
                for one in lanes.take(2):
                    came[one.did].append(one.seq)
        lost |= lanes.lost
        assert lanes.ready_bytes == 10 * len(lanes)
    for did in (A, B, C):
        lanes.release(did)
    for one in lanes.take(1000):
        came[one.did].append(one.seq)
    assert lanes.ready_bytes == 0
    for whose, held in came.items():
        assert held == sorted(held)
        sent = [seq for seq, (step, did) in enumerate(steps, 1) if (step, did) == ("put", whose)]
        assert whose in lost or held == sent
