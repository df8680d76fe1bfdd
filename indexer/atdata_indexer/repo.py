"""From the CAR of a commit to record blocks and their JSON form. Pure.

Follows https://atproto.com/specs/repository and https://atproto.com/specs/data-model. A CID is
believed only after the SHA-256 of the block's own bytes; a record only when it is canonical
DAG-CBOR within the data model, which is checked by encoding it again.
"""

from base64 import b32decode, b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256

import cbor2
import libipld

from atdata_indexer.errors import CommitError, RecordError
from atdata_indexer.frames import Commit
from atdata_schemas.lexicon import Json

MAX_RECORD_BYTES = 1_048_576
MAX_DEPTH = 64
_CID_BYTES = 36
_CBOR_PREFIX = b"\x01\x71\x12\x20"
_RAW_PREFIX = b"\x01\x55\x12\x20"
_MAX_INTEGER = 2**53 - 1

type Blocks = Mapping[bytes, bytes]
"""The blocks of a CAR by binary CID."""


def open_commit(commit: Commit) -> Blocks:
    """The blocks of a commit, hashed, behind a commit block that says what the event says.

    All or nothing: a commit that lacks the block of one of its ops is refused whole. Raises
    CommitError (reasons: `car`, `hash`, `commit-block`, `missing-block`).
    """
    blocks = read_car(commit.blocks)
    try:
        signed = libipld.decode_dag_cbor(blocks[commit.cid])
        claims = signed["did"], signed["rev"]
    except KeyError as error:
        raise CommitError("commit-block", "the commit block or a field of it is missing") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise CommitError("commit-block", "the commit block is not DAG-CBOR") from error
    if claims != (commit.did, commit.rev):
        raise CommitError("commit-block", "the commit block names another repo or rev")
    for op in commit.ops:
        if op.action != "delete" and op.cid not in blocks:
            raise CommitError("missing-block", f"ops[{op.index}] has no block in the CAR")
    return blocks


def read_roots(car: bytes) -> tuple[bytes, Blocks]:
    """The first root of a CAR and its blocks, each checked against its CID. Raises CommitError."""
    blocks = read_car(car)
    length, at = _varint(car, 0)
    try:
        return bytes(libipld.decode_dag_cbor(car[at : at + length])["roots"][0]), blocks
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise CommitError("car", "the CAR names no root") from error


def read_car(car: bytes) -> Blocks:
    """Split a CAR v1 into its blocks and check the hash of each. Raises CommitError."""
    length, at = _varint(car, 0)
    at += length
    if at > len(car):
        raise CommitError("car", "the CAR is cut off")
    blocks: dict[bytes, bytes] = {}
    while at < len(car):
        length, at = _varint(car, at)
        end = at + length
        cid, block = car[at : at + _CID_BYTES], car[at + _CID_BYTES : end]
        if end > len(car) or length < _CID_BYTES:
            raise CommitError("car", "the CAR is cut off")
        if not cid.startswith((_CBOR_PREFIX, _RAW_PREFIX)):
            raise CommitError("car", "the CAR holds a CID that is not v1 with SHA-256")
        if sha256(block).digest() != cid[4:]:
            raise CommitError("hash", f"a block is not what its CID {cid_text(cid)} says")
        blocks[cid] = block
        at = end
    return blocks


def read_record(block: bytes) -> Json:
    """The JSON form of a record block (https://atproto.com/specs/data-model).

    Bytes become `{"$bytes": …}`, links `{"$link": …}`. Raises RecordError (rules: `size`, `cbor`,
    `data-model`, `canonical`).
    """
    if len(block) > MAX_RECORD_BYTES:
        raise RecordError("size", f"the record is larger than {MAX_RECORD_BYTES} bytes")
    try:
        # Refuses every tag but 42 before cbor2 can act on one: some tags share values, and a few
        # bytes of those stand for a list within itself, or for one of 2**60 items.
        plain = libipld.decode_dag_cbor(block)
        value = cbor2.loads(
            block, max_depth=MAX_DEPTH, allow_duplicate_keys=False, strict_hashable_types=True
        )
    except (cbor2.CBORDecodeError, ValueError, OverflowError, RecursionError) as error:
        raise RecordError("cbor", f"not DAG-CBOR: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise RecordError("data-model", "a record is a map")
    record = _json(value)
    # libipld is twenty times as fast, but takes bytes that look like a CID for a link.
    if libipld.encode_dag_cbor(plain) != block and cbor2.dumps(value, canonical=True) != block:
        raise RecordError("canonical", "not canonical DAG-CBOR")
    return record


def record_cid(record: Json) -> str:
    """The CID of a record in its JSON form. Raises ValueError for what is not one."""
    return block_cid(write_record(record))


def cid_text(cid: bytes) -> str:
    """As `atdata_schemas.syntax.cid_text`, thirty times as fast: every record has several."""
    if len(cid) != 36 or cid[:4] not in (_CBOR_PREFIX, _RAW_PREFIX):
        raise ValueError(f"not a CID of the AT Protocol data model: {cid[:40].hex()}")
    text: str = libipld.encode_multibase("b", cid)
    return text


def block_cid(block: bytes) -> str:
    """The CID of a DAG-CBOR block."""
    return cid_text(_CBOR_PREFIX + sha256(block).digest())


def write_record(record: Json) -> bytes:
    """The block of a record: what `read_record` reads. Raises ValueError for what is not one."""
    try:
        return cbor2.dumps(_value(record), canonical=True)
    except (cbor2.CBOREncodeError, RecursionError, TypeError) as error:
        raise ValueError(f"not a record: {error}") from error


def _value(record: Json) -> object:
    match record:
        case {"$bytes": str(text)} if len(record) == 1:
            return b64decode(text + "=" * (-len(text) % 4), validate=True)
        case {"$link": str(text)} if len(record) == 1:
            return cbor2.CBORTag(
                42, b"\0" + b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))
            )
        case Mapping():
            return {key: _value(item) for key, item in record.items()}
        case list():
            return [_value(item) for item in record]
        case _:
            return record


def _json(value: object) -> Json:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if isinstance(value, int):
        if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
            raise RecordError("data-model", "an integer is beyond 53 bits")
        return value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise RecordError("data-model", "a map has a key that is not a string")
        if "$bytes" in value or "$link" in value:
            raise RecordError("data-model", "a map poses as bytes or a link")
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode("ascii").rstrip("=")}
    if isinstance(value, cbor2.CBORTag) and value.tag == 42:
        link = value.value
        if isinstance(link, bytes) and link[:1] == b"\0":
            return {"$link": _link(link[1:])}
    raise RecordError("data-model", f"holds a {kind.__name__}, which the data model lacks")


def _link(cid: bytes) -> str:
    try:
        return cid_text(cid)
    except ValueError as error:
        raise RecordError("data-model", str(error)) from error


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number at `at` and the position behind it. Raises CommitError."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise CommitError("car", "the CAR is cut off")
