"""Quarantine, history and tombstones are bounded: the oldest go first, and are counted."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from atdata_indexer.frames import Account, Gap
from atdata_indexer.index import bounds
from atdata_indexer.ingest import Work
from atdata_indexer.limits import DAY_US, Limits
from atdata_indexer.snapshot import Snapshot
from atdata_schemas.syntax import cid_text
from tests.builders import DATASET, Write, block_of, cid, commit, dataset, rev, without
from tests.contents import quarantined, stored
from tests.small_index import ALICE, BOB, NOW_US, SmallIndex

SOME = Limits(quarantine=3, quarantine_all=5)
SECRET = "a body that nobody may see again"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    small.store.limits = SOME
    yield small
    small.close()


def path(number: int) -> str:
    return f"{DATASET}/3kdataset{'abcdefghijklmnopqrstuvwxyz'[number]}aaa"


def uri(number: int, did: str = ALICE) -> str:
    return f"at://{did}/{path(number)}"


def send(index: SmallIndex, at: int, *writes: Write, did: str = ALICE) -> None:
    index.seq += 1
    event = commit(index.seq, did=did, rev=rev(at), since=rev(at - 1), ops=writes)
    index.ingest.apply(Work([event], {"test": index.seq}))


def broken(number: int) -> Write:
    return "create", path(number), without(dataset(description=SECRET), "urls")


def fine(number: int) -> Write:
    return "create", path(number), dataset(description=SECRET)


def gone(number: int) -> Write:
    return "delete", path(number), None


def later(index: SmallIndex, us: int) -> int:
    """Let time go by for what is stored from now on."""
    index.ingest._clock = lambda: NOW_US + us
    return NOW_US + us


# Quarantine


def test_an_account_keeps_its_newest_entries(index: SmallIndex) -> None:
    for at in range(5):
        later(index, at)
        send(index, at + 1, broken(at))
    assert set(quarantined(index.store)) == {uri(2), uri(3), uri(4)}
    assert index.ingest.counts["quarantine_dropped"] == 2


def test_entries_of_one_moment_go_in_the_order_of_their_commits(index: SmallIndex) -> None:
    events = [
        commit(at, did=ALICE, rev=rev(at), since=rev(at - 1), ops=[broken(9 - at)])
        for at in range(1, 6)
    ]
    index.ingest.apply(Work(events, {"test": 9}))
    assert set(quarantined(index.store)) == {uri(4), uri(5), uri(6)}


def test_a_record_whose_entry_was_dropped_is_still_called_quarantined(index: SmallIndex) -> None:
    before = None
    for at in range(4):
        later(index, at)
        send(index, at + 1, broken(at))
        before = before or index.store.record_status(uri(0))
    assert before is not None
    after = index.store.record_status(uri(0))
    assert (after.status, after.rule, after.cid) == ("quarantined", before.rule, before.cid)
    assert after.reason != before.reason


def test_the_whole_of_quarantine_keeps_the_newest_of_all_accounts(index: SmallIndex) -> None:
    for at in range(4):
        later(index, at)
        send(index, at + 1, broken(at), did=BOB if at % 2 else ALICE)
    for at in range(4, 7):
        later(index, at)
        send(index, 1, broken(at), did=f"did:plc:carolcarolcarolcarolcar{at}")
    assert len(quarantined(index.store)) == 5
    assert uri(0) not in quarantined(index.store)
    assert uri(1, BOB) not in quarantined(index.store)
    assert index.ingest.counts["quarantine_dropped"] == 2


def test_entries_leave_when_their_time_is_over(index: SmallIndex) -> None:
    send(index, 1, broken(1))
    now = later(index, 20 * DAY_US)
    send(index, 2, broken(2))
    assert index.store.tidy(now)["quarantine_expired"] == 0
    assert index.store.tidy(now + 11 * DAY_US)["quarantine_expired"] == 1
    assert set(quarantined(index.store)) == {uri(2)}


def test_unreadable_frames_are_bounded_in_bytes(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "FRAME_BYTES", 2500)
    for at in range(4):
        now = later(index, at)
        index.store.note_gap(Gap(at, "unreadable", bytes([at]) * 1000), {}, now)
    send(index, 1, broken(1))
    with index.store.reader() as db:
        kept = db.execute("SELECT raw FROM quarantine WHERE did = '' ORDER BY seen_us").fetchall()
    assert kept == [(bytes([2]) * 1000,), (bytes([3]) * 1000,)]
    assert uri(1) in quarantined(index.store), "records are none of their business"


def test_a_full_quarantine_lets_the_oldest_go_for_the_newest(index: SmallIndex) -> None:
    index.store.limits = Limits()
    with index.store.reader() as db:
        db.execute(
            "INSERT INTO quarantine SELECT 'at://did:plc:' || i || '/x/y', 'did:plc:' || i // 50,"
            " NULL, NULL, 'rule', '', 'reason', NULL, i FROM range(100000) r(i)"
        )
    send(index, 1, broken(1))
    assert index.ingest.counts["quarantine_dropped"] == 1
    assert "at://did:plc:0/x/y" not in quarantined(index.store)
    assert len(quarantined(index.store)) == 100_000


# History


def test_history_keeps_its_newest_entries_and_all_that_are_not_indexed(index: SmallIndex) -> None:
    for at in range(1, 9):
        send(index, at, fine(at))
    index.store.limits = replace(SOME, outbox=3)
    assert index.store.prune_outbox(indexed_seq=2) == 2
    assert [seq for seq, _ in index.store.outbox(0, 99)] == [3, 4, 5, 6, 7, 8]
    assert index.store.prune_outbox(indexed_seq=8) == 3
    assert [seq for seq, _ in index.store.outbox(0, 99)] == [6, 7, 8]


# Tombstones


def test_tombstones_are_forgotten_and_nothing_that_comes_late_brings_them_back(
    index: SmallIndex,
) -> None:
    send(index, 1, fine(1), fine(2))
    send(index, 2, gone(1))
    now = NOW_US + 31 * DAY_US
    assert index.store.tidy(NOW_US + 29 * DAY_US)["tombstones_pruned"] == 0
    assert index.store.tidy(now)["tombstones_pruned"] == 1
    assert set(stored(index.store)) == {uri(2)}
    later(index, 31 * DAY_US)
    send(index, 1, fine(1), fine(2))
    assert index.ingest.counts["stale_commits"] == 1
    # A snapshot from before the deletion fills in what is missing, but not what was deleted.
    block = block_of(dataset(description=SECRET))
    records = {(DATASET, path(1).partition("/")[2]): (cid_text(cid(block)), block)}
    index.ingest.apply(Work(snapshots=[Snapshot(ALICE, rev(1), None, records)]))
    assert index.ingest.counts["snapshots_too_old"] == 1
    assert set(stored(index.store)) == {uri(2)}
    # A newer one may: the author created it again.
    index.ingest.apply(Work(snapshots=[Snapshot(ALICE, rev(3), None, records)]))
    assert stored(index.store)[uri(1)][0] == "live"


def test_an_account_that_creates_and_deletes_without_end_keeps_few_tombstones(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "TIDY_CHUNK", 3)
    index.store.limits = replace(SOME, records=2)
    for number in range(5):
        later(index, number)
        send(index, 2 * number + 1, fine(number))
        send(index, 2 * number + 2, gone(number))
    send(index, 1, fine(9), did=BOB)
    send(index, 2, gone(9), did=BOB)
    assert index.store.tidy(NOW_US)["tombstones_pruned"] == 3
    assert set(stored(index.store)) == {uri(3), uri(4), uri(9, BOB)}, "the oldest went"
    assert index.store.tidy(NOW_US)["tombstones_pruned"] == 0, "there is room again"
    send(index, 1, fine(0))
    assert index.ingest.counts["stale_commits"] == 1


def test_tombstones_stay_while_their_repo_is_not_in_step(index: SmallIndex) -> None:
    send(index, 1, fine(1))
    send(index, 9, gone(1))
    assert index.store.behind() == [ALICE], "there was a gap"
    assert index.store.tidy(NOW_US + 99 * DAY_US)["tombstones_pruned"] == 0
    index.store.set_sync_state(ALICE, "active")
    assert index.store.tidy(NOW_US + 99 * DAY_US)["tombstones_pruned"] == 1


# Deleted accounts


def test_of_a_deleted_account_no_body_is_left_anywhere(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "CHUNK", 2)
    send(index, 1, *(fine(number) for number in range(5)), broken(7))
    frame = SECRET.encode() + BOB.encode() + ALICE.encode()
    index.store.note_gap(Gap(3, "unreadable", frame, (BOB, ALICE)), {}, NOW_US)
    index.store.note_gap(Gap(4, "unreadable", b"another's", (BOB,)), {}, NOW_US)
    assert len(index.views()) == 5
    log = Path(f"{index.folder / 'db'}.wal")
    assert SECRET.encode() in log.read_bytes(), "what is to leave the log is in it"
    index.ingest.apply(Work([Account(5, ALICE, False, "deleted")], {"test": 5}))
    index.store.tidy(NOW_US)
    assert index.views() == {}
    with index.store.reader() as db:
        names = [
            name for (name,) in db.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        ]
        assert {"records", "quarantine", "outbox", "repos"} <= set(names)
        for name in names:
            assert SECRET not in str(db.execute(f"FROM {name}").fetchall())
        frames = db.execute("SELECT raw FROM quarantine").fetchall()
    assert frames == [(b"another's",)]
    for number in (1, 7):
        found = index.store.record_status(uri(number))
        assert (found.status, found.account_status, found.reason) == ("deleted", "deleted", None)
    assert not log.exists() or SECRET.encode() not in log.read_bytes()
