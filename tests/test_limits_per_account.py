"""An account has so many records here and so much room; what is beyond waits, and says so."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from atdata_indexer.frames import Account, LooseOp, Op
from atdata_indexer.index.store import Store
from atdata_indexer.ingest import Work
from atdata_indexer.limits import DAY_US, DEFERRED, Limits
from atdata_indexer.snapshot import Snapshot
from atdata_schemas.syntax import cid_text
from tests.appview import until
from tests.builders import DATASET, Write, block_of, cid, commit, dataset, rev, without
from tests.contents import stored
from tests.network import Network, found
from tests.signed import Author
from tests.small_index import ALICE, BOB, NOW_US, SmallIndex

TWO = Limits(records=2, size=64 << 20)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    small.store.limits = TWO
    yield small
    small.close()


def key(number: int) -> str:
    return (
        f"3kdataset{number:04}".replace("0", "a")
        .replace("1", "z")
        .replace("8", "w")
        .replace("9", "y")
    )


def uri(number: int, did: str = ALICE) -> str:
    return f"at://{did}/{DATASET}/{key(number)}"


def write(action: str, number: int, text: str = "Frogs") -> Write:
    record = None if action == "delete" else dataset(name=f"{text} {number}", description=text)
    return action, f"{DATASET}/{key(number)}", record  # type: ignore[return-value]  # an Action


def send(index: SmallIndex, at: int, *writes: Write, did: str = ALICE) -> None:
    """Apply a commit at `rev(at)` that follows on the one before."""
    index.seq += 1
    event = commit(index.seq, did=did, rev=rev(at), since=rev(at - 1), ops=writes)
    index.ingest.apply(Work([event], {"test": index.seq}))


def snapshot(at: int, *writes: Write) -> Snapshot:
    """The repo of Alice at `rev(at)` with what these writes created."""
    records: dict[tuple[str, str], tuple[str, bytes]] = {}
    for _, path, record in writes:
        assert record is not None
        block = block_of(record)
        collection, _, rkey = path.partition("/")
        records[collection, rkey] = cid_text(cid(block)), block
    return Snapshot(ALICE, rev(at), None, dict(records))


def shown(index: SmallIndex) -> set[str]:
    return set(index.views())


def states(index: SmallIndex, *numbers: int) -> list[str]:
    return [index.store.record_status(uri(number)).status for number in numbers]


def assert_totals_are_a_recount(store: Store) -> None:
    with store.reader() as db:
        kept = db.execute(
            "SELECT did, held_rows, live_records, live_bytes, deferred_records FROM repos"
            " WHERE held_rows <> 0 OR live_records <> 0 OR live_bytes <> 0"
            " OR deferred_records <> 0 ORDER BY did"
        ).fetchall()
        counted = db.execute(
            "SELECT did, count(*), count(*) FILTER (state = 'live'),"
            " coalesce(sum(strlen(body)), 0), count(*) FILTER (state = 'deferred')"
            " FROM records GROUP BY did ORDER BY did"
        ).fetchall()
    assert kept == counted


# What is beyond the limits


def test_a_record_beyond_the_count_stands_without_a_body_and_says_why(index: SmallIndex) -> None:
    send(index, 1, write("create", 1), write("create", 2), write("create", 3))
    assert shown(index) == {uri(1), uri(2)}
    found = index.store.record_status(uri(3))
    assert (found.status, found.rule, found.rev) == ("deferred", "account-records", rev(1))
    assert found.reason == DEFERRED["account-records"]
    state, held_cid, held_rev, op_index, body = stored(index.store)[uri(3)]
    assert (state, held_cid, held_rev, op_index, body) == ("deferred", found.cid, rev(1), 2, None)
    assert index.ingest.counts["records_deferred"] == 1


def test_the_limit_of_one_account_is_not_another_s(index: SmallIndex) -> None:
    send(index, 1, *(write("create", n) for n in (1, 2, 3)))
    send(index, 1, write("create", 1), did=BOB)
    assert shown(index) == {uri(1), uri(2), uri(1, BOB)}


def test_an_update_that_grows_beyond_the_room_hides_the_older_version(index: SmallIndex) -> None:
    send(index, 1, write("create", 1), write("create", 2))
    room = sum(len(row[-1].encode()) for row in stored(index.store).values())
    index.store.limits = replace(TWO, size=room)
    send(index, 2, write("update", 1, "Much longer than it was before"))
    assert shown(index) == {uri(2)}
    assert index.store.record_status(uri(1)).rule == "account-bytes"
    assert stored(index.store)[uri(1)][-1] is None
    send(index, 3, write("update", 1))
    assert shown(index) == {uri(1), uri(2)}, "it fits again"


def test_an_update_at_the_limit_takes_the_place_of_what_it_replaces(index: SmallIndex) -> None:
    send(index, 1, write("create", 1), write("create", 2))
    send(index, 2, write("update", 2, "Toads"))
    assert states(index, 1, 2) == ["indexed", "indexed"]
    assert index.views()[uri(2)]["record"]["name"] == "Toads 2"


def test_a_deleted_record_makes_room_for_the_next(index: SmallIndex) -> None:
    send(index, 1, write("create", 1), write("create", 2))
    send(index, 2, write("delete", 1), write("create", 3), write("create", 4))
    assert states(index, 1, 2, 3, 4) == ["deleted", "indexed", "indexed", "deferred"]


def test_a_deferred_record_that_is_deleted_takes_no_room_and_stays_away(index: SmallIndex) -> None:
    send(index, 1, *(write("create", n) for n in (1, 2, 3)))
    send(index, 2, write("delete", 3))
    assert states(index, 3) == ["deleted"]
    index.ingest.apply(Work(snapshots=[snapshot(1, *(write("create", n) for n in (1, 2, 3)))]))
    assert states(index, 1, 2, 3) == ["indexed", "indexed", "deleted"]


def test_an_invalid_record_is_quarantined_not_deferred_and_takes_no_room(index: SmallIndex) -> None:
    broken: Write = ("create", f"{DATASET}/{key(1)}", without(dataset(), "urls"))
    send(index, 1, broken, write("create", 2), write("create", 3))
    assert states(index, 1, 2, 3) == ["quarantined", "indexed", "indexed"]


def test_what_is_only_reported_has_the_same_limits(index: SmallIndex) -> None:
    send(index, 1, write("create", 1), write("create", 2))
    block = block_of(dataset(name="Third"))
    op = Op(0, "create", DATASET, key(3), cid(block))
    index.ingest.apply(Work([LooseOp(9, ALICE, rev(2), op, block)], {"test": 9}))
    assert states(index, 3) == ["deferred"]
    assert_totals_are_a_recount(index.store)


def test_a_snapshot_has_the_same_limits_and_deletes_first(index: SmallIndex) -> None:
    send(index, 1, write("create", 7), write("create", 8))
    whole = snapshot(5, *(write("create", n) for n in (1, 2, 3)))
    index.ingest.apply(Work(snapshots=[whole]))
    assert states(index, 1, 2, 3) == ["indexed", "indexed", "deferred"]
    assert states(index, 7, 8) == ["deleted", "deleted"]
    assert_totals_are_a_recount(index.store)


# When there is room again


def test_a_snapshot_brings_in_what_was_deferred_as_if_it_had_been_at_once(
    index: SmallIndex,
) -> None:
    send(index, 1, *(write("create", n) for n in (1, 2, 3)))
    send(index, 2, write("delete", 1))
    index.ingest.apply(Work(snapshots=[snapshot(2, write("create", 2), write("create", 3))]))
    assert shown(index) == {uri(2), uri(3)}
    assert stored(index.store)[uri(3)][2:4] == (rev(1), 2)
    assert_totals_are_a_recount(index.store)


def test_a_snapshot_without_room_changes_nothing_of_what_is_deferred(index: SmallIndex) -> None:
    creates = [write("create", n) for n in (1, 2, 3, 4)]
    send(index, 1, *creates)
    before, head = stored(index.store), index.store.head
    index.ingest.apply(Work(snapshots=[snapshot(1, *creates)]))
    assert index.ingest.counts["snapshots"] == 1
    assert (stored(index.store), index.store.head) == (before, head)


def test_a_repo_is_tried_again_when_there_is_clear_room_and_not_each_time(
    index: SmallIndex,
) -> None:
    index.store.limits = replace(TWO, records=20)
    for at in range(23):
        send(index, at + 1, write("create", at))
    now = NOW_US
    assert index.store.retry_deferred(now, now - DAY_US, 9) == [], "no room"
    send(index, 24, write("delete", 0))
    assert index.store.retry_deferred(now, now - DAY_US, 9) == [], "room for one of three"
    send(index, 25, write("delete", 1))
    send(index, 26, write("delete", 2))
    assert index.store.retry_deferred(now, now - DAY_US, 9) == [ALICE], "room for all"
    assert index.store.behind() == [ALICE]
    left = [write("create", at) for at in range(3, 23)]
    index.ingest.apply(Work(snapshots=[snapshot(26, *left)]))
    assert index.store.behind() == []
    assert len(shown(index)) == 20
    # Whoever creates and deletes in turn is fetched once a day, not each time.
    send(index, 27, write("create", 30))
    send(index, 28, *(write("delete", at) for at in range(3, 8)))
    assert states(index, 30) == ["deferred"]
    assert index.store.retry_deferred(now, now - DAY_US, 9) == []
    assert index.store.retry_deferred(now + DAY_US, now + 1, 9) == [ALICE]


async def test_deferred_records_come_in_by_themselves_when_there_is_room(tmp_path: Path) -> None:
    author = Author("alice")
    network = Network(author)
    network.send(author.create(1, 2))
    network.send(author.create(3))
    network.serve_repos()
    async with network.followed(tmp_path, account_records=2) as indexer:
        await network.settled(indexer)
        assert len(found(indexer)) == 2
        assert indexer.counts["records_deferred"] == 1
        network.send(author.delete(1))
        network.serve_repos()
        await until(lambda: indexer.is_current(network.playback.last_seq))
        assert len(found(indexer)) == 1
        indexer._rounds.hurry()
        await until(lambda: found(indexer) == author.uris())
        assert indexer.counts["deferred_repos_retried"] == 1


# The totals


@pytest.mark.parametrize("layout", ["layout-1", "layout-2"])
def test_an_older_data_directory_is_counted_when_it_is_migrated(
    layout: str, tmp_path: Path
) -> None:
    shutil.copytree(Path(__file__).parent / "data" / layout, tmp_path / layout)
    store = Store(tmp_path / layout / "appview.duckdb")
    with store.reader() as db:
        counted = db.execute("SELECT sum(live_records), sum(held_rows) FROM repos").fetchone()
        unexplained = db.execute(
            "SELECT count(*) FROM records WHERE (state = 'invalid') <> (rule IS NOT NULL)"
        ).fetchone()
    assert counted is not None
    assert counted[0] > 300
    assert counted[1] > counted[0]
    assert unexplained == (0,)
    assert_totals_are_a_recount(store)
    store.close()


_WRITES = st.lists(
    st.tuples(
        st.sampled_from(["create", "update", "delete", "broken"]),
        st.integers(0, 6),
        st.sampled_from(["a", "some more words", "x" * 400]),
    ),
    max_size=4,
)
_STEP: st.SearchStrategy[tuple[str, str, Any]] = st.one_of(
    st.tuples(st.just("commit"), st.sampled_from([ALICE, BOB]), _WRITES),
    st.tuples(st.just("snapshot"), st.just(ALICE), _WRITES),
    st.tuples(st.just("late"), st.sampled_from([ALICE, BOB]), _WRITES),
    st.tuples(st.just("tidy"), st.just(ALICE), st.just([])),
    st.tuples(st.just("delete account"), st.just(BOB), st.just([])),
)


def _writes(wanted: Sequence[tuple[str, int, str]]) -> list[Write]:
    made: dict[str, Write] = {}
    for action, number, text in wanted:
        one = write("create" if action == "broken" else action, number, text)
        if action == "broken":
            one = (*one[:2], without(dataset(name=text), "urls"))
        made[one[1]] = one
    return list(made.values())


# Not shrunk: every try opens a database, and a failure would take minutes to tell.
@settings(max_examples=15, deadline=None, phases=[Phase.reuse, Phase.generate])
@given(log=st.lists(_STEP, min_size=8, max_size=30))
def test_the_totals_are_a_recount_at_any_moment(
    log: list[tuple[str, str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    index = SmallIndex(tmp_path_factory.mktemp("totals"))
    try:
        index.store.limits = Limits(records=3, size=2500, tombstone_us=0)
        for at, (kind, did, wanted) in enumerate(log, 1):
            writes = _writes(wanted)
            if kind == "commit":
                send(index, at * 10, *writes, did=did)
            elif kind == "late":
                send(index, max(1, at * 10 - 25), *writes, did=did)
            elif kind == "snapshot":
                some = [one for one in writes if one[2] is not None]
                index.ingest.apply(Work(snapshots=[snapshot(at * 10, *some)]))
            elif kind == "tidy":
                index.store.tidy(NOW_US + 1)
            else:
                gone = Account(at, did, False, "deleted")
                index.ingest.apply(Work([gone], {"test": at}))
            assert_totals_are_a_recount(index.store)
            with index.store.reader() as db:
                over = db.execute(
                    "SELECT did FROM repos WHERE live_records > 3 OR live_bytes > 2500"
                ).fetchall()
            assert over == []
    finally:
        index.close()
