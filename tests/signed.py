"""Authors whose commits are really signed and proven, for tests of what is believed."""

import itertools
from collections.abc import Mapping
from typing import Any

import libipld
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from atdata_indexer.frames import Commit, Decoder
from benchmarks.repos import Repo, Write, car, cid_of, encode, link, sign

START_US = 1_780_000_000_000_000
_TID = "234567abcdefghijklmnopqrstuvwxyz"
SEQS = itertools.count(1)
DATASET = "app.bsky.atdata.dataset"
SCHEMA_URI = "at://did:plc:schemaschemaschemaschema/app.bsky.atdata.schema/3kaaaaaaaaaa2"


def tid(number: int) -> str:
    """A TID; higher numbers come later."""
    value = (START_US + number) << 10
    return "".join(_TID[value >> 5 * at & 31] for at in range(12, -1, -1))


def record(name: str) -> dict[str, Any]:
    """A valid dataset record."""
    return {
        "$type": DATASET,
        "name": name,
        "schemaRef": SCHEMA_URI,
        "urls": ["https://data.example/x.tar"],
        "createdAt": "2026-01-02T03:04:05.678901Z",
    }


def rkey(number: int) -> str:
    return tid(10_000 + number)


def path(number: int) -> str:
    return f"{DATASET}/{rkey(number)}"


class Author:
    """An account with a repo of its own. Numbers name its records and revs."""

    def __init__(self, name: str, curve: ec.EllipticCurve | None = None) -> None:
        self.did = f"did:plc:{name:a<24}"
        self.key = ec.derive_private_key(int.from_bytes(name.encode()), curve or ec.SECP256K1())
        self.repo = Repo(self.did, self.key, tid(0), {})
        self.blocks: dict[bytes, bytes] = {}
        self.revs = itertools.count(1)

    @property
    def multibase(self) -> str:
        """The public key as a DID document has it."""
        prefix = b"\xe7\x01" if self.key.curve.name == "secp256k1" else b"\x80\x24"
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        return str(libipld.encode_multibase("z", prefix + point))

    def identity(self, host: str) -> dict[str, Any]:
        """What a PLC directory says of the account, whose PDS is `host`."""
        document = {
            "id": self.did,
            "alsoKnownAs": [f"at://{self.did[8:14]}.test"],
            "verificationMethod": [
                {"id": f"{self.did}#atproto", "publicKeyMultibase": self.multibase}
            ],
            "service": [
                {
                    "id": "#atproto_pds",
                    "type": "AtprotoPersonalDataServer",
                    "serviceEndpoint": f"http://{host}",
                }
            ],
        }
        return {"handle": f"{self.did[8:14]}.test", "didDoc": document}

    def renew_key(self) -> None:
        """Sign with another key from now on."""
        self.key = self.repo.key = ec.generate_private_key(self.key.curve)

    def write(self, *writes: Write) -> dict[str, Any]:
        """Commit; the body of its event."""
        for one in writes:
            if one.record is not None:
                block = encode(one.record)
                self.blocks[cid_of(block)] = block
        return self.repo.commit(tid(next(self.revs)), writes) | {
            "seq": next(SEQS),
            "time": "2026-05-28T20:26:40.000Z",
        }

    def create(self, *numbers: int, name: str = "Dataset") -> dict[str, Any]:
        return self.write(*(Write("create", path(n), record(f"{name} {n}")) for n in numbers))

    def update(self, number: int, name: str) -> dict[str, Any]:
        return self.write(Write("update", path(number), record(name)))

    def delete(self, number: int) -> dict[str, Any]:
        return self.write(Write("delete", path(number)))

    def car(self) -> bytes:
        """The whole repo, as `com.atproto.sync.getRepo` gives it."""
        tree = self.repo._tree
        signed = sign(self.key, self.did, self.repo.rev, tree.root)
        held = {cid: self.blocks[cid] for cid in self.repo.records.values()}
        return car(cid_of(signed), {cid_of(signed): signed, **tree.blocks, **held})

    def uris(self) -> dict[str, str]:
        """URI and CID of every record."""
        from atdata_schemas.syntax import cid_text

        return {
            f"at://{self.did}/{where}": cid_text(cid) for where, cid in self.repo.records.items()
        }


def frame(body: Mapping[str, Any]) -> bytes:
    """The frame of a `#commit` body."""
    return encode({"op": 1, "t": "#commit"}) + encode(dict(body))


class Everyone:
    """Contains every DID."""

    def __contains__(self, did: object) -> bool:
        return True


def decoded(body: Mapping[str, Any]) -> Commit:
    """The event of a `#commit` body."""
    event = Decoder(Everyone()).decode(frame(body))[1]
    assert isinstance(event, Commit), event
    return event


def with_blocks(
    body: Mapping[str, Any], blocks: Mapping[bytes, bytes], root: bytes
) -> dict[str, Any]:
    """A body with other blocks behind another commit block."""
    return dict(body) | {"blocks": car(root, dict(blocks)), "commit": link(root)}
