"""A commit is believed only when its author signed it and it does what it says, all of it."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from atdata_indexer.changes import Changes, Repo
from atdata_indexer.fold import fold, touched
from atdata_indexer.repo import read_car
from atdata_schemas.syntax import cid_text
from benchmarks.repos import Write, cid_of, commit_block, link, sign
from tests.signed import START_US, Author, decoded, path, record, tid, with_blocks

NOW_US = START_US + 3_600_000_000
type Body = Mapping[str, Any]


def known(author: Author, body: Body | None = None) -> dict[str, Repo]:
    """What is known of an author's repo: its key, and the state a body begins from."""
    if body is None:
        return {author.did: Repo(author.did, key=author.multibase)}
    data = cid_text(body["prevData"].value[1:])
    return {author.did: Repo(author.did, body["since"], data=data, key=author.multibase)}


def judged(author: Author, body: Body, repos: Mapping[str, Repo] | None = None) -> Changes:
    """What a body changes when its key has been looked up already."""
    event = decoded(body)
    repos = known(author, body) if repos is None else repos
    assert touched([event])
    return fold([event], repos, {}, NOW_US, verify=True, judged={author.did})


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP256R1()])
def test_what_an_author_signed_is_believed(curve: ec.EllipticCurve) -> None:
    author = Author("alice", curve)
    bodies = [author.create(1, 2), author.update(1, "New"), author.delete(2), author.create(3)]
    for body in bodies:
        changes = judged(author, body)
        assert changes.counts["commits"] == 1
        assert changes.repos[author.did].sync == "active"
        assert all(row.verified for row in changes.rows.values())


def resigned(author: Author, body: Body, **fields: Any) -> dict[str, Any]:
    """The body behind a commit block that says something else, signed by `key` of `fields`."""
    blocks = dict(read_car(body["blocks"]))
    old = blocks.pop(body["commit"].value[1:])
    import cbor2

    said = cbor2.loads(old)
    did, rev = fields.get("did", said["did"]), fields.get("rev", said["rev"])
    data = fields.get("data", said["data"].value[1:])
    signed = sign(fields.get("key", author.key), did, rev, data)
    if "signature" in fields:
        signed = commit_block(did, rev, data, fields["signature"](cbor2.loads(signed)["sig"]))
    return with_blocks(body, {cid_of(signed): signed, **blocks}, cid_of(signed))


def high_s(signature: bytes) -> bytes:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    return signature[:32] + (order - int.from_bytes(signature[32:])).to_bytes(32)


def another_op(body: Body) -> dict[str, Any]:
    """The body with the create of a record that is in the CAR but not in the tree."""
    from benchmarks.repos import car, encode

    blocks = dict(read_car(body["blocks"]))
    block = encode(record("Forged"))
    op = {"action": "create", "path": path(99), "cid": link(cid_of(block))}
    root = body["commit"].value[1:]
    return dict(body) | {
        "ops": [*body["ops"], op],
        "blocks": car(root, blocks | {cid_of(block): block}),
    }


def a_delete_of_what_is_there(body: Body) -> dict[str, Any]:
    op = body["ops"][0]
    return dict(body) | {
        "ops": [{"action": "delete", "path": op["path"], "cid": None, "prev": op["cid"]}]
    }


def without_its_last_op(body: Body) -> dict[str, Any]:
    return dict(body) | {"ops": body["ops"][:-1]}


def without_a_tree_node(body: Body) -> dict[str, Any]:
    import cbor2

    blocks = dict(read_car(body["blocks"]))
    root = body["commit"].value[1:]
    del blocks[cbor2.loads(blocks[root])["data"].value[1:]]
    return with_blocks(body, blocks, root)


OTHER = ec.derive_private_key(77, ec.SECP256K1())
FORGERIES: dict[str, tuple[str, Callable[[Author, Body], Body]]] = {
    "another key": ("signature", lambda a, b: resigned(a, b, key=OTHER)),
    "a key of the other curve": (
        "signature",
        lambda a, b: resigned(a, b, key=ec.derive_private_key(77, ec.SECP256R1())),
    ),
    "the other half of s": ("signature", lambda a, b: resigned(a, b, signature=high_s)),
    "a signature of zeros": (
        "signature",
        lambda a, b: resigned(a, b, signature=lambda s: bytes(64)),
    ),
    "a short signature": ("signature", lambda a, b: resigned(a, b, signature=lambda s: s[:63])),
    "another DID in the commit block": (
        "commit-block",
        lambda a, b: resigned(a, b, did="did:plc:mallorymallorymallorymal"),
    ),
    "another rev in the commit block": ("commit-block", lambda a, b: resigned(a, b, rev=tid(500))),
    "another tree": ("mst", lambda a, b: resigned(a, b, data=cid_of(b"another"))),
    "a record that is not in the tree": ("proof", lambda a, b: another_op(b)),
    "a delete of a record that is still there": (
        "proof",
        lambda a, b: a_delete_of_what_is_there(b),
    ),
    "an op that is kept back": ("prev-data", lambda a, b: without_its_last_op(b)),
    "a tree with a node missing": ("mst", lambda a, b: without_a_tree_node(b)),
    "ops that began from elsewhere": (
        "prev-data",
        lambda a, b: dict(b) | {"prevData": link(cid_of(b"elsewhere"))},
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_commit_is_refused_and_its_repo_is_out_of_step(forgery: str) -> None:
    reason, forge = FORGERIES[forgery]
    author = Author("alice")
    author.create(1)
    body = author.create(2, 3)
    repos = known(author, body)
    changes = judged(author, forge(author, body), repos)
    assert dict(changes.counts) == {f"refused_{reason}": 1}
    assert changes.rows == {}
    assert changes.outbox == []
    assert changes.repos[author.did].sync == "desynchronised"
    assert changes.repos[author.did].rev == body["since"]
    assert {fault.rule for fault in changes.faults.values()} == {reason}
    assert judged(author, body, repos).counts["commits"] == 1, "the true one is still believed"


def test_an_old_commit_replayed_changes_nothing() -> None:
    author = Author("alice")
    old = author.create(1)
    newer = author.delete(1)
    repos = judged(author, old, known(author)).repos
    repos = judged(author, newer, repos).repos
    changes = judged(author, old, repos)
    assert dict(changes.counts) == {"stale_commits": 1}
    assert changes.repos == {}


def test_a_key_that_does_not_fit_is_looked_up_once_before_anything_is_judged() -> None:
    author, later = Author("alice"), Author("alicf")
    bodies = [author.create(1), author.create(2)]
    stale = {author.did: Repo(author.did, key=later.multibase)}
    events = [decoded(body) for body in bodies]
    changes = fold(events, stale, {}, NOW_US, verify=True)
    assert changes.doubted == events
    assert (changes.rows, changes.repos, changes.faults) == ({}, {}, {})
    again = fold(changes.doubted, known(author), {}, NOW_US, verify=True, judged={author.did})
    assert again.counts["commits"] == 2


@pytest.mark.parametrize("key", ["", "z", "zQ3sh", "not a key", "zDnae" + "1" * 40, "m" * 60])
def test_an_account_whose_key_cannot_be_used_signs_nothing(key: str) -> None:
    author = Author("alice")
    body = author.create(1)
    changes = judged(author, body, {author.did: Repo(author.did, key=key)})
    assert dict(changes.counts) == {"refused_key": 1}


def test_a_commit_left_out_shows_as_a_gap_and_what_follows_is_still_believed() -> None:
    author = Author("alice")
    first, lost, third = author.create(1), author.create(2), author.create(3)
    del lost
    repos = judged(author, first, known(author)).repos
    changes = judged(author, third, repos)
    assert changes.counts["gaps"] == 1
    assert changes.repos[author.did].sync == "desynchronised"
    assert len(changes.rows) == 1


def test_a_commit_without_ops_of_ours_is_verified_too() -> None:
    author = Author("alice")
    body = author.write(Write("create", "com.example.note/1", {"$type": "com.example.note"}))
    event = decoded(body)
    forged = decoded(resigned(author, body, key=OTHER))
    believed = fold([event], known(author), {}, NOW_US, verify=True, judged={author.did})
    refused = fold([forged], known(author), {}, NOW_US, verify=True, judged={author.did})
    assert believed.repos[author.did].rev == body["rev"]
    assert refused.counts["refused_signature"] == 1
