"""What commits change, given what is known of their repos and records. Pure.

Two orders are kept (https://atproto.com/specs/sync): a commit whose rev is not above its repo's is
old and changes nothing, and one record's changes apply in the order of (rev, op index), deletes
included: a tombstone is a row like any other. Example, for one record:

    create rev 3k2 op 0   → live                 create rev 3k5 op 1 → live again
    delete rev 3k4 op 0   → tombstone            update rev 3k3 op 0 → ignored, whenever it comes

A commit that breaks the protocol is refused whole and leaves its repo desynchronised.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from atdata_indexer.changes import Changes, Fault, Held, Repo, Row, SyncState
from atdata_indexer.errors import CommitError, RecordError
from atdata_indexer.frames import Commit, LooseOp, Malformed, Op
from atdata_indexer.limits import DEFAULTS, Limits
from atdata_indexer.repo import Blocks, cid_text, open_commit
from atdata_indexer.rows import apply_row
from atdata_indexer.verify import verify_commit
from atdata_schemas.records import COLLECTIONS
from atdata_schemas.syntax import tid_micros

FUTURE_US = 5 * 60 * 1_000_000
"""A rev this much ahead of the clock is invalid (https://atproto.com/specs/repository)."""


def fold(
    events: Iterable[Commit | LooseOp | Malformed],
    repos: Mapping[str, Repo],
    rows: Mapping[str, Held],
    now_us: int,
    *,
    verify: bool,
    judged: Container[str] = frozenset(),
    limits: Limits = DEFAULTS,
) -> Changes:
    """Fold a run of commits over what is known.

    `repos` by DID; `rows` holds every known record the run touches, by URI.
    With `verify` every commit must be shown to be its author's; without, only hashes are checked.
    One whose signature fails is given back as doubted, with those of its repo that follow, unless
    its DID is in `judged`: then the key has just been looked up anew, and the commit is refused.
    """
    folding = _Fold(repos, rows, now_us, verify, judged, limits)
    for event in events:
        match event:
            case Malformed():
                folding.refuse(event)
            case LooseOp():
                folding.take_op(event)
            case Commit():
                folding.take_commit(event)
    return folding.changes


def touched(events: Iterable[Commit | LooseOp | Malformed]) -> set[str]:
    """The URIs of the records a run of commits speaks of."""
    uris: set[str] = set()
    for event in events:
        if isinstance(event, Commit):
            uris.update(_uri(event.did, op) for op in event.ops)
        elif isinstance(event, LooseOp):
            uris.add(_uri(event.did, event.op))
    return uris


@dataclass(frozen=True, slots=True)
class _Fold:
    """What is known before the run, and what has changed so far."""

    repos: Mapping[str, Repo]
    rows: Mapping[str, Held]
    now_us: int
    verify: bool
    judged: Container[str]
    limits: Limits
    changes: Changes = field(default_factory=Changes)
    doubted: set[str] = field(default_factory=set)

    def take_commit(self, commit: Commit) -> None:
        changes, repo = self.changes, self._repo(commit.did)
        if commit.did in self.doubted:
            changes.doubted.append(commit)
            return
        if self._is_over(repo, commit.rev):
            return
        try:
            self._check_rev(commit.rev)
            blocks = open_commit(commit) if commit.ops or self.verify else {}
            data = _verified(commit, blocks, repo) if self.verify else None
        except CommitError as error:
            if error.reason in {"key", "signature"} and commit.did not in self.judged:
                self.doubted.add(commit.did)
                changes.doubted.append(commit)
            else:
                self._refuse_ops(repo, commit.ops, commit.rev, error)
            return
        gap = _breaks_chain(repo, commit)
        changes.counts["gaps"] += gap
        (changes.in_step.discard if gap else changes.in_step.add)(repo.did)
        # One that was gone speaks again: what it did meanwhile is unknown.
        sync: SyncState = "desynchronised" if gap or repo.sync == "gone" else repo.sync
        changes.repos[repo.did] = replace(repo, rev=commit.rev, sync=sync, data=data)
        changes.counts["commits"] += 1
        for op in commit.ops:
            block = None if op.action == "delete" or op.cid is None else blocks[op.cid]
            self._apply(op, block, repo, commit.rev, verified=self.verify)

    def take_op(self, event: LooseOp) -> None:
        """Take in one op as it was reported. Its repo's rev stays: others may be on their way."""
        repo = self._repo(event.did)
        if self._is_over(repo, event.rev):
            return
        try:
            self._check_rev(event.rev)
        except CommitError as error:
            self._refuse_ops(repo, [event.op], event.rev, error)
            return
        self._apply(event.op, event.block, repo, event.rev, verified=False)

    def refuse(self, event: Malformed) -> None:
        """Note that something about a repo could not be read."""
        self.changes.counts["malformed"] += 1
        if event.did is not None:
            uri = f"at://{event.did}"
            self._leave_behind(self._repo(event.did))
            self.changes.faults[uri] = Fault(uri, event.did, None, None, "frame", "", event.reason)

    def _repo(self, did: str) -> Repo:
        return self.changes.repos.get(did) or self.repos.get(did) or Repo(did)

    def _is_over(self, repo: Repo, rev: str) -> bool:
        """Whether what happened at `rev` no longer matters."""
        if repo.rev is not None and rev <= repo.rev:
            self.changes.counts["stale_commits"] += 1
            return True
        if repo.status == "deleted":
            self.changes.counts["after_deletion"] += 1
            return True
        return False

    def _check_rev(self, rev: str) -> None:
        if tid_micros(rev) > self.now_us + FUTURE_US:
            raise CommitError("future-rev", f"rev {rev} lies in the future")

    def _apply(
        self,
        op: Op,
        block: bytes | RecordError | None,
        repo: Repo,
        rev: str,
        *,
        verified: bool,
    ) -> None:
        changes, uri = self.changes, _uri(repo.did, op)
        cid = None if op.action == "delete" or op.cid is None else cid_text(op.cid)
        known = changes.rows[uri].held if uri in changes.rows else self.rows.get(uri)
        if known is not None and known.outlasts(cid, (rev, op.index), verified=verified):
            changes.counts["stale_ops"] += 1
            return
        row = Row(
            uri=uri,
            did=repo.did,
            collection=op.collection,
            rkey=op.rkey,
            kind=COLLECTIONS[op.collection],
            cid=cid,
            rev=rev,
            op_index=op.index,
            state="deleted",
            verified=verified,
        )
        apply_row(changes, row, op.action, block, known, repo, self.limits)

    def _refuse_ops(self, repo: Repo, ops: Iterable[Op], rev: str, error: CommitError) -> None:
        self.changes.counts[f"refused_{error.reason}"] += 1
        self._leave_behind(repo)
        for uri in {_uri(repo.did, op) for op in ops} or {f"at://{repo.did}"}:
            fault = Fault(uri, repo.did, None, rev, error.reason, "", str(error))
            self.changes.faults[uri] = fault

    def _leave_behind(self, repo: Repo) -> None:
        self.changes.in_step.discard(repo.did)
        self.changes.repos[repo.did] = replace(repo, sync="desynchronised")


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
    if repo.data is None or commit.prev_data is None:
        return False
    return repo.data != cid_text(commit.prev_data)


def _uri(did: str, op: Op) -> str:
    return f"at://{did}/{op.collection}/{op.rkey}"
