"""A whole repo as its PDS gave it, and what it changes in the index. Pure.

Follows https://atproto.com/specs/repository ("CAR file serialization"): a commit block signed by
the account and the tree below it, walked to the end. What the index holds and the repo does not is
deleted; what it holds under another CID is replaced; what came live after the repo's rev stays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import libipld

from atdata_indexer.errors import CommitError
from atdata_indexer.fold import Changes, Repo, Row, State, apply_row
from atdata_indexer.mst import MAX_DEPTH, Leaf, open_node
from atdata_indexer.repo import Blocks, read_roots
from atdata_indexer.verify import data_root, verify_signature
from atdata_schemas.records import KINDS
from atdata_schemas.syntax import cid_text, is_record_key, is_tid


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The records of our collections in a repo at `rev`: block by (collection, rkey), with CID."""

    did: str
    rev: str
    data: str
    records: Mapping[tuple[str, str], tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Held:
    """What the index holds of one record."""

    collection: str
    rkey: str
    cid: str | None
    order: tuple[str, int]
    state: State


def read_snapshot(car: bytes, did: str, key: str | None) -> Snapshot:
    """The snapshot in a CAR from `com.atproto.sync.getRepo`.

    Raises CommitError when it is cut off, altered, another account's or not signed with `key`;
    without a key, signatures are not asked for.
    """
    root, blocks = read_roots(car)
    block = blocks.get(root)
    if block is None:
        raise CommitError("commit-block", "the CAR lacks its commit block")
    data = data_root(block) if key is None else verify_signature(block, key)
    claims = libipld.decode_dag_cbor(block)
    rev = claims.get("rev")
    if claims.get("did") != did or not isinstance(rev, str) or not is_tid(rev):
        raise CommitError("commit-block", "the commit block is another repo's")
    records: dict[tuple[str, str], tuple[str, bytes]] = {}
    for leaf in _leaves(blocks, data):
        collection, _, rkey = leaf.key.decode("utf-8", "replace").partition("/")
        if collection in KINDS and is_record_key(rkey):
            held = blocks.get(leaf.value)
            if held is None:
                raise CommitError("missing-block", f"the CAR lacks the record {collection}/{rkey}")
            records[collection, rkey] = (cid_text(leaf.value), held)
    return Snapshot(did, rev, cid_text(data), records)


def fold_snapshot(snapshot: Snapshot, repo: Repo, held: Mapping[str, Held]) -> Changes:
    """What a snapshot changes, given all that is held of its repo by URI.

    The repo ends at the snapshot's rev and is in step again, unless the snapshot is older than what
    is known: then it fills in what was missing, and another must be fetched.
    """
    changes = Changes()
    changes.counts["snapshots"] += 1
    if repo.rev is None or repo.rev <= snapshot.rev:
        changes.repos[repo.did] = replace(repo, rev=snapshot.rev, data=snapshot.data, sync="active")
        changes.healed.add(repo.did)
    uris = {f"at://{repo.did}/{c}/{r}": (c, r) for c, r in snapshot.records}
    for uri, place in uris.items():
        cid, block = snapshot.records[place]
        known = held.get(uri)
        if known is not None and (known.order[0] > snapshot.rev or _same(known, cid)):
            continue
        row = _row(repo.did, uri, place, cid, snapshot.rev)
        apply_row(changes, row, "create" if known is None else "update", block)
    for uri, known in held.items():
        if uri not in uris and known.state != "deleted" and known.order[0] <= snapshot.rev:
            place = known.collection, known.rkey
            apply_row(changes, _row(repo.did, uri, place, None, snapshot.rev), "delete", None)
    return changes


def _same(known: Held, cid: str) -> bool:
    return known.cid == cid and known.state != "deleted"


def _row(did: str, uri: str, place: tuple[str, str], cid: str | None, rev: str) -> Row:
    collection, rkey = place
    return Row(
        uri=uri,
        did=did,
        collection=collection,
        rkey=rkey,
        kind=KINDS[collection],
        cid=cid,
        rev=rev,
        op_index=0,
        state="deleted",
        verified=True,
    )


def _leaves(blocks: Blocks, root: bytes) -> Iterator[Leaf]:
    """Every leaf of a tree, in order, without recursion. Raises CommitError for a broken one."""
    waiting: list[tuple[Leaf | bytes, int]] = [(root, 0)]
    previous = b""
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, Leaf):
            if item.key <= previous:
                raise CommitError("mst", "the keys of the tree are not in order")
            previous = item.key
            yield item
            continue
        if depth > MAX_DEPTH:
            raise CommitError("mst", "the tree is too deep")
        node = open_node(blocks, item)
        below: list[tuple[Leaf | bytes, int]] = [
            (inner if isinstance(inner, Leaf) else inner.cid, depth + 1) for inner in node
        ]
        waiting.extend(reversed(below))
