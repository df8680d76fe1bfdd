"""A made-up firehose: the frames of `com.atproto.sync.subscribeRepos`, and what is in them for us.

    likes, posts, follows … of many accounts    hashes, CARs and tree nodes real in form, trees and
                                                signatures random; some posts name our collections
    commits of some authors                     whole repos (see `repos`): one in three touches
                                                the indexed collections, with valid records
    #identity, #account, #sync                  now and then

The same seed gives the same bytes. Sizes, shares and the sparse `seq` are close to the network's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec

from atdata_schemas.records import DATASET_NSID, KINDS, LENS_NSID, SCHEMA_NSID
from atdata_schemas.syntax import cid_text, format_micros
from benchmarks.records import OTHERS, POST, PROFILE, Writer
from benchmarks.repos import (
    Action,
    Repo,
    Write,
    car,
    cid_of,
    commit_block,
    encode,
    entry,
    event,
    link,
    node,
    tid,
)

ONE_IN = 1000
"""Of so many frames one touches the indexed collections."""

START_US = 1_750_000_000_000_000  # June 2025
FIRST_SEQ = 9_000_000_000
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_PEOPLE = 20_000
_AUTHORS = 64
_POOL = 4096
_STATUSES = ("deactivated", "deleted", "takendown", "suspended")
_ASIDE = [collection for collection in OTHERS if collection != PROFILE]  # created at will
_WANTED = {DATASET_NSID: 0.6, SCHEMA_NSID: 0.25, LENS_NSID: 0.15}

type Share = Literal["ours", "of our authors", "naming us", "of others"]


@dataclass(frozen=True, slots=True)
class IndexedOp:
    """A change of an indexed record that a frame announces."""

    uri: str
    action: Action
    cid: str | None


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. `about` is the collection of its first op, or its type if it is no commit."""

    message: bytes
    about: str
    share: Share = "of others"
    ops: tuple[IndexedOp, ...] = ()


class Firehose:
    """One run of a stream; `frames` takes it further. `authors` are those whose repos are whole."""

    def __init__(self, seed: int = 7) -> None:
        random = self._random = Random(seed)
        self._us = START_US
        self._seq = FIRST_SEQ
        self._people = [self._did() for _ in range(_PEOPLE)]
        self._write = Writer(random, self._people)
        self._revs: dict[str, str] = {}
        self._entries = [self._entry(25) for _ in range(_POOL)]
        self._schemas: list[str] = []
        self.authors = [self._author(number) for number in range(_AUTHORS)]

    def frames(self, count: int) -> Iterator[Frame]:
        """The next `count` frames."""
        random = self._random
        for _ in range(count):
            self._us += random.randint(500, 3000)
            self._seq += 1 if random.random() < 0.97 else random.randint(2, 9)
            chance = random.random()
            if chance < 1 / ONE_IN:
                yield self._commit_of_ours()
            elif chance < 3 / ONE_IN:
                yield self._commit_of_author()
            elif chance < 0.007:
                yield self._identity()
            elif chance < 0.011:
                yield self._account()
            elif chance < 0.0112:
                yield self._sync()
            else:
                yield self._commit_of_other()

    # --- authors ------------------------------------------------------------------------------

    def _did(self) -> str:
        return "did:plc:" + "".join(self._random.choices(_BASE32, k=24))

    def _author(self, number: int) -> Repo:
        """An account with a history: posts and likes, and some indexed records."""
        random = self._random
        did = self._did()
        curve = ec.SECP256R1() if number % 4 == 0 else ec.SECP256K1()
        key = ec.derive_private_key(random.getrandbits(255) + 1, curve)
        paths = [self._path(collection, self._past()) for collection in self._others(300)]
        paths += [self._path(collection, self._past()) for collection in self._wanted(4)]
        schema = self._path(SCHEMA_NSID, self._past())
        self._schemas.append(f"at://{did}/{schema}")
        records = {path: self._write.cid() for path in [schema, *paths]}
        return Repo(did, key, tid(self._past(), 0), records)

    def _commit_of_ours(self) -> Frame:
        random = self._random
        repo = random.choice(self.authors)
        writes: list[Write] = []
        count = 1 if random.random() < 0.7 else random.randint(2, 5)
        for number, collection in enumerate(self._wanted(count)):
            if number and random.random() < 0.4:
                writes.append(self._creation(random.choice(_ASIDE), number))
            else:
                writes.append(self._change(repo, collection, number, writes))
        return self._commit(repo, writes)

    def _commit_of_author(self) -> Frame:
        repo = self._random.choice(self.authors)
        return self._commit(repo, [self._creation(self._random.choice(_ASIDE), 0)])

    def _change(self, repo: Repo, collection: str, number: int, before: Sequence[Write]) -> Write:
        """Create a record, or update or delete one of `repo` that this commit leaves alone."""
        random = self._random
        action: Action = random.choice(("create", "create", "update", "delete"))
        touched = {write.path for write in before}
        held = sorted(
            path
            for path in repo.records
            if path.startswith(collection + "/") and path not in touched
        )
        if action == "create" or not held:
            return self._creation(collection, number)
        path = random.choice(held)
        if action == "delete":
            return Write("delete", path)
        return Write("update", path, self._write.indexed(collection, self._us, self._schemas))

    def _creation(self, collection: str, number: int) -> Write:
        path = self._path(collection, self._us + number)
        if collection in KINDS:
            record = self._write.indexed(collection, self._us, self._schemas)
        else:
            record = self._write.other(collection, self._us)
        return Write("create", path, record)

    def _commit(self, repo: Repo, writes: Sequence[Write]) -> Frame:
        body = repo.commit(tid(self._us, self._random.getrandbits(10)), writes)
        ops = tuple(
            IndexedOp(
                f"at://{repo.did}/{write.path}",
                write.action,
                None if write.record is None else cid_text(repo.records[write.path]),
            )
            for write in writes
            if write.path.partition("/")[0] in KINDS
        )
        share: Share = "ours" if ops else "of our authors"
        return Frame(self._message("#commit", body), writes[0].path.partition("/")[0], share, ops)

    # --- everybody else -----------------------------------------------------------------------

    def _commit_of_other(self) -> Frame:
        random = self._random
        did = random.choice(self._people)
        rev = tid(self._us, random.getrandbits(10))
        depth = max(1, min(12, int(random.gauss(6.2, 2.4))))
        count = 1 if random.random() < 0.96 else random.randint(2, 12)
        collections = self._others(count)
        ops: list[dict[str, Any]] = []
        records: dict[bytes, bytes] = {}
        nodes: dict[bytes, bytes] = {}
        data = b""
        share: Share = "of others"
        for number, collection in enumerate(collections):
            chance = random.random()
            action: Action = "create" if chance < 0.88 else "delete" if chance < 0.98 else "update"
            path = self._path(collection, self._us + number if action == "create" else self._past())
            op: dict[str, Any] = {"action": action, "path": path, "cid": None}
            cid = None
            if action != "create":
                op["prev"] = link(self._write.cid())
            if action != "delete":
                record = self._write.other(collection, self._us)
                if collection == POST and random.random() < 0.002:
                    record["text"] = f"see {DATASET_NSID}/{path[-13:]}: {record['text']}"
                    share = "naming us"
                block = encode(record)
                cid = cid_of(block)
                records[cid] = block
                op["cid"] = link(cid)
            data = self._nodes(nodes, path, cid, depth if number == 0 else max(1, depth // 2))
            ops.append(op)
        block = commit_block(did, rev, data, random.randbytes(64))
        since = self._revs.get(did) or tid(self._past(), random.getrandbits(10))
        self._revs[did] = rev
        body = event(did, rev, since, block, nodes | records, ops, self._write.cid())
        return Frame(self._message("#commit", body), collections[0], share)

    def _nodes(self, nodes: dict[bytes, bytes], path: str, cid: bytes | None, depth: int) -> bytes:
        """Add a chain of nodes from the one that holds a key up to the root, which is returned."""
        random = self._random
        key, child = path.encode(), cid
        for level in range(depth):
            entries = random.choices(self._entries, k=min(int(random.expovariate(0.31)), 23))
            at = random.randint(0, len(entries))
            if level == 0 and child is not None:
                entries.insert(at, entry(0, key, child, None))
            else:
                entries.insert(at, entry(0, key, self._write.cid(), child))
            block = node(self._write.cid() if random.random() < 0.6 else None, entries)
            child = cid_of(block)
            nodes[child] = block
        assert child is not None
        return child

    def _entry(self, shared: int) -> bytes:
        rest = tid(self._past(), self._random.getrandbits(10)).encode()[2:]
        right = self._write.cid() if self._random.random() < 0.55 else None
        return entry(shared, rest, self._write.cid(), right)

    def _identity(self) -> Frame:
        did = self._random.choice(self._people)
        if self._random.random() < 0.1:
            did = self._random.choice(self.authors).did
        name = f"{did[8:20]}.example.com"
        return Frame(self._message("#identity", {"did": did, "handle": name}), "#identity")

    def _account(self) -> Frame:
        body = {"did": self._random.choice(self._people), "active": self._random.random() < 0.6}
        if not body["active"]:
            body["status"] = self._random.choice(_STATUSES)
        return Frame(self._message("#account", body), "#account")

    def _sync(self) -> Frame:
        did = self._random.choice(self._people)
        rev = self._revs[did] = tid(self._us, self._random.getrandbits(10))
        block = commit_block(did, rev, self._write.cid(), self._random.randbytes(64))
        cid = cid_of(block)
        body = {"did": did, "rev": rev, "blocks": car(cid, {cid: block})}
        return Frame(self._message("#sync", body), "#sync")

    # --- parts --------------------------------------------------------------------------------

    def _message(self, kind: str, body: dict[str, Any]) -> bytes:
        time = format_micros(self._us)[:-4] + "Z"
        return encode({"op": 1, "t": kind}) + encode(body | {"seq": self._seq, "time": time})

    def _past(self) -> int:
        return self._us - 1_000_000 - self._random.getrandbits(44)

    def _path(self, collection: str, us: int) -> str:
        if collection == PROFILE:
            return f"{collection}/self"
        return f"{collection}/{tid(us, self._random.getrandbits(10))}"

    def _others(self, count: int) -> list[str]:
        return self._random.choices(list(OTHERS), list(OTHERS.values()), k=count)

    def _wanted(self, count: int) -> list[str]:
        return self._random.choices(list(_WANTED), list(_WANTED.values()), k=count)
