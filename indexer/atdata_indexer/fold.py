"""What commits change, given what is known of their repos and records. Pure.

Two orders are kept (https://atproto.com/specs/sync): a commit whose rev is not above its repo's is
old and changes nothing, and one record's changes apply in the order of (rev, op index), deletes
included: a tombstone is a row like any other. Example, for one record:

    create rev 3k2 op 0   → live                 create rev 3k5 op 1 → live again
    delete rev 3k4 op 0   → tombstone            update rev 3k3 op 0 → ignored, whenever it comes

A record that breaks its lexicon takes its row (so that an older valid version does not come back)
and goes to quarantine with the rule; a commit that breaks the protocol is refused whole and leaves
its repo desynchronised.
"""

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from atdata_indexer.errors import CommitError, RecordError
from atdata_indexer.frames import Commit, Malformed, Op
from atdata_indexer.repo import Blocks, open_commit, read_record
from atdata_indexer.verify import verify_commit
from atdata_schemas.errors import ValidationError
from atdata_schemas.records import KINDS, Kind, Lens, Record, Schema, parse_record
from atdata_schemas.syntax import cid_text, micros, tid_micros

type State = Literal["live", "invalid", "deleted"]
type SyncState = Literal["active", "backfilling", "desynchronised", "throttled", "gone"]

FUTURE_US = 5 * 60 * 1_000_000
"""A rev this much ahead of the clock is invalid (https://atproto.com/specs/repository)."""

RAW_BYTES = 8192
"""How much of an invalid record quarantine keeps."""


@dataclass(frozen=True, slots=True)
class Repo:
    """What is known of a repo. `status` is `active` or why its account is not.

    `data` is the CID of its tree's root at `rev`, None when commits are not verified; `key` the
    account's signing key, None while it is not known.
    """

    did: str
    rev: str | None = None
    status: str = "active"
    sync: SyncState = "active"
    data: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The newest state of one record; `body` is its JSON text when it is live.

    `created_us` is what date sorts go by: the record's own claim, but never later than its commit.
    """

    uri: str
    did: str
    collection: str
    rkey: str
    kind: Kind
    cid: str | None
    rev: str
    op_index: int
    state: State
    name: str | None = None
    version: str | None = None
    schema_uri: str | None = None
    target_uri: str | None = None
    created_us: int | None = None
    body: str | None = None
    verified: bool = False

    @property
    def order(self) -> tuple[str, int]:
        """The place of this state among all states of its record."""
        return self.rev, self.op_index


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something is in quarantine. `uri` is a record's, or `at://did` for a whole repo."""

    uri: str
    did: str
    cid: str | None
    rev: str | None
    rule: str
    path: str
    reason: str
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the outbox: what happened to a record, in the order it happened."""

    uri: str
    did: str
    cid: str | None
    rev: str
    op: str


@dataclass(slots=True)
class Changes:
    """What a run of commits does: the last state of each row and repo, every change in order."""

    rows: dict[str, Row] = field(default_factory=dict)
    repos: dict[str, Repo] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    outbox: list[Change] = field(default_factory=list)
    doubted: list[Commit] = field(default_factory=list)
    """Commits whose signature did not fit the key that is held: it may have changed."""
    healed: set[str] = field(default_factory=set)
    """Repos that were read whole: what was in quarantine for their commits is settled."""
    counts: Counter[str] = field(default_factory=Counter)


def fold(
    events: Iterable[Commit | Malformed],
    repos: Mapping[str, Repo],
    rows: Mapping[str, tuple[str, int]],
    now_us: int,
    *,
    verify: bool,
    judged: Container[str] = frozenset(),
) -> Changes:
    """Fold a run of commits over what is known.

    `repos` by DID; `rows` gives the (rev, op index) of every known record the run touches, by URI.
    With `verify` every commit must be shown to be its author's; without, only hashes are checked.
    One whose signature fails is given back as doubted, with those of its repo that follow, unless
    its DID is in `judged`: then the key has just been looked up anew, and the commit is refused.
    """
    changes = Changes()
    for event in events:
        if isinstance(event, Malformed):
            _refuse(changes, repos, event.did, event.reason)
        elif any(event.did == doubted.did for doubted in changes.doubted):
            changes.doubted.append(event)
        else:
            _fold_commit(changes, event, repos, rows, now_us, verify, judged)
    return changes


def touched(events: Iterable[Commit | Malformed]) -> set[str]:
    """The URIs of the records a run of commits speaks of."""
    return {
        _uri(event.did, op) for event in events if isinstance(event, Commit) for op in event.ops
    }


def _fold_commit(
    changes: Changes,
    commit: Commit,
    repos: Mapping[str, Repo],
    rows: Mapping[str, tuple[str, int]],
    now_us: int,
    verify: bool,
    judged: Container[str],
) -> None:
    repo = changes.repos.get(commit.did) or repos.get(commit.did) or Repo(commit.did)
    if repo.rev is not None and commit.rev <= repo.rev:
        changes.counts["stale_commits"] += 1
        return
    if repo.status == "deleted":
        changes.counts["after_deletion"] += 1
        return
    try:
        if tid_micros(commit.rev) > now_us + FUTURE_US:
            raise CommitError("future-rev", f"rev {commit.rev} lies in the future")
        blocks = open_commit(commit) if commit.ops or verify else {}
        data = _verified(commit, blocks, repo) if verify else None
    except CommitError as error:
        if error.reason in {"key", "signature"} and commit.did not in judged:
            changes.doubted.append(commit)
        else:
            _refuse_commit(changes, repo, commit, error)
        return
    gap = _breaks_chain(repo, commit)
    changes.counts["gaps"] += gap
    sync: SyncState = "desynchronised" if gap else repo.sync
    changes.repos[commit.did] = replace(repo, rev=commit.rev, sync=sync, data=data)
    changes.counts["commits"] += 1
    for op in commit.ops:
        uri = _uri(commit.did, op)
        known = changes.rows[uri].order if uri in changes.rows else rows.get(uri)
        if known is not None and known >= (commit.rev, op.index):
            changes.counts["stale_ops"] += 1
            continue
        row = Row(
            uri=uri,
            did=commit.did,
            collection=op.collection,
            rkey=op.rkey,
            kind=KINDS[op.collection],
            cid=None if op.action == "delete" or op.cid is None else cid_text(op.cid),
            rev=commit.rev,
            op_index=op.index,
            state="deleted",
            verified=verify,
        )
        block = None if op.action == "delete" or op.cid is None else blocks[op.cid]
        apply_row(changes, row, op.action, block)


def _verified(commit: Commit, blocks: Blocks, repo: Repo) -> str:
    if repo.key is None:
        raise CommitError("key", "the account's signing key is not known")
    return cid_text(verify_commit(commit, blocks, repo.key))


def _breaks_chain(repo: Repo, commit: Commit) -> bool:
    """Whether something happened between what is known of a repo and this commit."""
    if repo.rev is None:
        return False
    if commit.since != repo.rev:
        return True
    began_from = None if commit.prev_data is None else cid_text(commit.prev_data)
    return None not in (repo.data, began_from) and repo.data != began_from


def apply_row(changes: Changes, row: Row, action: str, block: bytes | None) -> None:
    """Make `row` the state of its record: a tombstone without a block, else what the block holds.

    A block that breaks its lexicon makes the row invalid and is put in quarantine.
    """
    changes.faults.pop(row.uri, None)
    outcome = action
    if block is not None:
        try:
            row = _live(row, block)
        except (RecordError, ValidationError) as error:
            row = replace(row, state="invalid")
            path = error.path if isinstance(error, ValidationError) else ""
            message = error.message if isinstance(error, ValidationError) else str(error)
            changes.faults[row.uri] = Fault(
                row.uri, row.did, row.cid, row.rev, error.rule, path, message, block[:RAW_BYTES]
            )
            outcome = "quarantine"
    changes.rows[row.uri] = row
    changes.outbox.append(Change(row.uri, row.did, row.cid, row.rev, outcome))
    changes.counts[f"records_{outcome}"] += 1


def _live(row: Row, block: bytes) -> Row:
    body = read_record(block)
    record = parse_record(row.collection, row.rkey, body)
    source, target = _links(record)
    return replace(
        row,
        state="live",
        name=record.name,
        version=record.version if isinstance(record, Schema) else None,
        schema_uri=source,
        target_uri=target,
        created_us=min(micros(record.created_at), tid_micros(row.rev)),
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
    )


def _links(record: Record) -> tuple[str | None, str | None]:
    match record:
        case Schema():
            return None, None
        case Lens():
            return record.source_schema, record.target_schema
        case _:
            return record.schema_ref, None


def _refuse(changes: Changes, repos: Mapping[str, Repo], did: str | None, reason: str) -> None:
    changes.counts["malformed"] += 1
    if did is None:
        return
    uri = f"at://{did}"
    repo = changes.repos.get(did) or repos.get(did) or Repo(did)
    changes.repos[did] = replace(repo, sync="desynchronised")
    changes.faults[uri] = Fault(uri, did, None, None, "frame", "", reason)


def _refuse_commit(changes: Changes, repo: Repo, commit: Commit, error: CommitError) -> None:
    changes.counts[f"refused_{error.reason}"] += 1
    changes.repos[repo.did] = replace(repo, sync="desynchronised")
    for uri in {_uri(commit.did, op) for op in commit.ops} or {f"at://{commit.did}"}:
        changes.faults[uri] = Fault(uri, commit.did, None, commit.rev, error.reason, "", str(error))


def _uri(did: str, op: Op) -> str:
    return f"at://{did}/{op.collection}/{op.rkey}"
