"""Frames that no honest source sends: what cannot be placed is an error, the rest is set aside.

A FrameError ends the connection, and the same frame comes again from the same cursor. So only bytes
that are no event, or one without a seq, may raise it; all else is one repo's trouble.
"""

from typing import Any

import libipld
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_indexer.changes import Changes
from atdata_indexer.errors import FrameError, StreamError
from atdata_indexer.fold import fold
from atdata_indexer.frames import Commit, Decoder, Event, Malformed, Op, event_micros
from tests.builders import (
    DATASET,
    DID,
    NOW_US,
    POST,
    RKEY,
    SCHEMA,
    Everyone,
    Write,
    block_of,
    cid,
    commit_frame,
    encode,
    event,
    link,
    recorded_frames,
    rev,
    schema,
)

NOBODY: frozenset[str] = frozenset()
POST_WRITE: Write = ("create", f"{POST}/{RKEY}", {"$type": POST, "text": "hello"})


def decode(message: bytes, tracked: Any = NOBODY) -> tuple[int, Event | None]:
    return Decoder(tracked).decode(message)


def kept(message: bytes, tracked: Any = NOBODY) -> Event | None:
    return decode(message, tracked)[1]


# --- bytes that are no event ------------------------------------------------------------------

HEADER = encode({"op": 1, "t": "#commit"})

GARBAGE = {
    "nothing": b"",
    "text": b"hello",
    "the header alone": HEADER,
    "three items": HEADER + encode({"seq": 1}) + b"\0",
    "a header that is a list": encode([]) + encode({}),
    "a header that is null": encode(None) + encode({}),
    "a header without op": encode({"t": "#commit"}) + encode({}),
    "an event without a kind": encode({"op": 1}) + encode({}),
    "a body that is a list": HEADER + encode([]),
    "a body that is null": HEADER + encode(None),
    "an error that is a list": encode({"op": -1}) + encode([]),
    "a body cut off": commit_frame(1, ops=[POST_WRITE])[:-1],
    "a map with a key twice": HEADER + b"\xa2\x61a\x01\x61a\x02",
    "a map with a number for a key": HEADER + b"\xa1\x01\x02",
    "an indefinite map": HEADER + b"\xbf\xff",
    "a tag other than 42": HEADER + b"\xa1\x61a\xc1\x00",
    "undefined": HEADER + b"\xa1\x61a\xf7",
    "a link that is none": HEADER + b"\xa1\x61a\xd8\x2a\x41\x00",
    "text that is not UTF-8": HEADER + b"\xa1\x61a\x62\xed\xa0",
    "a list within lists": HEADER + b"\x81" * 200_000 + b"\0",
    "a map within maps": HEADER + b"\xa1\x61a" * 200_000 + b"\0",
    "a list longer than the frame": HEADER + b"\x9b" + b"\x7f" * 8,
    "a text longer than the frame": HEADER + b"\x7b" + b"\x7f" * 8,
}


@pytest.mark.parametrize("name", GARBAGE)
def test_bytes_that_are_no_event_are_a_frame_error(name: str) -> None:
    with pytest.raises(FrameError):
        decode(GARBAGE[name], Everyone())


@pytest.mark.parametrize("seq", [None, True, -1, "7", b"7", 1.0, [], {}, 2**63])
@pytest.mark.parametrize("kind", ["#commit", "#account", "#identity", "#sync", "#labels"])
def test_an_event_that_cannot_be_placed_in_the_stream_is_a_frame_error(
    kind: str, seq: object
) -> None:
    with pytest.raises(FrameError):
        decode(event(kind, seq=seq, repo=DID, did=DID, ops=[]), Everyone())


def test_a_commit_without_a_seq_is_a_frame_error() -> None:
    with pytest.raises(FrameError):
        decode(event("#commit", repo=DID, ops=[]))


# --- events whose body breaks the protocol ----------------------------------------------------

OUR_OP = {"action": "create", "path": f"{DATASET}/{RKEY}", "cid": link(cid(b"x"))}
NOT_TEXT: list[object] = [None, True, 5, b"x", [], {}, [[]], {"a": 1}]
NOT_BYTES: list[object] = [None, True, 5, "x", [], {}]
NOT_A_LIST: list[object] = [None, True, 5, "x", b"x"]
NOT_AN_OP: list[object] = [None, True, 5, "x", b"x", [], {}]

BROKEN_FIELDS: list[tuple[str, object]] = [
    *(("repo", value) for value in (*NOT_TEXT, "", "did:", "did:plc:a b", "alice.test")),
    *(("rev", value) for value in (*NOT_TEXT, "", "3lk4xw3xkbh2", "zzzzzzzzzzzzz")),
    *(("since", value) for value in (*NOT_TEXT[1:], "", "3lk4xw3xkbh2")),
    *(("commit", value) for value in NOT_BYTES),
    *(("blocks", value) for value in NOT_BYTES),
    *(("ops", value) for value in NOT_A_LIST),
    *(("ops", [value]) for value in NOT_AN_OP),
    *(("ops", [OUR_OP, value]) for value in NOT_AN_OP),
]


@pytest.mark.parametrize(("name", "value"), BROKEN_FIELDS)
@pytest.mark.parametrize("tracked", [NOBODY, frozenset({DID})], ids=["unknown", "tracked"])
def test_a_commit_with_a_broken_field_is_malformed_and_nothing_is_raised(
    name: str, value: object, tracked: frozenset[str]
) -> None:
    seq, found = decode(commit_frame(8, ops=[], body={"ops": [OUR_OP], name: value}), tracked)
    assert seq == 8
    assert isinstance(found, Malformed)
    assert found.did == (DID if tracked and name != "repo" else None), "no stranger is tracked"
    assert found.reason.startswith("commit: ")


@pytest.mark.parametrize("name", ["repo", "rev", "commit", "blocks", "ops"])
@pytest.mark.parametrize("tracked", [NOBODY, frozenset({DID})], ids=["unknown", "tracked"])
def test_a_commit_with_a_field_missing_is_malformed(name: str, tracked: frozenset[str]) -> None:
    body = libipld.decode_dag_cbor_multi(commit_frame(8))[1] | {"ops": [OUR_OP]}
    body["commit"] = link(body["commit"])
    del body[name]
    seq, found = decode(event("#commit", **body), tracked)
    assert seq == 8
    assert isinstance(found, Malformed)


BROKEN_OPS: list[tuple[str, object]] = [
    *(("path", value) for value in NOT_TEXT),
    *(("action", value) for value in [*NOT_TEXT, "", "Create", "upsert"]),
    *(("cid", value) for value in [True, 5, "x", [], {}]),
    ("path", f"{DATASET}/"),
    ("path", f"{DATASET}/a/b"),
    ("path", f"{DATASET}/."),
    ("path", f"{DATASET}/.."),
    ("path", f"{DATASET}/a b"),
    ("path", f"{DATASET}/{RKEY}\n"),
    ("path", f"{DATASET}/{RKEY}\0"),
    ("path", f"{DATASET}/{'x' * 513}"),
    ("path", f"{DATASET}/%2e"),
]


@pytest.mark.parametrize(("name", "value"), BROKEN_OPS)
@pytest.mark.parametrize("tracked", [NOBODY, frozenset({DID})], ids=["unknown", "tracked"])
def test_a_commit_with_a_broken_op_is_malformed_as_a_whole(
    name: str, value: object, tracked: frozenset[str]
) -> None:
    seq, found = decode(commit_frame(8, body={"ops": [OUR_OP, OUR_OP | {name: value}]}), tracked)
    assert seq == 8
    assert isinstance(found, Malformed)
    assert found.did == (DID if tracked else None), "no stranger is tracked for that"


def test_a_create_without_a_cid_is_left_to_whoever_opens_the_commit() -> None:
    found = kept(commit_frame(8, body={"ops": [{"action": "create", "path": OUR_OP["path"]}]}))
    assert isinstance(found, Commit)
    assert found.ops == (Op(0, "create", DATASET, RKEY, None),)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("#account", {}),
        ("#account", {"active": None}),
        ("#account", {"active": 1}),
        ("#account", {"active": "false"}),
        ("#account", {"active": False, "status": 5}),
        ("#account", {"active": False, "status": ["deleted"]}),
        ("#sync", {}),
        ("#sync", {"rev": 5}),
        ("#sync", {"rev": "newest"}),
    ],
)
def test_an_event_with_a_broken_field_is_malformed(kind: str, body: dict[str, object]) -> None:
    seq, found = decode(event(kind, seq=4, did=DID, **body), {DID})
    assert seq == 4
    assert isinstance(found, Malformed)
    assert found.did == DID


@pytest.mark.parametrize("did", NOT_TEXT)
@pytest.mark.parametrize("kind", ["#account", "#identity", "#sync"])
def test_an_event_about_nobody_concerns_nobody(kind: str, did: object) -> None:
    assert decode(event(kind, seq=4, did=did, active=True, rev=rev(0)), Everyone()) == (4, None)


def test_a_reason_never_repeats_a_stranger_at_length() -> None:
    ops = [{"action": "x" * 100_000, "path": OUR_OP["path"], "y" * 100_000: 1}]
    for body in ({"ops": ops}, {"ops": ["z" * 100_000]}, {"ops": 5, "repo": "w" * 100_000}):
        found = kept(commit_frame(1, body=body), Everyone())
        assert isinstance(found, Malformed)
        assert len(found.reason) < 400


# --- anything at all ---------------------------------------------------------------------------


def outcome(message: bytes) -> Event | None:
    """What a message leads to; the errors a source may end with count as nothing."""
    try:
        return kept(message, Everyone())
    except (FrameError, StreamError):
        return None


def folded(found: Event | None) -> Changes:
    return fold(
        [found] if isinstance(found, Commit | Malformed) else [], {}, {}, NOW_US, verify=False
    )


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_random_bytes_raise_nothing_but_what_is_announced(message: bytes) -> None:
    folded(outcome(message))
    folded(outcome(HEADER + message))


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["set", "flip", "insert", "delete", "cut", "copy"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=6,
)


def mutated(message: bytes, mutations: list[tuple[str, float, int]]) -> bytes:
    data = bytearray(message)
    for how, place, byte in mutations:
        at = int(place * len(data))
        match how:
            case "set":
                data[at : at + 1] = bytes([byte])
            case "flip":
                data[at : at + 1] = bytes(value ^ (1 << byte % 8) for value in data[at : at + 1])
            case "insert":
                data[at:at] = bytes([byte])
            case "delete":
                del data[at : at + 1 + byte % 8]
            case "cut":
                del data[at:]
            case _:
                data[at:at] = data[at : at + byte]
    return bytes(data)


@given(st.sampled_from(recorded_frames()), MUTATIONS)
@settings(max_examples=1500, deadline=None)
def test_a_recorded_frame_with_bytes_changed_raises_nothing_but_what_is_announced(
    message: bytes, mutations: list[tuple[str, float, int]]
) -> None:
    changed = mutated(message, mutations)
    folded(outcome(changed))
    event_micros(changed)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=8)
    | st.binary(max_size=40)
    | st.sampled_from([DID, rev(3), link(cid(b"x")), f"{DATASET}/{RKEY}", "create", "delete"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["action", "path", "cid", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.sampled_from(["#commit", "#account", "#identity", "#sync", "#info", "#other"]),
    st.fixed_dictionaries(
        {"seq": st.integers(0, 2**63 - 1)},
        optional=dict.fromkeys(
            ["repo", "did", "rev", "since", "commit", "blocks", "ops", "active", "status"], VALUES
        ),
    ),
)
@settings(max_examples=500, deadline=None)
def test_a_placed_event_with_any_body_at_all_raises_nothing(
    kind: str, body: dict[str, object]
) -> None:
    for tracked in (NOBODY, Everyone()):
        seq, found = decode(event(kind, **body), tracked)
        assert seq == body["seq"]
        assert found is None or found.seq == seq
        folded(found)


@given(
    record=st.binary(max_size=60) | VALUES.map(encode) | st.just(block_of(schema())),
    mutations=MUTATIONS,
)
@settings(max_examples=500, deadline=None)
def test_whatever_block_a_commit_holds_the_fold_takes_it_in_or_sets_it_aside(
    record: bytes, mutations: list[tuple[str, float, int]]
) -> None:
    for block in (record, mutated(record, mutations) if record else record):
        changes = folded(kept(commit_frame(1, ops=[("create", f"{SCHEMA}/{RKEY}", block)])))
        uri = f"at://{DID}/{SCHEMA}/{RKEY}"
        assert changes.rows[uri].state in {"live", "invalid"}
        assert (changes.rows[uri].state == "invalid") == (uri in changes.faults)
