"""Whether a commit is its author's, and does what it says. Pure, given the account's key.

Follows https://atproto.com/specs/sync ("Commit validation"): the signature over the commit block,
for every op a proof in the tree (there, under that CID; or no longer there), and, where the commit
names the tree it began from, the ops undone one by one until that tree's root comes out. The last
shows that no op was left out.
"""

from collections.abc import Mapping
from typing import Any

import cbor2

from atdata_indexer.errors import CommitError
from atdata_indexer.frames import Commit
from atdata_indexer.keys import parse_key
from atdata_indexer.mst import Mst
from atdata_indexer.repo import Blocks

VERSION = 3
"""The only version of the repository format there is to read."""


def verify_commit(commit: Commit, blocks: Blocks, key: str) -> bytes:
    """Check a commit whose blocks were opened; returns the CID of its tree's root.

    Raises CommitError (reasons: `commit-block`, `key`, `signature`, `mst`, `proof`, `prev-data`).
    """
    data = verify_signature(blocks[commit.cid], key)
    try:
        _verify_ops(commit, blocks, data)
    except RecursionError as error:
        raise CommitError("mst", "the tree is too deep") from error
    return data


def verify_signature(block: bytes, key: str) -> bytes:
    """Check the signature of a commit block; returns the CID of the tree's root.

    `key` is the account's `publicKeyMultibase`. Raises CommitError.
    """
    fields = _fields(block)
    signature = fields.pop("sig")
    try:
        signer = parse_key(key)
    except ValueError as error:
        raise CommitError("key", f"the account's signing key cannot be used: {error}") from error
    if not signer.signed(signature, cbor2.dumps(fields, canonical=True)):
        raise CommitError("signature", "the commit is not signed with the account's key")
    data: bytes = fields["data"].value[1:]
    return data


def data_root(block: bytes) -> bytes:
    """The CID of the tree's root that a commit block names, unverified. Raises CommitError."""
    data: bytes = _fields(block)["data"].value[1:]
    return data


def _verify_ops(commit: Commit, blocks: Blocks, data: bytes) -> None:
    tree = Mst(blocks, data)
    for op in commit.ops:
        held = tree.get(f"{op.collection}/{op.rkey}".encode())
        if held != (None if op.action == "delete" else op.cid):
            raise CommitError("proof", f"ops[{op.index}] is not what the tree holds")
    if commit.prev_data is None:
        return
    for edit in reversed(commit.edits):
        if edit.action == "create":
            tree.remove(edit.key)
        elif edit.prev is None:
            raise CommitError("prev-data", "an op does not say what it replaces")
        else:
            tree.put(edit.key, edit.prev)
    if tree.cid() != commit.prev_data:
        raise CommitError("prev-data", "undone, the ops do not lead back to where it began")


def _fields(block: bytes) -> dict[str, Any]:
    """The fields of a commit block, as cbor2 has them. Raises CommitError unless well formed."""
    try:
        fields: Mapping[str, Any] = cbor2.loads(block, max_depth=8)
        link, signature, version = fields["data"], fields["sig"], fields["version"]
    except (cbor2.CBORDecodeError, ValueError, KeyError, TypeError) as error:
        raise CommitError("commit-block", "the commit block lacks a field") from error
    shaped = isinstance(link, cbor2.CBORTag) and link.tag == 42 and isinstance(link.value, bytes)
    if not shaped or not isinstance(signature, bytes) or version != VERSION:
        raise CommitError("commit-block", "the commit block is not one of a version 3 repository")
    return dict(fields)
