"""Accounts that publish what this project indexes: repos really signed, and who they are."""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any

import libipld
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from atdata_schemas.records import DATASET_NSID, LENS_NSID, SCHEMA_NSID
from atdata_schemas.syntax import format_micros
from benchmarks.records import LIKE, Writer
from benchmarks.repos import Repo, Write, encode, tid

_HISTORY = 150
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_KINDS = {DATASET_NSID: 0.7, SCHEMA_NSID: 0.15, LENS_NSID: 0.15}
_UPDATES = 0.2
"""This share of the commits changes a record that is there; the others make one."""


class Authors:
    """So many authors. Every other one signs with secp256k1, the rest with P-256."""

    def __init__(self, count: int, now_us: int, seed: int = 7) -> None:
        random = self._random = Random(seed)
        self._us = now_us
        dids = ["did:plc:" + "".join(random.choices(_BASE32, k=24)) for _ in range(count)]
        self._write = Writer(random, dids)
        self._schemas: list[str] = []
        self.records = 0
        """How many records the commits so far have made."""
        self.repos = [self._repo(number, did) for number, did in enumerate(dids)]

    def frames(self, seqs: Iterable[int]) -> Iterator[bytes]:
        """The frames of commits of one record each: first a schema of everybody's, then any."""
        for number, seq in enumerate(seqs):
            if number < len(self.repos):
                repo, path = self.repos[number], self._new(SCHEMA_NSID)
                self._schemas.append(f"at://{repo.did}/{path}")
                write = Write("create", path, self._record(SCHEMA_NSID))
            else:
                repo = self._random.choice(self.repos)
                write = self._change(repo)
            yield self._commit(seq, repo, write)

    def _change(self, repo: Repo) -> Write:
        random = self._random
        collection = random.choices(list(_KINDS), list(_KINDS.values()))[0]
        mine = [path for path in repo.records if path.startswith(collection + "/")]
        if mine and random.random() < _UPDATES:
            return Write("update", random.choice(mine), self._record(collection))
        return Write("create", self._new(collection), self._record(collection))

    def publish(self, seq: int, repo: Repo, name: str, now_us: int) -> bytes:
        """The frame in which an author publishes a dataset called `name`, now."""
        self._us = max(self._us, now_us)
        record = self._record(DATASET_NSID) | {"name": name}
        return self._commit(seq, repo, Write("create", self._new(DATASET_NSID), record))

    def _repo(self, number: int, did: str) -> Repo:
        random = self._random
        curve = ec.SECP256R1() if number % 2 else ec.SECP256K1()
        key = ec.derive_private_key(random.getrandbits(255) + 1, curve)
        past = [self._us - 1_000_000 - random.getrandbits(44) for _ in range(_HISTORY)]
        likes = {f"{LIKE}/{tid(us, random.getrandbits(10))}": self._write.cid() for us in past}
        return Repo(did, key, tid(self._us, 0), likes)

    def _new(self, collection: str) -> str:
        self._us += 1
        return f"{collection}/{tid(self._us, self._random.getrandbits(10))}"

    def _record(self, collection: str) -> dict[str, Any]:
        return self._write.indexed(collection, self._us, self._schemas)

    def _commit(self, seq: int, repo: Repo, write: Write) -> bytes:
        self._us += 1
        self.records += write.action == "create"
        body = repo.commit(tid(self._us, self._random.getrandbits(10)), [write])
        return frame("#commit", body, seq, self._us)


def frame(kind: str, body: dict[str, Any], seq: int, us: int) -> bytes:
    """The frame of an event, with the fields that the relay adds."""
    time = format_micros(us)[:-4] + "Z"
    return encode({"op": 1, "t": kind}) + encode(body | {"seq": seq, "time": time})


def multibase(repo: Repo) -> str:
    """The public key as the DID document of its account has it."""
    prefix = b"\xe7\x01" if repo.key.curve.name == "secp256k1" else b"\x80\x24"
    point = repo.key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return str(libipld.encode_multibase("z", prefix + point))


def identities(repos: Sequence[Repo], host: str) -> dict[str, Any]:
    """What a PLC directory says of some accounts, whose PDS is `host`."""
    return {repo.did: _identity(repo, host) for repo in repos}


def _identity(repo: Repo, host: str) -> dict[str, Any]:
    handle = f"{repo.did[8:20]}.test"
    method = {"id": f"{repo.did}#atproto", "publicKeyMultibase": multibase(repo)}
    service = {
        "id": "#atproto_pds",
        "type": "AtprotoPersonalDataServer",
        "serviceEndpoint": f"http://{host}",
    }
    document = {
        "id": repo.did,
        "alsoKnownAs": [f"at://{handle}"],
        "verificationMethod": [method],
        "service": [service],
    }
    return {"handle": handle, "didDoc": document}
