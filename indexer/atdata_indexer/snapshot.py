"""A whole repo as its PDS gave it, and what it changes in the index. Pure.

Follows https://atproto.com/specs/repository ("CAR file serialization"): a commit block signed by
the account and the tree below it, walked to the end. What the index holds and the repo does not is
deleted; what it holds under another CID is replaced; what came live after the repo's rev stays.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import libipld

from atdata_indexer.changes import Changes, Held, Repo, Row
from atdata_indexer.errors import CommitError, RecordError
from atdata_indexer.fetch import Listing
from atdata_indexer.limits import DEFAULTS, Limits
from atdata_indexer.mst import MAX_DEPTH, Leaf, open_node
from atdata_indexer.repo import Blocks, block_cid, cid_text, read_roots, write_record
from atdata_indexer.rows import apply_row
from atdata_indexer.verify import data_root, verify_signature
from atdata_schemas.records import COLLECTIONS
from atdata_schemas.syntax import is_cid, is_record_key, is_tid


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The records of our collections in a repo at `rev`: block by (collection, rkey), with CID.

    A record that is not what its CID says comes as the reason. `data` is the CID of the tree's
    root, None where only the records were asked for. `verified` says whether all of it was signed
    by the account.
    """

    did: str
    rev: str
    data: str | None
    records: Mapping[tuple[str, str], tuple[str, bytes | RecordError]]
    verified: bool = False


def read_snapshot(
    car: bytes, did: str, key: str | None, collections: Container[str] = COLLECTIONS
) -> Snapshot:
    """The snapshot in a CAR from `com.atproto.sync.getRepo`, as far as it is in `collections`.

    Raises CommitError when it is cut off, altered, another account's or not signed with `key`;
    without a key, signatures are not asked for.
    """
    root, blocks = read_roots(car)
    block = blocks.get(root)
    if block is None:
        raise CommitError("commit-block", "the CAR lacks its commit block")
    data = data_root(block) if key is None else verify_signature(block, key)
    try:
        claims = libipld.decode_dag_cbor(block)
    except ValueError as error:
        raise CommitError("commit-block", f"the commit block is not DAG-CBOR: {error}") from error
    rev = claims.get("rev")
    if claims.get("did") != did or not isinstance(rev, str) or not is_tid(rev):
        raise CommitError("commit-block", "the commit block is another repo's")
    records: dict[tuple[str, str], tuple[str, bytes | RecordError]] = {}
    for leaf in _leaves(blocks, data):
        collection, _, rkey = leaf.key.decode("utf-8", "replace").partition("/")
        if collection in collections and is_record_key(rkey):
            held = blocks.get(leaf.value)
            if held is None:
                raise CommitError("missing-block", f"the CAR lacks the record {collection}/{rkey}")
            records[collection, rkey] = (cid_text(leaf.value), held)
    return Snapshot(did, rev, cid_text(data), records, verified=key is not None)


def read_listing(listing: Listing, did: str) -> Snapshot:
    """The snapshot in the records that `listRecords` gave. Raises CommitError for another's."""
    records: dict[tuple[str, str], tuple[str, bytes | RecordError]] = {}
    for entry in listing.entries:
        uri, cid = str(entry.get("uri")), entry.get("cid")
        owner, _, place = uri.removeprefix("at://").partition("/")
        collection, _, rkey = place.partition("/")
        known = owner == did and collection in COLLECTIONS and is_record_key(rkey)
        if not known or not isinstance(cid, str) or not is_cid(cid):
            raise CommitError("listing", "the list holds what is no record of this repo")
        records[collection, rkey] = cid, read_listed(entry.get("value"), cid)
    return Snapshot(did, listing.rev, None, records)


def read_listed(record: Any, cid: str) -> bytes | RecordError:
    """The block of a record that came as JSON, or why it is not what its CID says."""
    try:
        block = write_record(record)
    except ValueError as error:
        return RecordError("data-model", str(error))
    if block_cid(block) != cid:
        return RecordError("hash", "the record is not what its CID says")
    return block


def fold_snapshot(
    snapshot: Snapshot, repo: Repo, held: Mapping[str, Held], limits: Limits = DEFAULTS
) -> Changes:
    """What a snapshot changes, given all that is held of its repo by URI.

    The repo ends at the snapshot's rev and is in step again, unless the snapshot is older than what
    is known: then it fills in what was missing, and another must be fetched. One that is older than
    a tombstone that was forgotten could bring a deleted record back, and changes nothing.
    """
    changes = Changes()
    changes.counts["snapshots"] += 1
    if repo.pruned_rev is not None and snapshot.rev < repo.pruned_rev:
        changes.counts["snapshots_too_old"] += 1
        return changes
    if repo.rev is None or repo.rev <= snapshot.rev:
        changes.repos[repo.did] = replace(repo, rev=snapshot.rev, data=snapshot.data, sync="active")
        changes.healed.add(repo.did)
        changes.in_step.add(repo.did)
    uris = {f"at://{repo.did}/{c}/{r}": (c, r) for c, r in snapshot.records}
    # Deletes first: they make room for what comes.
    for uri, known in held.items():
        if uri not in uris and known.state != "deleted" and known.order[0] <= snapshot.rev:
            row = _row(snapshot, uri, (known.collection, known.rkey), None)
            apply_row(changes, row, "delete", None, known, repo, limits)
    for uri, place in uris.items():
        cid, block = snapshot.records[place]
        before = held.get(uri)
        if before is not None and (before.order[0] > snapshot.rev or _same(before, cid, snapshot)):
            continue
        row = _row(snapshot, uri, place, cid)
        if before is not None and before.state == "deferred" and before.cid == cid:
            # It is no newer than it was, and when there is no room yet nothing changes.
            row = replace(row, rev=before.order[0], op_index=before.order[1])
        action = "create" if before is None else "update"
        apply_row(changes, row, action, block, before, repo, limits)
    return changes


def _same(known: Held, cid: str, snapshot: Snapshot) -> bool:
    """Whether a record is held as the snapshot has it, and known to be its author's as well."""
    as_sure = known.verified >= snapshot.verified
    return known.cid == cid and known.state in ("live", "invalid") and as_sure


def _row(snapshot: Snapshot, uri: str, place: tuple[str, str], cid: str | None) -> Row:
    collection, rkey = place
    return Row(
        uri=uri,
        did=snapshot.did,
        collection=collection,
        rkey=rkey,
        kind=COLLECTIONS[collection],
        cid=cid,
        rev=snapshot.rev,
        op_index=0,
        state="deleted",
        verified=snapshot.verified,
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
