"""Frames, commits, CARs and records made to order, with real CIDs; and the recorded ones.

The commit block is complete but for two things: its tree is empty and its signature is zeros. What
is made here therefore suits whatever verifies neither.
"""

import gzip
import json
import struct
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import cbor2

from atdata_indexer.frames import Action, Commit, Decoder
from atdata_indexer.playback import RECORDING
from atdata_indexer.repo import open_commit, read_record
from atdata_indexer.sources.replay import read_recording
from atdata_schemas.syntax import cid_text, format_micros
from tests.fixtures.catalogue import COLLECTIONS, Json, as_bytes

SCHEMA, DATASET, LENS = (COLLECTIONS[kind] for kind in ("schema", "dataset", "lens"))
POST = "app.bsky.feed.post"

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
OTHER_DID = "did:plc:z72i7hdynmk6r22z27h6tvur"
RKEY = "3lk4xw3xkbh22"
SCHEMA_URI = f"at://{DID}/{SCHEMA}/3lhzqk2mfd22s"

START_US = 1_748_736_000_000_000
"""2025-06-01T00:00:00Z: the time of `rev(0)`, and of every frame and record."""

NOW_US = START_US + 30 * 86_400 * 1_000_000
"""A clock that stands a month later, after every `rev` a test is likely to use."""

_TID_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"

type Block = Json | bytes
"""A record in its JSON form, or the very bytes of its block."""

type Write = tuple[Action, str, Block | None]
"""An action, the path it is done at, and the record (None: there is none)."""


class Everyone:
    """Holds every DID: what a decoder that lets nothing by takes for `tracked`."""

    def __contains__(self, did: object) -> bool:
        return True


# --- identifiers ------------------------------------------------------------------------------


def tid(us: int, clock: int = 0) -> str:
    """The TID of a moment in microseconds since the epoch."""
    number = us << 10 | clock
    return "".join(_TID_ALPHABET[number >> shift & 31] for shift in range(60, -1, -5))


def rev(number: int) -> str:
    """The rev of a commit made `number` seconds after START_US."""
    return tid(START_US + number * 1_000_000)


def cid(block: bytes) -> bytes:
    """The binary CID of a DAG-CBOR block."""
    return b"\x01\x71\x12\x20" + sha256(block).digest()


def link(target: bytes) -> cbor2.CBORTag:
    """A binary CID as a link of the data model."""
    return cbor2.CBORTag(42, b"\0" + target)


# --- blocks -----------------------------------------------------------------------------------


def encode(value: object) -> bytes:
    """A value as canonical DAG-CBOR."""
    return cbor2.dumps(value, canonical=True)


def block_of(record: Block) -> bytes:
    """The block of a record in JSON form: `{"$bytes"}` and `{"$link"}` become what they stand for.

    Bytes are taken as the block itself.
    """
    return record if isinstance(record, bytes) else encode(_from_json(record))


def _from_json(value: Any) -> object:
    match value:
        case {"$bytes": str() as text}:
            return b64decode(text + "=" * (-len(text) % 4))
        case {"$link": str() as text}:
            return link(_cid_of(text))
        case dict():
            return {name: _from_json(item) for name, item in value.items()}
        case list():
            return [_from_json(item) for item in value]
        case _:
            return value


def _cid_of(text: str) -> bytes:
    number = 0
    for character in text[1:]:
        number = number << 5 | "abcdefghijklmnopqrstuvwxyz234567".index(character)
    raw = (number >> (len(text) - 1) * 5 % 8).to_bytes((len(text) - 1) * 5 // 8)
    assert cid_text(raw) == text
    return raw


def car(blocks: Iterable[bytes], root: bytes | None = None) -> bytes:
    """A CAR v1 of these blocks, each under its own CID."""
    return car_of(((cid(block), block) for block in blocks), root)


def car_of(pairs: Iterable[tuple[bytes, bytes]], root: bytes | None = None) -> bytes:
    """A CAR v1 of blocks under the CIDs they are said to have."""
    header = encode({"version": 1, "roots": [] if root is None else [link(root)]})
    return section(header) + b"".join(section(name + block) for name, block in pairs)


def section(content: bytes) -> bytes:
    """Content behind its length, as a CAR has it."""
    return varint(len(content)) + content


def varint(number: int) -> bytes:
    """An unsigned LEB128 number."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


# --- frames -----------------------------------------------------------------------------------


def frame(header: object, body: object) -> bytes:
    """One message of the stream: header and body."""
    return encode(header) + encode(body)


def event(kind: str, **body: object) -> bytes:
    """A message of a kind, such as `#commit`."""
    return frame({"op": 1, "t": kind}, body)


def commit_frame(
    seq: int,
    did: str = DID,
    rev: str = rev(0),
    since: str | None = None,
    ops: Sequence[Write] = (),
    *,
    signed: Mapping[str, object] | None = None,
    body: Mapping[str, object] | None = None,
    leave_out: Iterable[bytes] = (),
) -> bytes:
    """A `#commit`. `signed` changes the commit block, `body` the event, before it is encoded.

    The blocks (not the CIDs) in `leave_out` are missing from the CAR.
    """
    tree = encode({"e": [], "l": None})
    block = encode(
        {
            "did": did,
            "rev": rev,
            "data": link(cid(tree)),
            "prev": None,
            "version": 3,
            "sig": bytes(64),
        }
        | dict(signed or {})
    )
    records = [None if record is None else block_of(record) for _, _, record in ops]
    blocks = [block, tree, *(record for record in records if record is not None)]
    missing = set(leave_out)
    fields: dict[str, object] = {
        "seq": seq,
        "repo": did,
        "rev": rev,
        "since": since,
        "commit": link(cid(block)),
        "blocks": car((block for block in blocks if block not in missing), cid(block)),
        "ops": [
            {"action": action, "path": path, "cid": None if record is None else link(cid(record))}
            for (action, path, _), record in zip(ops, records, strict=True)
        ],
        "time": format_micros(START_US),
        "rebase": False,
        "tooBig": False,
        "blobs": [],
    }
    return event("#commit", **fields | dict(body or {}))


def commit(
    seq: int,
    did: str = DID,
    rev: str = rev(0),
    since: str | None = None,
    ops: Sequence[Write] = (),
    **changes: Any,
) -> Commit:
    """The same, decoded."""
    _, found = Decoder(Everyone()).decode(commit_frame(seq, did, rev, since, ops, **changes))
    assert isinstance(found, Commit), found
    return found


def account_frame(
    seq: int, did: str = DID, active: bool = True, status: str | None = None
) -> bytes:
    """An `#account`."""
    why = {} if status is None else {"status": status}
    return event("#account", seq=seq, did=did, active=active, time=format_micros(START_US), **why)


def identity_frame(seq: int, did: str = DID, handle: str | None = None) -> bytes:
    """An `#identity`."""
    name = {} if handle is None else {"handle": handle}
    return event("#identity", seq=seq, did=did, time=format_micros(START_US), **name)


def sync_frame(seq: int, did: str = DID, rev: str = rev(0)) -> bytes:
    """A `#sync`, with the commit block alone as its CAR."""
    block = encode({"did": did, "rev": rev, "version": 3, "sig": bytes(64)})
    return event(
        "#sync",
        seq=seq,
        did=did,
        rev=rev,
        blocks=car([block], cid(block)),
        time=format_micros(START_US),
    )


def info_frame(name: str, message: str = "") -> bytes:
    """An `#info`, which has no seq."""
    return event("#info", name=name, message=message)


def error_frame(error: str, message: str = "") -> bytes:
    """The last message before the source closes the connection."""
    return frame({"op": -1}, {"error": error, "message": message})


def write_recording(path: Path, frames: Iterable[bytes]) -> Path:
    """A recording of these frames, gzipped when the name ends in `.gz`."""
    packed = b"".join(struct.pack(">I", len(item)) + item for item in frames)
    path.write_bytes(gzip.compress(packed, mtime=0) if path.suffix == ".gz" else packed)
    return path


# --- records ----------------------------------------------------------------------------------


def schema(**changes: Any) -> Json:
    """A valid schema record with these properties changed."""
    record: Json = {
        "$type": SCHEMA,
        "name": "LabeledImage",
        "version": "1.0.0",
        "description": "An image and what is on it.",
        "fields": [
            {
                "name": "image",
                "type": {"kind": "ndarray", "dtype": "uint8", "shape": [None, None, 3]},
            },
            {"name": "label", "type": {"kind": "primitive", "primitive": "str"}, "optional": True},
            {"name": "source", "type": {"kind": "nested", "schemaRef": SCHEMA_URI}},
        ],
        "createdAt": format_micros(START_US),
    }
    return record | changes


def dataset(**changes: Any) -> Json:
    """A valid dataset record with these properties changed."""
    record: Json = {
        "$type": DATASET,
        "name": "Frogs after rain",
        "schemaRef": SCHEMA_URI,
        "urls": ["s3://frogs/rain-{000000..000011}.tar"],
        "description": "Calls recorded in the wet season.",
        "metadata": as_bytes(b"\x81\xa4site\xa4pond"),
        "tags": ["frogs", "audio"],
        "size": {"samples": 4096, "bytes": 9_000_000},
        "license": "CC-BY-4.0",
        "createdAt": format_micros(START_US),
    }
    return record | changes


def lens(**changes: Any) -> Json:
    """A valid lens record with these properties changed."""
    record: Json = {
        "$type": LENS,
        "name": "crop",
        "sourceSchema": SCHEMA_URI,
        "targetSchema": f"at://{OTHER_DID}/{SCHEMA}/3lhzqk2mfd22t",
        "getterCode": {"kind": "python", "source": "def get(s):\n    return s\n"},
        "putterCode": {
            "kind": "reference",
            "repository": "https://git.example/lenses",
            "commit": "2f6b1f0c",
            "path": "crop.py",
        },
        "createdAt": format_micros(START_US),
    }
    return record | changes


def without(record: Json, *names: str) -> Json:
    """The record without these properties."""
    return {name: value for name, value in record.items() if name not in names}


# --- the recording ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """One version of a recorded record; `fault` is the (rule, path) it is known to break.

    Known of the last version of each record only: `last` says whether this is it.
    """

    uri: str
    collection: str
    rkey: str
    cid: str
    record: Json
    last: bool
    fault: tuple[str, str] | None


@cache
def recorded_frames() -> tuple[bytes, ...]:
    """The frames of the recording that ships with the indexer."""
    return tuple(read_recording(RECORDING))


@cache
def recorded_records() -> tuple[Recorded, ...]:
    """Every version of every record in the recording, with what the PDS's own list says of it."""
    truth = json.loads((Path(__file__).parent / "fixtures" / "recording-truth.json").read_text())
    known = dict(truth["records"])
    for account in truth["hidden"].values():
        known |= account["records"]
    decode = Decoder(frozenset()).decode
    found = []
    for message in recorded_frames():
        _, kept = decode(message)
        if not isinstance(kept, Commit):
            continue
        blocks = open_commit(kept)
        for op in kept.ops:
            if op.action == "delete" or op.cid is None:
                continue
            uri, name = f"at://{kept.did}/{op.collection}/{op.rkey}", cid_text(op.cid)
            entry = known.get(uri, {})
            last = entry.get("cid") == name
            broken = (entry["rule"], entry["path"]) if last and not entry["valid"] else None
            record = read_record(blocks[op.cid])
            found.append(Recorded(uri, op.collection, op.rkey, name, record, last, broken))
    return tuple(found)
