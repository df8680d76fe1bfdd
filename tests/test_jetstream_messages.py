"""A Jetstream message becomes a typed event or a named refusal, whatever strangers put in it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata_indexer.errors import FrameError, RecordError, StreamError
from atdata_indexer.frames import (
    OUTDATED,
    Account,
    Event,
    Gap,
    Identity,
    LooseOp,
    Malformed,
    Op,
    Sync,
)
from atdata_indexer.jetstream import (
    NOTICE,
    JetstreamDecoder,
    Version,
    position_of,
    seen_us,
)
from atdata_indexer.repo import record_cid, write_record
from atdata_schemas.syntax import cid_text
from tests.signed import DATASET, START_US, record, rkey, tid

ALICE, MALLORY = "did:plc:aliceaaaaaaaaaaaaaaaaaaa", "did:plc:malloryaaaaaaaaaaaaaaaaa"
VERSIONS: list[Version] = [1, 2]
NSID = "network.bsky.jetstream.subscribeEvents"
RECORD = record("Whales")
CREATE = {
    "rev": tid(1),
    "operation": "create",
    "collection": DATASET,
    "rkey": rkey(1),
    "record": RECORD,
    "cid": record_cid(RECORD),
}
POSITION = {1: START_US + 7, 2: 7}
TIME = "2026-05-28T20:26:40.000007Z"

both = pytest.mark.parametrize("version", VERSIONS)


def said(version: Version, kind: str, body: Any, did: Any = ALICE, **more: Any) -> dict[str, Any]:
    """An event as the version says it."""
    if version == 1:
        return {"did": did, "time_us": POSITION[1], "kind": kind, kind: body} | more
    inner = body if kind in ("commit", "info") and isinstance(body, dict) else {kind: body}
    payload = {"$type": f"{NSID}#{kind}", "did": did, "seq": POSITION[2], "time": TIME}
    return {"$type": "message", "payload": payload | inner | more}


def text(message: Any) -> bytes:
    return json.dumps(message).encode()


def decode(version: Version, message: bytes, *tracked: str) -> tuple[int, Event | None]:
    return JetstreamDecoder(version, set(tracked), "jet").decode(message)


def event(version: Version, kind: str, body: Any, did: Any = ALICE, *tracked: str) -> Event | None:
    seq, found = decode(version, text(said(version, kind, body, did)), *tracked)
    assert seq == POSITION[version], "the cursor moves on whatever the event is"
    return found


@both
@pytest.mark.parametrize("action", ["create", "update"])
def test_a_new_record_comes_with_its_block_whoever_its_author_is(
    version: Version, action: str
) -> None:
    found = event(version, "commit", CREATE | {"operation": action})
    assert isinstance(found, LooseOp)
    assert (found.seq, found.did, found.rev) == (POSITION[version], ALICE, tid(1))
    assert found.source == "jet"
    assert found.block == write_record(RECORD)
    assert found.op.cid is not None
    assert cid_text(found.op.cid) == CREATE["cid"]
    assert found.op == Op(0, action, DATASET, rkey(1), found.op.cid)  # type: ignore[arg-type]


@both
def test_a_delete_has_neither_cid_nor_block(version: Version) -> None:
    body = {key: CREATE[key] for key in ("rev", "collection", "rkey")} | {"operation": "delete"}
    found = event(version, "commit", body)
    assert found == LooseOp(
        POSITION[version], ALICE, tid(1), Op(0, "delete", DATASET, rkey(1), None), None, "jet"
    )


@both
def test_a_record_that_is_not_what_its_cid_says_comes_as_the_reason(version: Version) -> None:
    found = event(version, "commit", CREATE | {"record": record("Other")})
    assert isinstance(found, LooseOp)
    assert isinstance(found.block, RecordError)
    assert found.block.rule == "hash"


@both
@pytest.mark.parametrize(
    "value",
    ["\ud800", 10**400, float("nan"), {"$bytes": "***"}, {"$link": "é"}, [[[[]]]] * 3],
    ids=["lone surrogate", "huge integer", "NaN", "bytes", "link", "nested"],
)
def test_a_record_no_repo_can_hold_comes_as_the_reason(version: Version, value: Any) -> None:
    found = event(version, "commit", CREATE | {"record": RECORD | {"x": value}})
    assert isinstance(found, LooseOp)
    assert isinstance(found.block, RecordError)


@both
def test_nul_in_a_record_is_data_like_any_other(version: Version) -> None:
    strange = RECORD | {"description": "a\0b"}
    found = event(version, "commit", CREATE | {"record": strange, "cid": record_cid(strange)})
    assert isinstance(found, LooseOp)
    assert found.block == write_record(strange)


@both
@pytest.mark.parametrize(
    "fault",
    [
        {"rev": None},
        {"rev": "3k"},
        {"rev": 7},
        {"rkey": "a/b"},
        {"rkey": ".."},
        {"rkey": None},
        {"rkey": "\ud800"},
        {"collection": None},
        {"collection": [DATASET]},
        {"operation": "annul"},
        {"operation": {}},
        {"cid": None},
        {"cid": "bafy"},
        {"cid": "b" + "é" * 58},
        {"cid": 5},
        {"record": None},
    ],
    ids=str,
)
def test_an_op_that_breaks_the_protocol_is_malformed_and_makes_no_stranger_tracked(
    version: Version, fault: Mapping[str, Any]
) -> None:
    body = {**CREATE, **fault}
    found = event(version, "commit", body, ALICE, ALICE)
    assert isinstance(found, Malformed)
    assert found.did == ALICE
    found.reason.encode()
    assert event(version, "commit", body, MALLORY, ALICE) is None


@both
@pytest.mark.parametrize("did", [None, 7, [], {}, "alice", "did:plc:\ud800", "", {"did": ALICE}])
def test_an_event_of_nobody_is_passed_over(version: Version, did: Any) -> None:
    for kind in ("commit", "account", "identity", "sync"):
        assert event(version, kind, CREATE, did, ALICE) is None


@both
@pytest.mark.parametrize("body", [None, 7, "x", [], True])
def test_an_event_without_a_body_is_malformed(version: Version, body: Any) -> None:
    for kind in ("account", "sync"):
        assert isinstance(event(version, kind, body, ALICE, ALICE), Malformed)
        assert event(version, kind, body) is None


@both
def test_ops_of_other_collections_are_passed_over(version: Version) -> None:
    other = CREATE | {"collection": "app.bsky.feed.post"}
    assert event(version, "commit", other, ALICE, ALICE) is None


@both
def test_account_events_of_tracked_repos_say_what_the_account_is(version: Version) -> None:
    body = {"active": False, "status": "takendown", "did": ALICE, "seq": 1, "time": TIME}
    at = POSITION[version]
    hidden = Account(at, ALICE, False, "takendown", START_US + 7, "jet")
    assert event(version, "account", body, ALICE, ALICE) == hidden
    assert event(version, "account", body) is None
    assert event(version, "account", {"active": True}, ALICE, ALICE) == Account(
        at, ALICE, True, None, None, "jet"
    )


@both
@pytest.mark.parametrize("status", ["\ud800", "a\0b", "\n"])
def test_a_status_no_text_can_hold_hides_the_account_all_the_same(
    version: Version, status: str
) -> None:
    found = event(version, "account", {"active": False, "status": status}, ALICE, ALICE)
    assert found == Account(POSITION[version], ALICE, False, None, None, "jet")


@both
@pytest.mark.parametrize(
    "body", [{}, {"active": 1}, {"active": "no"}, {"active": True, "status": 5}]
)
def test_an_account_that_is_neither_active_nor_not_is_malformed(
    version: Version, body: dict[str, Any]
) -> None:
    assert isinstance(event(version, "account", body, ALICE, ALICE), Malformed)


@both
def test_identity_and_sync_events_of_tracked_repos_come_through(version: Version) -> None:
    at = POSITION[version]
    assert event(version, "identity", {"handle": "x"}, ALICE, ALICE) == Identity(at, ALICE, "jet")
    assert event(version, "sync", {"rev": tid(3)}, ALICE, ALICE) == Sync(at, ALICE, tid(3), "jet")
    assert isinstance(event(version, "sync", {"rev": "?"}, ALICE, ALICE), Malformed)
    assert event(version, "identity", {}, MALLORY, ALICE) is None
    assert event(version, "sync", {"rev": tid(3)}, MALLORY, ALICE) is None


@both
def test_unknown_kinds_and_fields_are_ignored(version: Version) -> None:
    for body in ({"x": 1}, None, 5):
        assert event(version, "label", body, ALICE, ALICE) is None
    assert isinstance(event(version, "commit", CREATE | {"prevRev": [1]}), LooseOp)
    message = said(version, "commit", CREATE) | {"cursor": "?", "more": {}}
    assert isinstance(decode(version, text(message))[1], LooseOp)
    stranger: list[Any] = [{}, {"kind": []}, {"$type": "?"}, {"$type": "message", "payload": 5}]
    for strange in stranger:
        assert decode(version, text(strange)) == (0, None)


@both
@pytest.mark.parametrize("position", [None, -1, 2**63, 1.5, "7", True, [], 10**30])
def test_an_event_without_a_position_is_no_message(version: Version, position: Any) -> None:
    where = {"time_us": position} if version == 1 else {"seq": position}
    with pytest.raises(FrameError):
        decode(version, text(said(version, "commit", CREATE, **where)))


@both
@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"{",
        b"[]",
        b"5",
        b"null",
        b'"x"',
        b"{} {}",
        '{"did": 1}'.encode("utf-16"),
        b'{"did": "\xff"}',
        b'{"time_us": ' + b"9" * 5000 + b"}",
        b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 3_000_000,
        b"(\xb5/\xfd compressed",
    ],
    ids=lambda message: repr(message[:12]),
)
def test_what_is_no_object_is_no_message(version: Version, message: bytes) -> None:
    with pytest.raises(FrameError):
        decode(version, message)
    assert position_of(version, message) is None
    assert seen_us(version, message) is None


@both
def test_the_last_of_two_fields_of_one_name_counts(version: Version) -> None:
    message = text(said(version, "identity", {}))
    doubled = message.replace(b'"did"', b'"did": "%s", "did"' % MALLORY.encode(), 1)
    assert doubled != message
    assert decode(version, doubled, ALICE, MALLORY)[1] == Identity(POSITION[version], ALICE, "jet")


@both
def test_where_a_server_begins_later_than_asked_stands_a_gap(version: Version) -> None:
    assert decode(version, NOTICE) == (0, Gap(0, OUTDATED, source="jet"))


@pytest.mark.parametrize("name", ["OutdatedCursor", "FutureCursor"])
def test_version_2_says_itself_that_something_was_left_out(name: str) -> None:
    message = text(said(2, "info", {"name": name, "message": "sorry"}))
    assert decode(2, message) == (0, Gap(0, name, source="jet"))


@pytest.mark.parametrize("name", ["Sunny", None, [], {}, 5])
def test_other_notices_are_ignored(name: Any) -> None:
    assert decode(2, text(said(2, "info", {"name": name}))) == (0, None)


def test_an_error_of_version_2_ends_the_stream() -> None:
    with pytest.raises(StreamError, match="ConsumerTooSlow: hurry"):
        decode(2, text({"$type": "error", "error": "ConsumerTooSlow", "message": "hurry"}))
    with pytest.raises(StreamError):
        decode(2, text({"$type": "error", "error": ["x" * 10_000], "message": {}}))


@both
def test_when_an_event_was_seen_and_where_it_stands_can_be_read(version: Version) -> None:
    message = text(said(version, "identity", {}))
    assert seen_us(version, message) == START_US + 7
    assert position_of(version, message) == POSITION[version]
    assert seen_us(version, NOTICE) is None


def test_version_2_is_believed_when_it_saw_an_event_rather_than_what_it_shows() -> None:
    later = said(2, "identity", {}, witnessedAt="2026-05-28T20:26:41.000000Z")
    assert seen_us(2, text(later)) == START_US + 1_000_000
    assert seen_us(2, text(said(2, "identity", {}, time="yesterday"))) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
KINDS = st.sampled_from(["commit", "account", "identity", "sync", "info", "label"])
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "rev": JSON | st.just(tid(1)),
        "operation": JSON | st.sampled_from(["create", "update", "delete"]),
        "collection": JSON | st.just(DATASET),
        "rkey": JSON | st.just(rkey(1)),
        "cid": JSON | st.just(CREATE["cid"]),
        "record": JSON | st.just(RECORD),
        "active": JSON,
        "status": JSON,
        "name": JSON | st.just(OUTDATED),
        "time": JSON,
    },
)


def nothing_else_is_raised(version: Version, message: bytes) -> None:
    try:
        seq, found = decode(version, message, ALICE)
    except (FrameError, StreamError):
        return
    assert 0 <= seq < 2**63
    assert found is None or found.did in (None, ALICE) or isinstance(found, LooseOp)
    if isinstance(found, Malformed | Gap):
        found.reason.encode()


@given(version=st.sampled_from(VERSIONS), kind=KINDS, did=JSON | st.just(ALICE), body=JSON | BODIES)
def test_no_event_raises_anything_but_a_named_error(
    version: Version, kind: str, did: Any, body: Any
) -> None:
    nothing_else_is_raised(version, text(said(version, kind, body, did)))


@given(version=st.sampled_from(VERSIONS), message=st.binary() | JSON.map(text))
def test_no_message_raises_anything_but_a_named_error(version: Version, message: bytes) -> None:
    nothing_else_is_raised(version, message)
