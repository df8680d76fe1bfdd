"""From one message of a Jetstream server to a typed event. Pure.

Version 1 (`/subscribe`, https://github.com/bluesky-social/jetstream) tells events apart by the time
it saw them, version 2 (the lexicon `network.bsky.jetstream.subscribeEvents`) numbers them:

    1  {"did", "time_us", "kind": "commit", "commit": {"rev", "operation", ...}}
    2  {"$type": "message", "payload": {"$type": "...#commit", "did", "seq", "rev", ...}}

An event holds one op, with neither its place in the commit nor a signature or proof: all that can
be checked is that a record is what its CID says. Kinds and fields that are not known are ignored.
"""

import json
from base64 import b32decode
from collections.abc import Container, Mapping
from typing import Any, Literal, NamedTuple

from atdata_indexer.errors import FrameError, RecordError, StreamError
from atdata_indexer.frames import (
    OUTDATED,
    Account,
    Action,
    Event,
    Gap,
    Identity,
    LooseOp,
    Malformed,
    Op,
    Sync,
)
from atdata_indexer.snapshot import read_listed
from atdata_schemas.records import COLLECTIONS
from atdata_schemas.syntax import is_cid, is_did, is_record_key, is_tid, micros, parse_datetime

type Version = Literal[1, 2]

NOTICE = OUTDATED.encode()
"""What a source puts where the server left something out; no message of a server is like it."""
_CURSOR_NOTICES = frozenset({OUTDATED, "FutureCursor"})
_KINDS = ("commit", "account", "identity", "sync")
_ACTIONS: Mapping[object, Action] = {"create": "create", "update": "update", "delete": "delete"}
_MAX_POSITION = 2**63 - 1


class _Said(NamedTuple):
    """A message of either version, before its body is looked at."""

    position: object
    kind: object
    did: object
    body: object
    time: object


class JetstreamDecoder:
    """Decodes messages of one version and lets through what concerns the index.

    `tracked` holds the DIDs whose account events matter; it is read, never changed. `source` is
    what events are said to come from.
    """

    def __init__(
        self,
        version: Version,
        tracked: Container[str],
        source: str = "",
        collections: Container[str] = COLLECTIONS,
    ) -> None:
        self._read = _READERS[version]
        self._collections = collections
        self._tracked = tracked
        self._source = source

    def decode(self, message: bytes) -> tuple[int, Event | None]:
        """The cursor of a message (0 when it has none), and its event if it concerns us.

        Raises FrameError for bytes that are no message, StreamError where the server says that the
        stream ends. An event whose body breaks the protocol is Malformed and raises nothing: read
        again from the cursor, it would only come again.
        """
        if message == NOTICE:
            return 0, Gap(0, OUTDATED, source=self._source)
        said = self._read(_parse(message))
        if said.kind == "info":
            name = said.body.get("name") if isinstance(said.body, dict) else None
            known = isinstance(name, str) and name in _CURSOR_NOTICES
            return 0, Gap(0, str(name), source=self._source) if known else None
        if said.kind not in _KINDS:
            return (0 if said.position is None else _position(said.position)), None
        seq = _position(said.position)
        return seq, self._event(seq, said)

    def _event(self, seq: int, said: _Said) -> Event | None:
        kind, did, body, source = said.kind, said.did, said.body, self._source
        tracked = isinstance(did, str) and did in self._tracked
        if not isinstance(did, str) or not is_did(did):
            return None
        if kind == "identity":
            return Identity(seq, did, source) if tracked else None
        if not isinstance(body, dict):
            return Malformed(seq, did, f"{kind}: it has no body", source) if tracked else None
        match kind:
            case "commit":
                event = _commit(seq, did, body, source, self._collections)
                # No stranger is tracked for what is malformed.
                return None if isinstance(event, Malformed) and not tracked else event
            case "account" if tracked:
                return _account(seq, did, body, source)
            case "sync" if tracked:
                rev = body.get("rev")
                if not isinstance(rev, str) or not is_tid(rev):
                    return Malformed(seq, did, "sync: rev is not a TID", source)
                return Sync(seq, did, rev, source)
            case _:
                return None


def position_of(version: Version, message: bytes) -> int | None:
    """The cursor of a message; None for one that has none or cannot be read."""
    try:
        return _position(_READERS[version](_parse(message)).position)
    except (FrameError, StreamError):
        return None


def seen_us(version: Version, message: bytes) -> int | None:
    """When the server says it saw an event, in microseconds since the epoch; None if unsaid."""
    try:
        time = _READERS[version](_parse(message)).time
        return _position(time) if version == 1 else _micros(time)
    except (FrameError, StreamError):
        return None


def _parse(message: bytes) -> dict[str, Any]:
    try:
        value = json.loads(message.decode())
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not a message: {type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise FrameError("a message is an object")
    return value


def _read_1(message: Mapping[str, Any]) -> _Said:
    kind, at = message.get("kind"), message.get("time_us")
    body = message.get(kind) if isinstance(kind, str) else None
    return _Said(at, kind, message.get("did"), body, at)


def _read_2(message: Mapping[str, Any]) -> _Said:
    if message.get("$type") == "error":
        error, words = str(message.get("error", "")), str(message.get("message", ""))
        raise StreamError(error[:100], words[:500])
    payload = message.get("payload")
    if message.get("$type") != "message" or not isinstance(payload, dict):
        return _Said(None, None, None, None, None)
    kind = str(payload.get("$type")).rpartition("#")[2]
    body = payload if kind in ("commit", "info") else payload.get(kind)
    time = payload.get("witnessedAt", payload.get("time"))
    return _Said(payload.get("seq"), kind, payload.get("did"), body, time)


_READERS = {1: _read_1, 2: _read_2}


def _position(value: object) -> int:
    if type(value) is int and 0 <= value <= _MAX_POSITION:
        return value
    raise FrameError("the cursor of an event is not a positive 64-bit integer")


def _micros(time: object) -> int | None:
    try:
        return micros(parse_datetime(time)) if isinstance(time, str) else None
    except ValueError:
        return None


def _account(seq: int, did: str, body: Mapping[str, Any], source: str) -> Account | Malformed:
    active, status = body.get("active"), body.get("status")
    if not isinstance(active, bool) or not isinstance(status, str | None):
        return Malformed(seq, did, "account: active is not a boolean", source)
    # JSON can say what no text can hold; the account is hidden all the same.
    why = status[:64] if status and status.isprintable() else None
    return Account(seq, did, active, why, _micros(body.get("time")), source)


def _commit(
    seq: int, did: str, body: Mapping[str, Any], source: str, collections: Container[str]
) -> LooseOp | Malformed | None:
    """An op checked field by field: its authors are strangers."""
    collection, rev, rkey = body.get("collection"), body.get("rev"), body.get("rkey")
    if not isinstance(collection, str):
        return Malformed(seq, did, "commit: collection is not a string", source)
    if collection not in collections:
        return None
    if not isinstance(rev, str) or not is_tid(rev):
        return Malformed(seq, did, "commit: rev is not a TID", source)
    if not isinstance(rkey, str) or not is_record_key(rkey):
        return Malformed(seq, did, "commit: rkey is not a record key", source)
    operation = body.get("operation")
    action = _ACTIONS.get(operation) if isinstance(operation, str) else None
    if action is None:
        return Malformed(seq, did, "commit: operation is not known", source)
    cid: bytes | None = None
    block: bytes | RecordError | None = None
    if action != "delete":
        text, record = body.get("cid"), body.get("record")
        if not isinstance(text, str) or not is_cid(text) or record is None:
            return Malformed(seq, did, f"commit: {action} without a record and its CID", source)
        cid, block = b32decode(text[1:].upper() + "======"), read_listed(record, text)
    return LooseOp(seq, did, rev, Op(0, action, collection, rkey, cid), block, source)
