"""From the bytes of a message to an event: what is kept, and what is ignored."""

from collections import Counter
from typing import Any

import libipld
import pytest

from atdata_indexer.errors import FutureCursor, StreamError
from atdata_indexer.frames import (
    Account,
    Commit,
    Decoder,
    Event,
    Gap,
    Identity,
    Op,
    Sync,
    event_micros,
)
from atdata_schemas.records import KINDS
from tests.builders import (
    DATASET,
    DID,
    LENS,
    OTHER_DID,
    POST,
    RKEY,
    SCHEMA,
    START_US,
    Everyone,
    Write,
    account_frame,
    block_of,
    cid,
    commit_frame,
    dataset,
    encode,
    error_frame,
    event,
    frame,
    identity_frame,
    info_frame,
    link,
    recorded_frames,
    rev,
    sync_frame,
)

HEADER = encode({"op": 1, "t": "#commit"})
NOBODY: frozenset[str] = frozenset()
POST_WRITE: Write = ("create", f"{POST}/{RKEY}", {"$type": POST, "text": "hello"})


def decode(message: bytes, tracked: Any = NOBODY) -> tuple[int, Event | None]:
    return Decoder(tracked).decode(message)


def kept(message: bytes, tracked: Any = NOBODY) -> Event | None:
    return decode(message, tracked)[1]


# --- what concerns the index ------------------------------------------------------------------


def test_a_commit_to_an_indexed_collection_is_kept_with_its_ops_in_place() -> None:
    message = commit_frame(
        7,
        since=rev(0),
        rev=rev(1),
        ops=[
            POST_WRITE,
            ("create", f"{DATASET}/{RKEY}", dataset()),
            ("delete", f"{SCHEMA}/{RKEY}", None),
            ("update", f"{POST}/other", {"text": "x"}),
            ("update", f"{LENS}/{RKEY}", {"$type": LENS}),
        ],
    )
    seq, found = decode(message)
    assert seq == 7
    assert isinstance(found, Commit)
    assert (found.seq, found.did, found.rev, found.since) == (7, DID, rev(1), rev(0))
    assert found.ops == (
        Op(1, "create", DATASET, RKEY, cid(block_of(dataset()))),
        Op(2, "delete", SCHEMA, RKEY, None),
        Op(4, "update", LENS, RKEY, cid(block_of({"$type": LENS}))),
    )
    assert len(found.cid) == 36
    assert found.cid in found.blocks


def test_a_commit_that_concerns_nobody_is_only_counted() -> None:
    assert decode(commit_frame(9, ops=[POST_WRITE])) == (9, None)
    assert decode(commit_frame(9, ops=[])) == (9, None)


def test_every_commit_of_a_tracked_repo_is_kept_for_its_chain() -> None:
    both: list[list[Write]] = [[POST_WRITE], []]
    for ops in both:
        found = kept(commit_frame(9, ops=ops), {DID})
        assert isinstance(found, Commit)
        assert found.ops == ()
        assert decode(commit_frame(9, ops=ops), {OTHER_DID}) == (9, None)


def test_account_identity_and_sync_are_kept_of_tracked_repos_alone() -> None:
    messages: list[tuple[bytes, Account | Identity | Sync]] = [
        (
            account_frame(1, active=False, status="takendown"),
            Account(1, DID, False, "takendown", START_US),
        ),
        (account_frame(2), Account(2, DID, True, None, START_US)),
        (identity_frame(3, handle="alice.test"), Identity(3, DID)),
        (sync_frame(4, rev=rev(5)), Sync(4, DID, rev(5))),
    ]
    for message, expected in messages:
        assert decode(message, {DID}) == (expected.seq, expected)
        assert decode(message, {OTHER_DID}) == (expected.seq, None)


@pytest.mark.parametrize("status", ["deactivated", "suspended", "deleted", "throttled", "new-one"])
def test_any_account_status_is_handed_on_as_it_came(status: str) -> None:
    found = kept(account_frame(1, active=False, status=status), {DID})
    assert found == Account(1, DID, False, status, START_US)


def test_an_endless_account_status_is_cut() -> None:
    found = kept(account_frame(1, active=False, status="x" * 10_000), {DID})
    assert found == Account(1, DID, False, "x" * 64, START_US)


def test_a_commit_since_nothing_is_a_commit() -> None:
    found = kept(commit_frame(1, since=None, ops=[("delete", f"{DATASET}/{RKEY}", None)]))
    assert isinstance(found, Commit)
    assert found.since is None


# --- paths that look like ours ----------------------------------------------------------------

INNER = encode([{"action": "create", "path": f"{DATASET}/{RKEY}", "cid": None}])

LOOK_ALIKES = [
    f"{DATASET}s/{RKEY}",
    f"{DATASET}.entry/{RKEY}",
    f"{DATASET}X/{RKEY}",
    f"x{DATASET}/{RKEY}",
    f" {DATASET}/{RKEY}",
    f"/{DATASET}/{RKEY}",
    f"\0{DATASET}/{RKEY}",
    f"App.bsky.atdata.dataset/{RKEY}",
    f"app.bsky.atdata.Dataset/{RKEY}",
    f"app.bsky.atdata/{RKEY}",
    f"app.bsky.atdata.dat\u0430set/{RKEY}",  # a Cyrillic a
    f"app\u2024bsky\u2024atdata\u2024dataset/{RKEY}",  # one dot leaders
    f"{POST}/{DATASET}/{RKEY}",
    f"{POST}/{INNER.decode('latin-1')}",
    f"{POST}/{RKEY}?{DATASET}/{RKEY}",
    DATASET,
    "",
]


@pytest.mark.parametrize("path", LOOK_ALIKES)
def test_a_path_that_only_looks_like_ours_is_not(path: str) -> None:
    ops = [{"action": "create", "path": path, "cid": link(cid(b"x"))}]
    assert decode(commit_frame(3, body={"ops": ops})) == (3, None)


def test_our_path_cannot_be_hidden_behind_bytes_that_look_like_another_frame() -> None:
    decoys: list[Write] = [
        POST_WRITE,
        ("create", f"{POST}/a", {"text": INNER}),
        ("create", f"{POST}/{INNER.decode('latin-1')}", {"seq": 1}),
    ]
    found = kept(commit_frame(3, ops=[*decoys, ("delete", f"{LENS}/{RKEY}", None)]))
    assert isinstance(found, Commit)
    assert found.ops == (Op(3, "delete", LENS, RKEY, None),)


def test_the_seq_is_the_frame_s_own_and_not_one_inside_a_record() -> None:
    inner = {"$type": POST, "seq": 999_999, "ops": [{"path": f"{DATASET}/{RKEY}"}]}
    assert decode(commit_frame(3, ops=[("create", f"{POST}/a", inner)])) == (3, None)


# --- what is to be ignored --------------------------------------------------------------------


def test_an_event_of_an_unknown_kind_is_ignored_and_keeps_its_place() -> None:
    assert decode(event("#labels", seq=12, did=DID), {DID}) == (12, None)
    assert decode(event("#labels", payload=1), {DID}) == (0, None)
    assert decode(frame({"op": 1, "t": ["#commit"]}, {"seq": 12, "did": DID}), {DID}) == (12, None)


def test_an_unknown_op_is_ignored() -> None:
    assert decode(frame({"op": 2, "t": "#commit"}, {"seq": 5})) == (0, None)
    assert decode(frame({"op": 0}, {})) == (0, None)
    assert decode(frame({"op": "1", "t": "#commit"}, {})) == (0, None)


def test_unknown_fields_are_ignored_wherever_they_are() -> None:
    op = {"action": "delete", "path": f"{DATASET}/{RKEY}", "cid": None}
    plain = kept(commit_frame(1, body={"ops": [op]}))
    more = kept(commit_frame(1, body={"ops": [op | {"prev": None, "more": {}}], "more": [1, 2]}))
    assert isinstance(plain, Commit)
    assert plain == more


def test_legacy_fields_change_nothing() -> None:
    write: Write = ("create", f"{DATASET}/{RKEY}", dataset())
    plain = kept(commit_frame(1, ops=[write]))
    legacy = {"rebase": True, "tooBig": True, "blobs": [link(cid(b"x"))], "prevData": None}
    assert isinstance(plain, Commit)
    assert plain == kept(commit_frame(1, ops=[write], body=legacy))


def test_a_notice_has_no_seq_and_only_an_outdated_cursor_is_a_gap() -> None:
    seq, event = decode(info_frame("OutdatedCursor", "too old"), Everyone())
    assert (seq, event) == (0, Gap(0, "OutdatedCursor"))
    assert decode(info_frame("Sunny", "news"), Everyone()) == (0, None)


# --- error frames -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ConsumerTooSlow", "InternalError", "futurecursor", ""])
def test_an_error_frame_raises_the_error_it_names(name: str) -> None:
    with pytest.raises(StreamError) as caught:
        decode(error_frame(name, "why"))
    assert (caught.value.error, caught.value.message) == (name, "why")
    assert not isinstance(caught.value, FutureCursor)


def test_a_cursor_from_the_future_has_an_error_of_its_own() -> None:
    with pytest.raises(FutureCursor, match=r"FutureCursor: cursor in the future"):
        decode(error_frame("FutureCursor", "cursor in the future"))


def test_an_error_frame_that_says_nothing_is_still_an_error() -> None:
    for body in ({}, {"error": None}, {"error": ["x"], "message": {"a": 1}}):
        with pytest.raises(StreamError):
            decode(frame({"op": -1}, body))


def test_an_endless_error_message_is_cut() -> None:
    with pytest.raises(StreamError) as caught:
        decode(error_frame("X", "m" * 100_000))
    assert len(caught.value.message) == 500


# --- when it was sent -------------------------------------------------------------------------


def test_the_time_of_a_frame_is_what_its_source_says() -> None:
    assert event_micros(commit_frame(1)) == START_US
    assert event_micros(account_frame(1)) == START_US


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        HEADER,
        info_frame("x"),
        error_frame("x"),
        event("#commit", time=5),
        event("#commit", time=b"2025-06-01T00:00:00Z"),
        event("#commit", time=["2025-06-01T00:00:00Z"]),
        event("#commit", time="today"),
        event("#commit", time="9999-12-31T23:59:59-23:00"),
        frame([], []),
        HEADER + b"\x81" * 200_000 + b"\0",
    ],
)
def test_a_frame_without_a_time_has_none(message: bytes) -> None:
    assert event_micros(message) is None


# --- the recording ----------------------------------------------------------------------------

FRAMES = recorded_frames()


def test_what_is_kept_of_the_recording_is_what_a_plain_reading_finds() -> None:
    decoder = Decoder(NOBODY)
    actions: Counter[str] = Counter()
    for message in FRAMES:
        body = libipld.decode_dag_cbor_multi(message)[1]
        ours = [
            (index, op["action"], op["path"], op["cid"])
            for index, op in enumerate(body.get("ops", ()))
            if op["path"].partition("/")[0] in KINDS
        ]
        seq, found = decoder.decode(message)
        assert seq == body["seq"]
        if not ours:
            assert found is None
            continue
        assert isinstance(found, Commit)
        assert (found.did, found.rev, found.since) == (body["repo"], body["rev"], body["since"])
        assert (found.cid, found.blocks) == (body["commit"], body["blocks"])
        assert ours == [
            (op.index, op.action, f"{op.collection}/{op.rkey}", op.cid) for op in found.ops
        ]
        actions.update(op.action for op in found.ops)
    assert min(actions["create"], actions["update"], actions["delete"]) >= 5


def test_of_a_tracked_repo_every_recorded_event_is_kept() -> None:
    names: Counter[str] = Counter()
    for message in FRAMES:
        found = kept(message, Everyone())
        assert found is not None
        names[type(found).__name__] += 1
    assert set(names) == {"Commit", "Account", "Identity", "Sync"}
