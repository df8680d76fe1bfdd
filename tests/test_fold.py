"""What commits change: order, tombstones, gaps and refusals, against a fold over a plain dict."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_indexer.changes import Change, Changes, Fault, Repo, Row, State
from atdata_indexer.fold import FUTURE_US, fold, touched
from atdata_indexer.frames import Commit, Malformed
from atdata_indexer.rows import RAW_BYTES
from atdata_schemas.syntax import cid_text
from tests.builders import (
    DATASET,
    DID,
    LENS,
    NOW_US,
    OTHER_DID,
    POST,
    RKEY,
    SCHEMA,
    SCHEMA_URI,
    START_US,
    Block,
    Write,
    block_of,
    cid,
    commit,
    dataset,
    encode,
    lens,
    rev,
    schema,
    tid,
)

URI = f"at://{DID}/{DATASET}/{RKEY}"
PATH = f"{DATASET}/{RKEY}"


def create(record: Block | None = None, path: str = PATH) -> Write:
    return "create", path, dataset() if record is None else record


def update(record: Block | None = None, path: str = PATH) -> Write:
    return "update", path, dataset() if record is None else record


def delete(path: str = PATH) -> Write:
    return "delete", path, None


@dataclass
class Known:
    """What a store would hold between runs: repos, rows and faults."""

    repos: dict[str, Repo] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    outbox: list[Change] = field(default_factory=list)

    def take(self, events: Iterable[Commit | Malformed], now_us: int = NOW_US) -> Changes:
        run = list(events)
        held = {uri: self.rows[uri].held for uri in touched(run) if uri in self.rows}
        changes = fold(run, self.repos, held, now_us, verify=False)
        self.repos |= changes.repos
        self.rows |= changes.rows
        self.outbox += changes.outbox
        return changes

    def states(self) -> dict[str, tuple[State, str | None]]:
        return {uri: (row.state, row.cid) for uri, row in self.rows.items()}


def after(*events: Commit | Malformed) -> Known:
    known = Known()
    known.take(events)
    return known


def cid_of(record: Block) -> str:
    return cid_text(cid(block_of(record)))


# --- what a record becomes --------------------------------------------------------------------


def test_a_created_dataset_is_a_live_row_with_what_it_refers_to() -> None:
    changes = Known().take([commit(1, rev=rev(1), ops=[create()])])
    assert changes.rows == {
        URI: Row(
            uri=URI,
            did=DID,
            collection=DATASET,
            rkey=RKEY,
            kind="dataset",
            cid=cid_of(dataset()),
            rev=rev(1),
            op_index=0,
            state="live",
            name="Frogs after rain",
            schema_uri=SCHEMA_URI,
            created_us=START_US,
            body=changes.rows[URI].body,
        )
    }
    assert changes.repos == {DID: Repo(DID, rev(1))}
    assert changes.outbox == [Change(URI, DID, cid_of(dataset()), rev(1), "create")]
    assert changes.faults == {}
    assert changes.counts == {"commits": 1, "records_create": 1, "gaps": 0}


def test_a_schema_has_a_version_and_a_lens_has_two_ends() -> None:
    ops = [create(schema(), f"{SCHEMA}/{RKEY}"), create(lens(), f"{LENS}/{RKEY}")]
    rows = after(commit(1, ops=ops)).rows
    made = rows[f"at://{DID}/{SCHEMA}/{RKEY}"]
    assert (made.kind, made.version, made.schema_uri, made.target_uri) == (
        "schema",
        "1.0.0",
        None,
        None,
    )
    made = rows[f"at://{DID}/{LENS}/{RKEY}"]
    assert (made.kind, made.version) == ("lens", None)
    assert (made.schema_uri, made.target_uri) == (lens()["sourceSchema"], lens()["targetSchema"])


def test_a_body_is_the_record_in_json_with_its_letters_as_they_are() -> None:
    body = after(commit(1, ops=[create(dataset(name="Лягушки\0😀"))])).rows[URI].body
    assert body is not None
    assert '"name":"Лягушки\\u0000😀"' in body
    assert '"metadata":{"$bytes":"gaRzaXRlpHBvbmQ"}' in body


@pytest.mark.parametrize(
    ("claimed", "seconds", "expected"),
    [
        ("2024-01-01T00:00:00Z", 5, 1_704_067_200_000_000),
        ("2025-06-01T00:00:05Z", 5, START_US + 5_000_000),
        ("2025-06-01T00:00:06Z", 5, START_US + 5_000_000),
        ("9999-12-31T23:59:59Z", 5, START_US + 5_000_000),
        ("0123-01-01T00:00:00Z", 5, -58_285_699_200_000_000),
    ],
)
def test_a_record_is_never_dated_after_the_commit_it_came_in(
    claimed: str, seconds: int, expected: int
) -> None:
    rows = after(commit(1, rev=rev(seconds), ops=[create(dataset(createdAt=claimed))])).rows
    assert rows[URI].created_us == expected


# --- one record's order -----------------------------------------------------------------------


def test_the_last_change_of_a_record_is_what_it_is() -> None:
    known = after(
        commit(1, rev=rev(1), ops=[create()]),
        commit(2, rev=rev(2), since=rev(1), ops=[update(dataset(name="Toads"))]),
    )
    assert known.rows[URI].name == "Toads"
    assert [change.op for change in known.outbox] == ["create", "update"]


def test_two_changes_of_a_record_in_one_commit_apply_in_the_order_of_their_ops() -> None:
    ops = [create(dataset(name="One")), delete(), create(dataset(name="Two"))]
    known = after(commit(1, rev=rev(1), ops=ops))
    assert (known.rows[URI].name, known.rows[URI].order) == ("Two", (rev(1), 2))
    assert [change.op for change in known.outbox] == ["create", "delete", "create"]


def test_a_delete_of_something_never_seen_leaves_a_tombstone() -> None:
    known = after(commit(1, rev=rev(1), ops=[delete()]))
    assert known.rows[URI].state == "deleted"
    assert known.rows[URI].order == (rev(1), 0)
    assert known.rows[URI].cid is None
    assert known.rows[URI].body is None
    assert known.outbox == [Change(URI, DID, None, rev(1), "delete")]


def test_a_late_update_never_resurrects_a_deleted_record() -> None:
    known = Known(rows=after(commit(1, rev=rev(4), ops=[delete()])).rows)  # the repo unknown
    changes = known.take([commit(2, rev=rev(3), ops=[update()])])
    assert known.rows[URI].state == "deleted"
    assert changes.outbox == []
    assert changes.counts["stale_ops"] == 1


def test_a_record_made_again_after_its_delete_lives_and_a_late_update_changes_nothing() -> None:
    known = after(
        commit(1, rev=rev(2), ops=[create(dataset(name="One"))]),
        commit(2, rev=rev(4), since=rev(2), ops=[delete()]),
        commit(3, rev=rev(5), since=rev(4), ops=[create(dataset(name="Two"))]),
    )
    before = dict(known.rows)
    assert known.rows[URI].name == "Two"
    known.take([commit(4, rev=rev(3), since=rev(2), ops=[update(dataset(name="Late"))])])
    assert known.rows == before

    known.repos.clear()  # even where only the rows are known, as after a backfill
    known.take([commit(4, rev=rev(3), since=rev(2), ops=[update(dataset(name="Late"))])])
    assert known.rows == before


def test_the_very_same_change_again_is_no_change_even_where_only_the_row_is_known() -> None:
    known = after(commit(1, rev=rev(1), ops=[create()]))
    known.repos.clear()
    changes = known.take([commit(1, rev=rev(1), ops=[create()])])
    assert (changes.rows, changes.outbox) == ({}, [])
    assert changes.counts["stale_ops"] == 1


def test_an_op_beside_a_stale_one_is_applied_all_the_same() -> None:
    known = Known(rows=after(commit(1, rev=rev(4), ops=[delete()])).rows)
    other = f"{DATASET}/3lk4xw3xkbh2a"
    known.take([commit(2, rev=rev(3), ops=[update(), create(path=other)])])
    assert known.rows[URI].state == "deleted"
    assert known.rows[f"at://{DID}/{other}"].state == "live"


# --- one repo's order -------------------------------------------------------------------------


@pytest.mark.parametrize("late", [1, 2])
def test_a_commit_no_newer_than_its_repo_changes_nothing(late: int) -> None:
    known = after(commit(1, rev=rev(2), ops=[create()]))
    before = replace(known, repos=dict(known.repos), rows=dict(known.rows))
    changes = known.take([commit(2, rev=rev(late), ops=[delete(), create(path=f"{LENS}/{RKEY}")])])
    assert (known.repos, known.rows) == (before.repos, before.rows)
    assert changes == Changes(counts=changes.counts)
    assert changes.counts == {"stale_commits": 1}


def test_a_stale_commit_is_not_even_opened() -> None:
    known = after(commit(1, rev=rev(2), ops=[create()]))
    broken = commit(2, rev=rev(1), ops=[create()], body={"blocks": b"not a CAR"})
    assert known.take([broken]).faults == {}
    assert known.repos[DID].sync == "active"


def test_a_chain_without_a_gap_leaves_its_repo_in_sync() -> None:
    known = after(
        commit(1, rev=rev(1), since=rev(0), ops=[create()]),  # what came before is not known
        commit(2, rev=rev(2), since=rev(1), ops=[]),
        commit(3, rev=rev(3), since=rev(2), ops=[("create", f"{POST}/a", {"text": "x"})]),
        commit(4, rev=rev(4), since=rev(3), ops=[update()]),
    )
    assert known.repos == {DID: Repo(DID, rev(4))}


@pytest.mark.parametrize("since", [None, rev(0), rev(2), rev(5)])
def test_a_gap_marks_the_repo_and_the_commit_is_taken_in_all_the_same(since: str | None) -> None:
    known = after(commit(1, rev=rev(1), ops=[create()]))
    changes = known.take([commit(3, rev=rev(3), since=since, ops=[delete()])])
    assert known.repos == {DID: Repo(DID, rev(3), sync="desynchronised")}
    assert known.rows[URI].state == "deleted"
    assert changes.counts["gaps"] == 1


def test_a_gap_is_not_healed_by_what_follows_it() -> None:
    known = after(
        commit(1, rev=rev(1), ops=[create()]),
        commit(3, rev=rev(3), since=rev(2), ops=[]),
        commit(4, rev=rev(4), since=rev(3), ops=[]),
    )
    assert known.repos == {DID: Repo(DID, rev(4), sync="desynchronised")}


def test_the_state_of_an_account_is_kept_when_its_commits_arrive() -> None:
    known = Known(repos={DID: Repo(DID, rev(1), status="takendown")})
    known.take([commit(2, rev=rev(2), since=rev(1), ops=[create()])])
    assert known.repos == {DID: Repo(DID, rev(2), status="takendown")}


# --- what is refused --------------------------------------------------------------------------


def test_a_rev_of_the_future_is_refused_by_the_clock_that_is_handed_in() -> None:
    at_most = tid(NOW_US + FUTURE_US, 1023)
    beyond = tid(NOW_US + FUTURE_US + 1)
    known = after(commit(1, rev=at_most, ops=[create()]))
    assert known.repos == {DID: Repo(DID, at_most)}

    for ops in ([create()], []):
        refused = Known()
        changes = refused.take([commit(1, rev=beyond, ops=ops)])
        assert refused.rows == {}
        assert refused.repos == {DID: Repo(DID, None, sync="desynchronised")}
        assert [fault.rule for fault in changes.faults.values()] == ["future-rev"]
        assert changes.counts == {"refused_future-rev": 1}
        refused.take([commit(1, rev=beyond, ops=ops)], now_us=NOW_US + 1)
        assert refused.repos[DID].rev == beyond


def broken_commits() -> dict[str, Commit]:
    ours, gone = dataset(name="Poison"), block_of(dataset(name="Poison"))
    good = commit(2, rev=rev(2), since=rev(1), ops=[update(ours)])
    flipped = bytearray(good.blocks)
    flipped[-5] ^= 1
    return {
        "car": replace(good, blocks=good.blocks[:-1]),
        "hash": replace(good, blocks=bytes(flipped)),
        "missing-block": commit(2, rev=rev(2), since=rev(1), ops=[update(ours)], leave_out=[gone]),
        "commit-block": commit(
            2, rev=rev(2), since=rev(1), ops=[update(ours)], signed={"did": OTHER_DID}
        ),
    }


@pytest.mark.parametrize("reason", broken_commits())
def test_a_refused_commit_changes_no_record_and_leaves_its_repo_out_of_sync(reason: str) -> None:
    known = after(commit(1, rev=rev(1), ops=[create()]))
    before = dict(known.rows)
    changes = known.take([broken_commits()[reason]])
    assert known.rows == before
    assert known.repos == {DID: Repo(DID, rev(1), sync="desynchronised")}
    assert changes.faults.keys() == {URI}
    fault = changes.faults[URI]
    assert (fault.rule, fault.path, fault.rev, fault.did) == (reason, "", rev(2), DID)
    assert fault.reason
    assert changes.outbox == []
    assert changes.counts == {f"refused_{reason}": 1}


def test_a_refused_commit_of_an_unknown_repo_is_remembered_as_that() -> None:
    known = Known()
    known.take([broken_commits()["car"]])
    assert known.repos == {DID: Repo(DID, None, sync="desynchronised")}


def test_a_commit_that_touches_one_broken_record_of_two_is_refused_whole() -> None:
    ops = [create(), create(lens(), f"{LENS}/{RKEY}")]
    changes = Known().take([commit(1, ops=ops, leave_out=[block_of(lens())])])
    assert changes.rows == {}
    assert changes.faults.keys() == {URI, f"at://{DID}/{LENS}/{RKEY}"}


def test_after_a_refused_commit_the_next_good_one_is_taken_in() -> None:
    known = after(commit(1, rev=rev(1), ops=[create()]))
    known.take([broken_commits()["car"]])
    known.take([commit(3, rev=rev(3), since=rev(2), ops=[update(dataset(name="Toads"))])])
    assert known.rows[URI].name == "Toads"
    assert known.repos == {DID: Repo(DID, rev(3), sync="desynchronised")}


def test_a_refused_commit_harms_no_other_repo_of_its_run() -> None:
    other = commit(3, did=OTHER_DID, rev=rev(1), ops=[create()])
    known = Known()
    known.take([other, broken_commits()["hash"], replace(other, seq=4, rev=rev(2), ops=())])
    assert known.repos[OTHER_DID] == Repo(OTHER_DID, rev(2), sync="desynchronised")
    assert known.rows.keys() == {f"at://{OTHER_DID}/{PATH}"}
    assert known.repos[DID].rev is None


def test_a_malformed_event_marks_its_repo_and_one_of_nobody_marks_none() -> None:
    known = after(commit(1, rev=rev(1), ops=[create()]))
    changes = known.take([Malformed(2, DID, "commit: rev is not a TID"), Malformed(3, None, "x")])
    assert known.repos == {DID: Repo(DID, rev(1), sync="desynchronised")}
    reason = "commit: rev is not a TID"
    assert changes.faults == {
        f"at://{DID}": Fault(f"at://{DID}", DID, None, None, "frame", "", reason)
    }
    assert changes.counts == {"malformed": 2}


# --- records set aside ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "rule", "path"),
    [
        (dataset(urls=[]), "minLength", "urls"),
        (dataset(schemaRef=URI), "reference", "schemaRef"),
        (dataset() | {"$type": SCHEMA}, "const", "$type"),
        ({}, "const", "$type"),
        (b"\xa1\x61a\xfb\x3f\xf8" + bytes(6), "data-model", ""),
        (encode([]), "data-model", ""),
        (b"", "cbor", ""),
        (b"\xbf\xff", "cbor", ""),
        (b"\xa1\x61a\x18\x01", "canonical", ""),
    ],
)
def test_an_invalid_update_takes_the_row_so_that_the_older_version_does_not_come_back(
    record: Block, rule: str, path: str
) -> None:
    known = after(commit(1, rev=rev(1), ops=[create()]))
    changes = known.take([commit(2, rev=rev(2), since=rev(1), ops=[update(record)])])
    row = known.rows[URI]
    assert (row.state, row.cid, row.order) == ("invalid", cid_of(record), (rev(2), 0))
    assert (row.name, row.schema_uri, row.created_us, row.body) == (None, None, None, None)
    fault = changes.faults[URI]
    assert (fault.rule, fault.path, fault.cid, fault.rev) == (rule, path, row.cid, rev(2))
    assert fault.raw == block_of(record)
    assert changes.outbox == [Change(URI, DID, row.cid, rev(2), "quarantine")]
    assert known.repos == {DID: Repo(DID, rev(2))}


def test_quarantine_keeps_only_the_beginning_of_a_record() -> None:
    huge = dataset(description="x" * 500_000)
    changes = Known().take([commit(1, ops=[create(huge)])])
    assert changes.faults[URI].raw == block_of(huge)[:RAW_BYTES]


def test_a_bad_record_beside_good_ones_harms_only_itself() -> None:
    paths = [f"{DATASET}/3lk4xw3xkbh2{end}" for end in "abcde"]
    a_list_within_itself = cbor2.CBORTag(28, [cbor2.CBORTag(29, 0)])
    poison: list[Block] = [
        {"$type": DATASET},
        b"\xff",
        encode({"a": a_list_within_itself}),
        b"\x81" * 100_000 + b"\0",
        dataset(name=5),
    ]
    ops = [create(path=path) for path in paths]
    for place, record in enumerate(poison):
        mixed = [*ops[:place], create(record, paths[place]), *ops[place + 1 :]]
        states = [row.state for row in after(commit(1, ops=mixed)).rows.values()]
        assert states.count("live") == 4
        assert states[place] == "invalid"


def test_a_mended_record_leaves_quarantine_in_the_same_run() -> None:
    known = Known()
    changes = known.take(
        [
            commit(1, rev=rev(1), ops=[create(dataset(urls=[]))]),
            commit(2, rev=rev(2), since=rev(1), ops=[update()]),
        ]
    )
    assert changes.faults == {}
    assert known.rows[URI].state == "live"
    assert [change.op for change in known.outbox] == ["quarantine", "update"]


def test_a_deleted_record_leaves_quarantine_in_the_same_run() -> None:
    changes = Known().take(
        [
            commit(1, rev=rev(1), ops=[create(dataset(urls=[]))]),
            commit(2, rev=rev(2), since=rev(1), ops=[delete()]),
        ]
    )
    assert changes.faults == {}
    assert changes.rows[URI].state == "deleted"


# --- a plain dict as the model ----------------------------------------------------------------

RKEYS = [f"3lk4xw3xkbh2{end}" for end in "abc"]
DIDS = [f"did:plc:{'abcdefgh'[n] * 24}" for n in range(6)]
BODIES: Mapping[str, Block] = {
    **{f"good {n}": dataset(name=f"Version {n}") for n in range(4)},
    "invalid": dataset(urls=[]),
    "not CBOR": b"\xff",
}

OPS = st.tuples(
    st.sampled_from(["create", "update", "delete"]),
    st.sampled_from(RKEYS),
    st.sampled_from(sorted(BODIES)),
)
LOGS = st.lists(
    st.tuples(st.sampled_from(DIDS), st.lists(OPS, max_size=4)), min_size=1, max_size=40
)


def commits_of(log: list[tuple[str, list[tuple[Any, str, str]]]]) -> list[Commit]:
    """The log as commits, each repo's chain without a gap."""
    last: dict[str, str | None] = {}
    found = []
    for number, (did, ops) in enumerate(log):
        writes: list[Write] = [
            (action, f"{DATASET}/{rkey}", None if action == "delete" else BODIES[body])
            for action, rkey, body in ops
        ]
        found.append(commit(number + 1, did, rev(number + 1), last.get(did), writes))
        last[did] = rev(number + 1)
    return found


def model_of(
    log: list[tuple[str, list[tuple[Any, str, str]]]],
) -> dict[str, tuple[State, str | None]]:
    """The log folded over a dict: last write wins."""
    held: dict[str, tuple[State, str | None]] = {}
    for did, ops in log:
        for action, rkey, body in ops:
            uri = f"at://{did}/{DATASET}/{rkey}"
            if action == "delete":
                held[uri] = "deleted", None
            else:
                state: State = "live" if body.startswith("good") else "invalid"
                held[uri] = state, cid_of(BODIES[body])
    return held


def in_runs(known: Known, commits: list[Commit], sizes: list[int]) -> Known:
    """Take commits in, in runs of these sizes, over and over."""
    at, turn = 0, 0
    while at < len(commits):
        size = sizes[turn % len(sizes)]
        known.take(commits[at : at + size])
        at, turn = at + size, turn + 1
    return known


SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=4)


@given(LOGS, SIZES)
@settings(max_examples=120, deadline=None)
def test_a_log_in_runs_of_any_size_ends_as_a_dict_would(
    log: list[tuple[str, list[tuple[Any, str, str]]]], sizes: list[int]
) -> None:
    known = in_runs(Known(), commits_of(log), sizes)
    assert known.states() == model_of(log)
    assert all(repo.sync == "active" for repo in known.repos.values())
    assert len(known.outbox) == sum(len(ops) for _, ops in log)
    for change in known.outbox:
        assert change.op in {"create", "update", "delete", "quarantine"}


@given(LOGS, SIZES, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_repos_shuffled_among_each_other_end_the_same(
    log: list[tuple[str, list[tuple[Any, str, str]]]], sizes: list[int], chance: Any
) -> None:
    commits = commits_of(log)
    queues = {did: iter([c for c in commits if c.did == did]) for did in DIDS}
    turns = [found.did for found in commits]
    chance.shuffle(turns)
    shuffled = [next(queues[did]) for did in turns]
    straight, other = Known(), in_runs(Known(), shuffled, sizes)
    straight.take(commits)
    assert other.rows == straight.rows
    assert other.repos == straight.repos
    for did in DIDS:
        assert [c for c in other.outbox if c.did == did] == [
            c for c in straight.outbox if c.did == did
        ]


@given(LOGS, SIZES, st.data())
@settings(max_examples=80, deadline=None)
def test_redelivery_of_anything_at_any_time_changes_nothing(
    log: list[tuple[str, list[tuple[Any, str, str]]]], sizes: list[int], data: st.DataObject
) -> None:
    commits = commits_of(log)
    again = []
    for place, found in enumerate(commits):
        again.append(found)
        again += data.draw(st.lists(st.sampled_from(commits[: place + 1]), max_size=2))
    straight = Known()
    straight.take(commits)
    known = in_runs(Known(), [*again, *commits], sizes)
    assert known.rows == straight.rows
    assert known.repos == straight.repos
    assert known.outbox == straight.outbox


@given(LOGS, SIZES, st.data())
@settings(max_examples=80, deadline=None)
def test_a_commit_that_comes_late_is_lost_to_its_repo_and_never_overwrites(
    log: list[tuple[str, list[tuple[Any, str, str]]]], sizes: list[int], data: st.DataObject
) -> None:
    commits = commits_of(log)
    place = data.draw(st.integers(0, len(commits) - 1))
    late, followed = (
        commits[place],
        [c for c in commits[place + 1 :] if c.did == commits[place].did],
    )
    order = [*commits[:place], *commits[place + 1 :], late]
    known = in_runs(Known(), order, sizes)
    kept = [entry for number, entry in enumerate(log) if number != place or not followed]
    assert known.states() == model_of(kept)
    preceded = any(c.did == late.did for c in commits[:place])
    gap = bool(followed) and preceded
    assert (known.repos[late.did].sync == "desynchronised") == gap
