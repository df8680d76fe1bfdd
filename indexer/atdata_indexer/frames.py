"""From the bytes of one websocket message to a typed event. Pure.

Follows https://atproto.com/specs/event-stream and https://atproto.com/specs/sync. Every frame is
decoded whole by libipld, which is as cheap as looking for a substring and cannot be fooled by one;
the CAR of a commit stays bytes until `repo` opens it, which happens only for commits that are kept.
A commit is kept when an op touches an indexed collection or its repo is tracked.
"""

from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import libipld

from atdata_indexer.errors import FrameError, FutureCursor, RecordError, StreamError
from atdata_schemas.records import COLLECTIONS
from atdata_schemas.syntax import is_did, is_record_key, is_tid, micros, parse_datetime

type Action = Literal["create", "update", "delete"]

_ACTIONS = frozenset({"create", "update", "delete"})
_MAX_SEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Op:
    """One change of an indexed record: `index` is its place among all ops of the commit."""

    index: int
    action: Action
    collection: str
    rkey: str
    cid: bytes | None


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of any record of the repo, as its tree sees it: `prev` is what was there."""

    action: Action
    key: bytes
    prev: bytes | None


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that concerns us; `ops` holds only those on indexed collections, `edits` all.

    `prev_data` is the root of the tree it began from, where the author's PDS says so.
    """

    seq: int
    did: str
    rev: str
    since: str | None
    cid: bytes
    ops: tuple[Op, ...]
    blocks: bytes
    prev_data: bytes | None = None
    edits: tuple[Edit, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class LooseOp:
    """One op without the commit it was part of, as Jetstream has them: nothing proves it.

    `block` is the record, or why it is not what its CID says; None for a delete.
    """

    seq: int
    did: str
    rev: str
    op: Op
    block: bytes | RecordError | None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """An account's hosting state at the source; `status` says why when it is not active.

    `time_us` is when the source says this was so, None if it does not say.
    """

    seq: int
    did: str
    active: bool
    status: str | None
    time_us: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """A hint that a DID document or handle changed."""

    seq: int
    did: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Sync:
    """A repo's state was declared anew, without ops: what is held may be out of date."""

    seq: int
    did: str
    rev: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A well-formed frame about a repo whose body breaks the protocol."""

    seq: int
    did: str | None
    reason: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something was missed, and nobody can say of whom: every tracked repo may be out of step.

    `raw` is the frame that could not be read, if that is why; `dids` are those that it names.
    """

    seq: int
    reason: str
    raw: bytes | None = None
    dids: tuple[str, ...] = ()
    did: None = None
    source: str = ""


type Event = Commit | LooseOp | Account | Identity | Sync | Malformed | Gap

type Decode = Callable[[bytes], tuple[int, Event | None]]
"""Gives the cursor of one message (0 when it has none), and its event if it concerns us. Raises
FrameError for what is no message, StreamError and FutureCursor where the source says that it ends.
"""

OUTDATED = "OutdatedCursor"


class Decoder:
    """Decodes frames and lets through what concerns the index.

    `tracked` holds the DIDs whose every event matters; it is read, never changed. `source` is what
    events are said to come from, `collections` are those that are indexed.
    """

    def __init__(
        self,
        tracked: Container[str],
        source: str = "",
        collections: Collection[str] = COLLECTIONS,
    ) -> None:
        self._tracked = tracked
        self._source = source
        self._collections = collections
        self._prefixes = tuple(f"{collection}/" for collection in collections)

    def decode(self, frame: bytes) -> tuple[int, Event | None]:
        """The sequence number of a frame (0 when it has none), and its event if it concerns us.

        Raises FrameError for bytes that are no event, StreamError and FutureCursor for error
        frames. An event whose body breaks the protocol is Malformed and raises nothing: read
        again from the cursor, it would only come again.
        """
        try:
            header, body = libipld.decode_dag_cbor_multi(frame)
            kind = header["t"] if header["op"] == 1 else None
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise FrameError(f"not an event: {type(error).__name__}: {str(error)[:200]}") from error
        if not isinstance(body, dict):
            raise FrameError("the body of an event is a map")
        if kind == "#commit":
            seq = _seq(body.get("seq"))
            try:
                if body["repo"] in self._tracked:
                    return seq, _commit(body, self._source, self._collections)
                for op in body["ops"]:
                    if op["path"].startswith(self._prefixes):
                        event = _commit(body, self._source, self._collections)
                        if isinstance(event, Malformed):
                            event = replace(event, did=None)  # no stranger is tracked for that
                        return seq, event
            except (TypeError, KeyError, AttributeError) as error:
                did = body.get("repo")
                known = did if isinstance(did, str) and did in self._tracked else None
                return seq, _unreadable(seq, known, error, self._source)
            return seq, None
        if kind is None:
            return self._control(header, body)
        return self._other(kind, body)

    def _control(self, header: Mapping[str, Any], body: Mapping[str, Any]) -> tuple[int, None]:
        if header["op"] != -1:
            return 0, None
        error, message = str(body.get("error", "")), str(body.get("message", ""))
        raise (FutureCursor if error == "FutureCursor" else StreamError)(error, message[:500])

    def _other(self, kind: object, body: Mapping[str, Any]) -> tuple[int, Event | None]:
        if kind == "#info" and body.get("name") == OUTDATED:
            return 0, Gap(0, OUTDATED, source=self._source)
        if "seq" not in body:
            return 0, None
        seq, did, source = _seq(body["seq"]), body.get("did"), self._source
        if not isinstance(did, str) or did not in self._tracked:
            return seq, None
        match kind:
            case "#account":
                active, status = body.get("active"), body.get("status")
                if not isinstance(active, bool) or not isinstance(status, str | None):
                    return seq, Malformed(seq, did, "account: active is not a boolean", source)
                why = status[:64] if status else None
                return seq, Account(seq, did, active, why, _micros(body.get("time")), source)
            case "#identity":
                return seq, Identity(seq, did, source)
            case "#sync":
                rev = body.get("rev")
                if not isinstance(rev, str) or not is_tid(rev):
                    return seq, Malformed(seq, did, "sync: rev is not a TID", source)
                return seq, Sync(seq, did, rev, source)
            case _:
                return seq, None


def event_micros(frame: bytes) -> int | None:
    """When the source says it emitted a frame, in microseconds since the epoch; None if unsaid."""
    try:
        return _micros(libipld.decode_dag_cbor_multi(frame)[1]["time"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None


def _micros(time: object) -> int | None:
    """A datetime in microseconds since the epoch; None for anything else."""
    try:
        return micros(parse_datetime(time)) if isinstance(time, str) else None
    except ValueError:
        return None


def _seq(value: object) -> int:
    if type(value) is int and 0 <= value <= _MAX_SEQ:
        return value
    raise FrameError("seq is not a positive 64-bit integer")


def _unreadable(seq: int, did: str | None, error: Exception, source: str) -> Malformed:
    """A commit with a field that is missing or of another type, wherever it was met."""
    return Malformed(seq, did, f"commit: {type(error).__name__}: {str(error)[:200]}", source)


def _commit(
    body: Mapping[str, Any], source: str, collections: Container[str]
) -> Commit | Malformed:
    """A commit checked field by field: its authors are strangers."""
    seq, did, rev, since = body["seq"], body["repo"], body.get("rev"), body.get("since")
    cid, blocks = body.get("commit"), body.get("blocks")
    if not isinstance(did, str) or not is_did(did):
        return Malformed(seq, None, "commit: repo is not a DID", source)
    if not isinstance(rev, str) or not is_tid(rev):
        return Malformed(seq, did, "commit: rev is not a TID", source)
    if since is not None and not (isinstance(since, str) and is_tid(since)):
        return Malformed(seq, did, "commit: since is not a TID", source)
    prev_data = body.get("prevData")
    if not isinstance(cid, bytes) or not isinstance(blocks, bytes):
        return Malformed(seq, did, "commit: commit or blocks missing", source)
    if not isinstance(prev_data, bytes | None):
        return Malformed(seq, did, "commit: prevData is not a CID", source)
    ops: list[Op] = []
    edits: list[Edit] = []
    for index, op in enumerate(body["ops"]):
        path, action, target, prev = op["path"], op.get("action"), op.get("cid"), op.get("prev")
        if not isinstance(path, str) or action not in _ACTIONS:
            return Malformed(seq, did, f"commit: ops[{index}] has no path or action", source)
        if not isinstance(prev, bytes | None):
            return Malformed(seq, did, f"commit: ops[{index}].prev is not a CID", source)
        edits.append(Edit(action, path.encode(), prev))
        collection, _, rkey = path.partition("/")
        if collection not in collections:
            continue
        if not is_record_key(rkey):
            return Malformed(seq, did, f"commit: ops[{index}].path has no record key", source)
        if not isinstance(target, bytes | None):
            return Malformed(seq, did, f"commit: ops[{index}].cid is not a CID", source)
        ops.append(Op(index, action, collection, rkey, target))
    return Commit(seq, did, rev, since, cid, tuple(ops), blocks, prev_data, tuple(edits), source)
