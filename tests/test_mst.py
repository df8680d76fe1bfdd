"""The tree of a repo proves what it holds, what it does not, and where a commit began."""

from collections.abc import Mapping

import libipld
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_indexer.errors import CommitError
from atdata_indexer.mst import Mst, layer_of
from atdata_indexer.playback import RECORDING
from atdata_indexer.repo import read_car
from atdata_indexer.sources.replay import read_recording
from benchmarks.repos import Tree

KEYS = st.integers(0, 400).map(lambda n: f"com.example.note/{n}")
VALUES = st.binary(min_size=32, max_size=32).map(lambda digest: b"\x01\x71\x12\x20" + digest)
RECORDS = st.dictionaries(KEYS, VALUES, max_size=60)


def opened(records: Mapping[str, bytes]) -> Mst:
    tree = Tree(records)
    return Mst(tree.blocks, tree.root)


def test_every_recorded_commit_is_proven_and_leads_back_to_where_it_began() -> None:
    inverted = 0
    for message in read_recording(RECORDING):
        header, body = libipld.decode_dag_cbor_multi(message)
        if header["t"] != "#commit":
            continue
        blocks = read_car(body["blocks"])
        tree = Mst(blocks, libipld.decode_dag_cbor(blocks[body["commit"]])["data"])
        for op in body["ops"]:
            assert tree.get(op["path"].encode()) == op["cid"]
        if body.get("prevData") is not None:
            for op in reversed(body["ops"]):
                if op["action"] == "create":
                    assert tree.remove(op["path"].encode()) == op["cid"]
                else:
                    tree.put(op["path"].encode(), op["prev"])
            assert tree.cid() == body["prevData"]
            inverted += 1
    assert inverted > 500


@given(records=RECORDS)
def test_it_finds_what_is_there_and_nothing_else(records: dict[str, bytes]) -> None:
    tree = opened(records)
    for number in range(0, 400, 7):
        key = f"com.example.note/{number}"
        assert tree.get(key.encode()) == records.get(key)


@settings(max_examples=150)
@given(records=RECORDS, changes=st.lists(st.tuples(KEYS, st.none() | VALUES), max_size=30))
def test_edited_it_has_the_root_of_a_tree_made_anew(
    records: dict[str, bytes], changes: list[tuple[str, bytes | None]]
) -> None:
    tree = opened(records)
    for key, value in changes:
        if value is not None:
            tree.put(key.encode(), value)
            records[key] = value
        elif key in records:
            assert tree.remove(key.encode()) == records.pop(key)
    assert tree.cid() == Tree(records).root


def test_a_key_that_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(CommitError, match="lacks a key"):
        opened({}).remove(b"com.example.note/1")


def test_a_node_that_is_missing_is_an_error_and_not_an_absence() -> None:
    records = {f"com.example.note/{n}": b"\x01\x71\x12\x20" + bytes([n]) * 32 for n in range(99)}
    whole = Tree(records)
    key = max((key.encode() for key in records), key=lambda key: -layer_of(key))
    path = whole.proof([key.decode()])
    leaf = [cid for cid in path if cid != whole.root][-1]
    tree = Mst({cid: block for cid, block in path.items() if cid != leaf}, whole.root)

    def look_up_all() -> None:
        for name in records:
            tree.get(name.encode())

    with pytest.raises(CommitError, match="lacks a node"):
        look_up_all()


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\xa0",
        libipld.encode_dag_cbor({"l": None, "e": [{"p": 9, "k": b"a", "v": b"", "t": None}] * 2}),
        libipld.encode_dag_cbor({"l": None, "e": "text"}),
        libipld.encode_dag_cbor({"l": 7, "e": []}),
        libipld.encode_dag_cbor({"l": None, "e": [{"p": 0, "k": "text", "v": b"", "t": None}]}),
    ],
)
def test_a_block_that_is_no_node_is_refused(block: bytes) -> None:
    with pytest.raises(CommitError):
        Mst({b"root": block}, b"root").get(b"com.example.note/1")


def test_a_tree_that_holds_itself_ends() -> None:
    import hashlib

    block = libipld.encode_dag_cbor({"l": b"\x01\x71\x12\x20" + bytes(32), "e": []})
    cid = b"\x01\x71\x12\x20" + hashlib.sha256(block).digest()
    blocks = {cid: block, b"\x01\x71\x12\x20" + bytes(32): block}
    with pytest.raises(CommitError, match="too deep"):
        Mst(blocks, cid).get(b"com.example.note/1")
