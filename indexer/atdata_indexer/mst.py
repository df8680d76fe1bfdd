"""The Merkle search tree of a repo, as much of it as a commit's blocks hold. Pure.

Follows https://atproto.com/specs/repository ("MST structure"). Nodes are loaded from blocks when
they are reached; a subtree whose block is missing stands for itself by its CID, which is enough
unless it has to be opened. Trees are never changed in place: edits make new ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import libipld

from atdata_indexer.errors import CommitError

MAX_DEPTH = 32
"""Deeper trees than the hash of a key can ask for in practice are refused."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One record: its key (collection/rkey) and the CID of its block."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Node:
    """One node: leaves in order, and the subtrees between them."""

    items: tuple["Leaf | Node | Stub", ...]


@dataclass(frozen=True, slots=True)
class Stub:
    """A subtree that is known by its CID and not opened."""

    cid: bytes


type Tree = Node | Stub

EMPTY = Node(())


class Mst:
    """The tree with root `cid` over `blocks`.

    Raises CommitError (reason `mst`) when a block that is needed is missing or is not a node.
    """

    def __init__(self, blocks: Mapping[bytes, bytes], cid: bytes) -> None:
        self._blocks = blocks
        self._opened: dict[bytes, Node] = {}
        self.root: Tree = Stub(cid)

    def get(self, key: bytes) -> bytes | None:
        """The CID under `key`, None when the tree shows that there is none."""
        tree: Tree | None = self.root
        for _ in range(MAX_DEPTH):
            if tree is None:
                return None
            items = self._open(tree).items
            at = _position(items, key)
            if at < len(items) and isinstance(leaf := items[at], Leaf) and leaf.key == key:
                return leaf.value
            before = items[at - 1] if at else None
            tree = before if isinstance(before, Node | Stub) else None
        raise CommitError("mst", "the tree is too deep")

    def put(self, key: bytes, value: bytes) -> None:
        """Add a key that is not there, or give one that is another value."""
        layer = layer_of(key)
        top = self._layer(self.root)
        if self._open(self.root) == EMPTY:
            self.root, top = EMPTY, layer
        if layer > top:
            left, right = self._split(self.root, key)
            for _ in range(layer - top - 1):
                left = None if left is None else Node((left,))
                right = None if right is None else Node((right,))
            self.root = _node(left, Leaf(key, value), right)
        else:
            self.root = self._put(self.root, top, key, value, layer)

    def remove(self, key: bytes) -> bytes:
        """Take a key away; returns the value it had. Raises CommitError when it is not there."""
        value = self.get(key)
        if value is None:
            raise CommitError("mst", "the tree lacks a key that an op speaks of")
        tree: Tree = self._remove(self.root, key) or EMPTY
        while (
            isinstance(tree, Node)
            and len(tree.items) == 1
            and not isinstance(only := tree.items[0], Leaf)
        ):
            tree = only
        if isinstance(tree, Stub):
            tree = self._trim(tree)
        self.root = tree
        return value

    def cid(self) -> bytes:
        """The CID of the tree as it is now."""
        return _cid(self.root)

    def _trim(self, tree: Stub) -> Tree:
        """A root never is a node with nothing but one subtree."""
        while isinstance(tree, Stub) and tree.cid in self._blocks:
            items = self._open(tree).items
            if len(items) != 1 or not isinstance(only := items[0], Stub):
                break
            tree = only
        return tree

    def _put(self, tree: Tree | None, at_layer: int, key: bytes, value: bytes, layer: int) -> Node:
        items = () if tree is None else self._open(tree).items
        at = _position(items, key)
        if at < len(items) and isinstance(leaf := items[at], Leaf) and leaf.key == key:
            return Node((*items[:at], Leaf(key, value), *items[at + 1 :]))
        between = items[at - 1] if at else None
        subtree = None if isinstance(between, Leaf) else between
        head = items[: at - 1] if subtree is not None else items[:at]
        if at_layer == layer:
            left, right = (None, None) if subtree is None else self._split(subtree, key)
            return _node(*head, left, Leaf(key, value), right, *items[at:])
        return _node(*head, self._put(subtree, at_layer - 1, key, value, layer), *items[at:])

    def _split(self, tree: Tree, key: bytes) -> tuple[Tree | None, Tree | None]:
        """What lies before `key` and what behind it."""
        items = self._open(tree).items
        at = _position(items, key)
        left, right = items[:at], items[at:]
        between = items[at - 1] if at else None
        if between is not None and not isinstance(between, Leaf):
            before, behind = self._split(between, key)
            left = (*left[:-1], *([before] if before is not None else []))
            right = (*([behind] if behind is not None else []), *right)
        return Node(left) if left else None, Node(right) if right else None

    def _remove(self, tree: Tree, key: bytes) -> Node | None:
        items = self._open(tree).items
        at = _position(items, key)
        if at < len(items) and isinstance(leaf := items[at], Leaf) and leaf.key == key:
            left = items[at - 1] if at else None
            right = items[at + 1] if at + 1 < len(items) else None
            if left is None or right is None or isinstance(left, Leaf) or isinstance(right, Leaf):
                rest = (*items[:at], *items[at + 1 :])
            else:
                rest = (*items[: at - 1], self._merge(left, right), *items[at + 2 :])
        else:
            between = items[at - 1]
            assert not isinstance(between, Leaf)  # `get` has just found the key below it
            smaller = self._remove(between, key)
            rest = (*items[: at - 1], *([] if smaller is None else [smaller]), *items[at:])
        return Node(rest) if rest else None

    def _merge(self, left: Tree, right: Tree) -> Node:
        before, behind = self._open(left).items, self._open(right).items
        last, first = before[-1], behind[0]
        if isinstance(last, Leaf) or isinstance(first, Leaf):
            return Node((*before, *behind))
        return Node((*before[:-1], self._merge(last, first), *behind[1:]))

    def _layer(self, tree: Tree) -> int:
        """How many layers lie below: what a leaf in `tree` itself has as its key's layer."""
        for above in range(MAX_DEPTH):
            items = self._open(tree).items
            for item in items:
                if isinstance(item, Leaf):
                    return layer_of(item.key) + above
            if not items:
                return above
            only = items[0]
            assert not isinstance(only, Leaf)
            tree = only
        raise CommitError("mst", "the tree is too deep")

    def _open(self, tree: Tree) -> Node:
        if isinstance(tree, Node):
            return tree
        node = self._opened.get(tree.cid)
        if node is None:
            node = self._opened[tree.cid] = Node(open_node(self._blocks, tree.cid))
        return node


def layer_of(key: bytes) -> int:
    """The layer a key belongs to: leading zero bits of its SHA-256, in pairs."""
    digest = int.from_bytes(sha256(key).digest())
    return (256 - digest.bit_length()) // 2


def open_node(blocks: Mapping[bytes, bytes], cid: bytes) -> tuple[Leaf | Stub, ...]:
    """The leaves and subtrees of the node under `cid`, in order. Raises CommitError."""
    block = blocks.get(cid)
    if block is None:
        raise CommitError("mst", "the CAR lacks a node of the tree")
    try:
        value = libipld.decode_dag_cbor(block)
        items: list[Leaf | Stub] = []
        if value["l"] is not None:
            items.append(Stub(value["l"]))
        key = b""
        for entry in value["e"]:
            previous, key = key, key[: entry["p"]] + entry["k"]
            if key <= previous or len(key) > 1024 or entry["p"] > len(previous):
                raise ValueError("keys are not in order")
            if len(entry["v"]) != 36:
                raise ValueError("a value is not a CID")
            items.append(Leaf(key, entry["v"]))
            if entry["t"] is not None:
                items.append(Stub(entry["t"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CommitError("mst", f"a block is not a node of a tree: {str(error)[:100]}") from error
    return tuple(items)


def _position(items: Sequence[Leaf | Node | Stub], key: bytes) -> int:
    """The place of the first leaf not before `key`; a subtree goes with the leaf it follows."""
    for at, item in enumerate(items):
        if isinstance(item, Leaf) and item.key >= key:
            return at
    return len(items)


def _node(*items: Leaf | Tree | None) -> Node:
    return Node(tuple(item for item in items if item is not None))


def _cid(tree: Tree) -> bytes:
    return tree.cid if isinstance(tree, Stub) else _CID_PREFIX + sha256(_block(tree)).digest()


def _block(node: Node) -> bytes:
    items = node.items
    first = items[0] if items and not isinstance(items[0], Leaf) else None
    entries: list[dict[str, bytes | int | None]] = []
    previous = b""
    for at, item in enumerate(items):
        if isinstance(item, Leaf):
            shared = _shared(previous, item.key)
            after = items[at + 1] if at + 1 < len(items) else None
            subtree = None if after is None or isinstance(after, Leaf) else _cid(after)
            entries.append({"p": shared, "k": item.key[shared:], "v": item.value, "t": subtree})
            previous = item.key
    return bytes(
        libipld.encode_dag_cbor({"l": None if first is None else _cid(first), "e": entries})
    )


def _shared(one: bytes, other: bytes) -> int:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length


_CID_PREFIX = b"\x01\x71\x12\x20"
