"""Repos made up for measuring: real trees, real signatures, commits as a PDS announces them.

Follows https://atproto.com/specs/repository. A commit carries the tree nodes it made and those that
prove its ops: the paths to each key and to its neighbours, in the new tree. Trees are built anew
for every commit, which is fine for some hundred records.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import pairwise
from typing import Any, Literal

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

type Action = Literal["create", "update", "delete"]
CID_PREFIX = b"\x01\x71\x12\x20"
_TID_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
_ORDERS = {
    "secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}


def tid(us: int, clock: int) -> str:
    """The TID of `us` microseconds after the epoch and ten bits of clock id."""
    number = us << 10 | clock
    return "".join([_TID_ALPHABET[number >> shift & 31] for shift in range(60, -1, -5)])


def encode(value: Any) -> bytes:
    """Canonical DAG-CBOR."""
    return cbor2.dumps(value, canonical=True)


def link(cid: bytes) -> cbor2.CBORTag:
    """A CID as the data model writes it."""
    return cbor2.CBORTag(42, b"\0" + cid)


def cid_of(block: bytes) -> bytes:
    """The binary CID of a DAG-CBOR block."""
    return CID_PREFIX + sha256(block).digest()


def car(root: bytes, blocks: Mapping[bytes, bytes]) -> bytes:
    """A CAR v1 of blocks by their CID."""
    header = b"\xa2eroots\x81" + _link(root) + b"gversion\x01"
    parts = [_varint(len(header)), header]
    for cid, block in blocks.items():
        parts += (_varint(len(cid) + len(block)), cid, block)
    return b"".join(parts)


def node(left: bytes | None, entries: Iterable[bytes]) -> bytes:
    """The block of a tree node, from its left subtree and encoded entries."""
    packed = list(entries)
    return b"".join([b"\xa2ae", _head(4, len(packed)), *packed, b"al", _link(left)])


def entry(shared: int, rest: bytes, value: bytes, right: bytes | None) -> bytes:
    """One encoded entry of a tree node."""
    key = _head(2, len(rest)) + rest
    return b"".join(
        (b"\xa4ak", key, b"ap", _head(0, shared), b"at", _link(right), b"av", _link(value))
    )


class Tree:
    """The Merkle search tree of a repo."""

    def __init__(self, records: Mapping[str, bytes]) -> None:
        self._keys = sorted(path.encode() for path in records)
        items = [(key, _height(key), records[key.decode()]) for key in self._keys]
        self._nodes: list[tuple[bytes, bytes, bytes]] = []
        self.blocks: dict[bytes, bytes] = {}
        if items:
            self.root = self._build(items, max(height for _, height, _ in items))
        else:
            self.root = self._add(node(None, []))

    def proof(self, paths: Iterable[str]) -> dict[bytes, bytes]:
        """The nodes on the way to each key and to the keys beside it."""
        sought: set[bytes] = set()
        for path in paths:
            key = path.encode()
            at = bisect_left(self._keys, key)
            sought.add(key)
            sought.update(self._keys[max(0, at - 1) : at + 2])
        return {
            cid: self.blocks[cid]
            for low, high, cid in self._nodes
            if any(low <= key <= high for key in sought)
        }

    def _build(self, items: Sequence[tuple[bytes, int, bytes]], height: int) -> bytes:
        here = [at for at, item in enumerate(items) if item[1] == height]
        entries = []
        before = b""
        for at, end in pairwise([*here, len(items)]):
            key, _, value = items[at]
            shared = _shared(before, key)
            right = self._build(items[at + 1 : end], height - 1) if end > at + 1 else None
            entries.append(entry(shared, key[shared:], value, right))
            before = key
        first = items[: here[0]] if here else items
        cid = self._add(node(self._build(first, height - 1) if first else None, entries))
        self._nodes.append((items[0][0], items[-1][0], cid))
        return cid

    def _add(self, block: bytes) -> bytes:
        cid = cid_of(block)
        self.blocks[cid] = block
        return cid


@dataclass(frozen=True, slots=True)
class Write:
    """A wanted change of one record; `record` in CBOR terms, None to delete."""

    action: Action
    path: str
    record: Mapping[str, Any] | None = None


class Repo:
    """One account's repo and its signing key, from before the first commit of the stream on."""

    def __init__(
        self, did: str, key: ec.EllipticCurvePrivateKey, rev: str, records: Mapping[str, bytes]
    ) -> None:
        self.did = did
        self.key = key
        self.rev = rev
        self.records = dict(records)
        self._tree = Tree(self.records)

    def commit(self, rev: str, writes: Sequence[Write]) -> dict[str, Any]:
        """Apply writes; the fields of their `#commit` event, but for `seq` and `time`."""
        ops, blocks = [], {}
        for write in writes:
            op: dict[str, Any] = {"action": write.action, "path": write.path, "cid": None}
            if write.action != "create":
                op["prev"] = link(self.records.pop(write.path))
            if write.record is not None:
                block = encode(write.record)
                cid = self.records[write.path] = cid_of(block)
                blocks[cid] = block
                op["cid"] = link(cid)
            ops.append(op)
        before, self._tree = self._tree, Tree(self.records)
        made = {cid: block for cid, block in self._tree.blocks.items() if cid not in before.blocks}
        blocks = made | self._tree.proof(write.path for write in writes) | blocks
        since, self.rev = self.rev, rev
        signed = sign(self.key, self.did, rev, self._tree.root)
        return event(self.did, rev, since, signed, blocks, ops, before.root)


def event(
    did: str,
    rev: str,
    since: str,
    signed: bytes,
    blocks: Mapping[bytes, bytes],
    ops: Sequence[Mapping[str, Any]],
    data_before: bytes,
) -> dict[str, Any]:
    """The fields of a `#commit` event, but for `seq` and `time`."""
    cid = cid_of(signed)
    return {
        "repo": did,
        "rev": rev,
        "since": since,
        "commit": link(cid),
        "blocks": car(cid, {cid: signed, **blocks}),
        "ops": ops,
        "prevData": link(data_before),
        "rebase": False,
        "tooBig": False,
        "blobs": [],
    }


def sign(key: ec.EllipticCurvePrivateKey, did: str, rev: str, data: bytes) -> bytes:
    """The commit block of a tree, signed with the low one of the two possible `s`."""
    signature = key.sign(
        encode(_unsigned(did, rev, data)), ec.ECDSA(SHA256(), deterministic_signing=True)
    )
    r, s = decode_dss_signature(signature)
    s = min(s, _ORDERS[key.curve.name] - s)
    return commit_block(did, rev, data, r.to_bytes(32) + s.to_bytes(32))


def commit_block(did: str, rev: str, data: bytes, signature: bytes) -> bytes:
    """A commit block with any signature."""
    return encode(_unsigned(did, rev, data) | {"sig": signature})


def _unsigned(did: str, rev: str, data: bytes) -> dict[str, Any]:
    return {"did": did, "rev": rev, "data": link(data), "prev": None, "version": 3}


@cache
def _height(key: bytes) -> int:
    """How high in the tree a key stands: pairs of leading zero bits of its hash."""
    return (256 - int.from_bytes(sha256(key).digest()).bit_length()) // 2


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes two keys begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _link(cid: bytes | None) -> bytes:
    return b"\xf6" if cid is None else b"\xd8\x2aX\x25\x00" + cid


def _head(major: int, length: int) -> bytes:
    """The head of a CBOR item of at most 65,535."""
    if length < 24:
        return bytes((major << 5 | length,))
    if length < 256:
        return bytes((major << 5 | 24, length))
    return bytes((major << 5 | 25,)) + length.to_bytes(2)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
