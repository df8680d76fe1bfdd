"""The blocks of a commit: believed by their hashes, behind a commit block that says the same."""

import libipld
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_indexer.errors import CommitError
from atdata_indexer.frames import Commit, Decoder
from atdata_indexer.repo import Blocks, open_commit, read_car
from tests.builders import (
    DATASET,
    DID,
    OTHER_DID,
    RKEY,
    SCHEMA,
    Write,
    block_of,
    car,
    car_of,
    cid,
    commit,
    dataset,
    encode,
    link,
    recorded_frames,
    rev,
    schema,
    section,
    varint,
)

DATASET_WRITE: Write = ("create", f"{DATASET}/{RKEY}", dataset())
SCHEMA_WRITE: Write = ("update", f"{SCHEMA}/{RKEY}", schema())
HEADER = section(encode({"version": 1, "roots": []}))
BLOCKS = [encode({"n": n}) for n in range(3)]


def reason_of(data: bytes) -> str:
    with pytest.raises(CommitError) as caught:
        read_car(data)
    return caught.value.reason


def reason_of_commit(found: Commit) -> str:
    with pytest.raises(CommitError) as caught:
        open_commit(found)
    return caught.value.reason


# --- the file ---------------------------------------------------------------------------------


def test_a_car_comes_apart_into_the_blocks_it_was_made_of() -> None:
    assert read_car(car(BLOCKS)) == {cid(block): block for block in BLOCKS}
    assert read_car(car(BLOCKS, cid(BLOCKS[0]))) == read_car(car(BLOCKS))
    assert read_car(HEADER) == {}


def test_the_same_block_twice_is_one_block() -> None:
    assert read_car(car([BLOCKS[0], BLOCKS[0]])) == {cid(BLOCKS[0]): BLOCKS[0]}


def test_an_empty_block_is_a_block() -> None:
    assert read_car(car([b""])) == {cid(b""): b""}


def test_raw_blocks_are_read_too() -> None:
    raw = b"\x01\x55" + cid(b"pixels")[2:]
    assert read_car(car_of([(raw, b"pixels")])) == {raw: b"pixels"}


def test_every_recorded_car_holds_what_another_implementation_finds_in_it() -> None:
    decode = Decoder(frozenset()).decode
    opened = 0
    for message in recorded_frames():
        found = decode(message)[1]
        if isinstance(found, Commit):
            blocks = read_car(found.blocks)
            others = libipld.decode_car(found.blocks)[1]
            assert {
                name: libipld.decode_dag_cbor(block) for name, block in blocks.items()
            } == others
            assert open_commit(found) == blocks
            opened += 1
    assert opened > 100


@pytest.mark.parametrize("place", [0, 1, 17, -1])
def test_one_bit_changed_in_a_block_is_a_wrong_hash(place: int) -> None:
    block = bytearray(block_of(dataset()))
    block[place] ^= 1
    assert reason_of(
        car_of([(cid(BLOCKS[0]), BLOCKS[0]), (cid(block_of(dataset())), bytes(block))])
    ) == ("hash")


def test_one_bit_changed_in_a_cid_is_a_wrong_hash() -> None:
    name = bytearray(cid(BLOCKS[0]))
    name[-1] ^= 1
    assert reason_of(car_of([(bytes(name), BLOCKS[0])])) == "hash"


@pytest.mark.parametrize(
    "name",
    [
        cid(b"")[2:] + b"xx",  # v0: a bare multihash
        b"\x00" + cid(b"")[1:],
        b"\x02" + cid(b"")[1:],
        b"\x01\x70" + cid(b"")[2:],  # dag-pb
        b"\x01\x71\x13\x20" + cid(b"")[4:],  # SHA-512
        b"\x01\x71\x00\x20" + bytes(32),  # identity: the block would stand for its own hash
        b"\x01\x71\x12\x1f" + cid(b"")[4:],
    ],
)
def test_a_cid_of_another_make_is_refused(name: bytes) -> None:
    assert reason_of(car_of([(name, b"")])) == "car"


@pytest.mark.parametrize("cut", range(len(car(BLOCKS))))
def test_a_car_cut_off_anywhere_is_refused_unless_it_ends_with_a_block(cut: int) -> None:
    ends, at = [len(HEADER)], len(HEADER)
    for block in BLOCKS:
        at += len(section(cid(block) + block))
        ends.append(at)
    if cut in ends:
        assert len(read_car(car(BLOCKS)[:cut])) == ends.index(cut)
    else:
        assert reason_of(car(BLOCKS)[:cut]) == "car"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\xff" * 10,
        varint(2**34),
        HEADER + b"\x80",
        HEADER + b"\xff" * 100,
        HEADER + varint(0),
        HEADER + varint(35) + bytes(35),
        HEADER + varint(2**34) + cid(b"") + b"",
        HEADER + varint(2**62) + cid(b"") + b"",
        car(BLOCKS) + b"\0",
        b"not a CAR at all, whatever it was",
    ],
)
def test_a_length_that_cannot_be_is_refused(data: bytes) -> None:
    assert reason_of(data) == "car"


def test_a_section_shorter_than_a_cid_cannot_borrow_from_the_next() -> None:
    name, block = cid(b""), bytes(49)
    assert name[-1] == len(cid(block) + block)  # ends as the next section begins
    assert reason_of(HEADER + section(name[:-1]) + section(cid(block) + block)) == "car"


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_random_bytes_are_never_anything_but_blocks_that_match_their_cids(data: bytes) -> None:
    for found in (data, HEADER + data):
        try:
            blocks = read_car(found)
        except CommitError:
            continue
        assert all(cid(block)[4:] == name[4:] for name, block in blocks.items())


# --- the commit behind it ---------------------------------------------------------------------


def test_an_honest_commit_opens_with_the_blocks_of_its_records() -> None:
    found = commit(1, ops=[DATASET_WRITE, SCHEMA_WRITE, ("delete", f"{SCHEMA}/gone", None)])
    blocks = open_commit(found)
    assert blocks[cid(block_of(dataset()))] == block_of(dataset())
    assert blocks[cid(block_of(schema()))] == block_of(schema())
    assert found.cid in blocks


@pytest.mark.parametrize(
    "signed",
    [
        {"did": OTHER_DID},
        {"did": DID + "x"},
        {"did": None},
        {"did": DID.encode()},
        {"did": [DID]},
        {"rev": rev(1)},
        {"rev": None},
        {"rev": 0},
    ],
)
def test_a_commit_block_of_another_repo_or_rev_is_refused(signed: dict[str, object]) -> None:
    assert reason_of_commit(commit(1, ops=[DATASET_WRITE], signed=signed)) == "commit-block"


@pytest.mark.parametrize(
    "block",
    [
        encode({}),
        encode({"did": DID}),
        encode({"rev": rev(0)}),
        encode([DID, rev(0)]),
        encode(None),
        encode("did"),
        encode(b"did"),
        encode(5),
        b"",
        b"\xff",
        b"\x81" * 100_000 + b"\0",
        encode({"did": DID, "rev": rev(0)}) + b"\0",
    ],
)
def test_a_commit_block_that_is_none_is_refused(block: bytes) -> None:
    blocks = car([block, block_of(dataset())], cid(block))
    changes = {"commit": link(cid(block)), "blocks": blocks}
    assert reason_of_commit(commit(1, ops=[DATASET_WRITE], body=changes)) == "commit-block"


def test_a_commit_whose_own_block_is_missing_is_refused() -> None:
    blocks = car([block_of(dataset())])
    assert reason_of_commit(commit(1, ops=[DATASET_WRITE], body={"blocks": blocks})) == (
        "commit-block"
    )


def test_a_commit_that_lacks_one_of_its_records_is_refused_whole() -> None:
    found = commit(1, ops=[DATASET_WRITE, SCHEMA_WRITE], leave_out=[block_of(schema())])
    with pytest.raises(CommitError, match=r"ops\[1\] has no block") as caught:
        open_commit(found)
    assert caught.value.reason == "missing-block"


@pytest.mark.parametrize("target", [None, b"", cid(b"another"), cid(block_of(dataset()))[1:]])
@pytest.mark.parametrize("action", ["create", "update"])
def test_a_write_that_names_no_block_of_the_commit_is_refused(
    action: str, target: bytes | None
) -> None:
    ops = [{"action": action, "path": f"{DATASET}/{RKEY}", "cid": target}]
    found = commit(1, ops=[DATASET_WRITE], body={"ops": ops})
    assert reason_of_commit(found) == "missing-block"


def test_a_delete_needs_no_block() -> None:
    found = commit(1, ops=[("delete", f"{DATASET}/{RKEY}", None)])
    assert found.cid in open_commit(found)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_commit_cut_off_or_changed_anywhere_is_refused_or_the_same(data: st.DataObject) -> None:
    found = commit(1, ops=[DATASET_WRITE])
    whole = bytearray(found.blocks)
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        del whole[at:]
    else:
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    changed = Commit(
        found.seq, found.did, found.rev, found.since, found.cid, found.ops, bytes(whole)
    )
    blocks = blocks_or_reason(changed)
    if isinstance(blocks, str):
        assert blocks in {"car", "hash", "commit-block", "missing-block"}
    else:
        # Most of the header is not read, and the CAR may end with the last block that is needed.
        assert blocks.items() <= open_commit(found).items()
        assert block_of(dataset()) in blocks.values()


def blocks_or_reason(found: Commit) -> Blocks | str:
    try:
        return open_commit(found)
    except CommitError as error:
        return error.reason
