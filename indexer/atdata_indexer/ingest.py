"""Applies work to the index: store first, tantivy second. Synchronous; one thread owns it.

new repos and identities, each in a transaction
events → runs of commits, folded and committed with their cursor
       → account, identity and sync events, each in a transaction of its own
snapshots of whole repos, each in a transaction
tantivy catches up with the outbox
"""

import time
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from atdata_indexer.fold import Changes, fold, touched
from atdata_indexer.frames import Account, Commit, Event, Identity, Malformed, Sync
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.snapshot import Snapshot, fold_snapshot

PRUNE_EVERY = 10_000
"""How many outbox entries come between two prunings."""


def wall_clock() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Work:
    """What one turn of the writer is given.

    `seq` is what was read of the stream; the cursor stays below `waiting`, the oldest event that
    was read and is not among these.
    """

    events: Sequence[Event] = ()
    seq: int | None = None
    waiting: int | None = None
    repos: Sequence[str] = ()
    identities: Sequence[ResolvedIdentity] = ()
    snapshots: Sequence[Snapshot] = ()
    judged: Container[str] = frozenset()


@dataclass(slots=True)
class Outcome:
    """What came of it: the cursor, unless it did not move; repos `behind` that must be fetched, and
    those whose snapshot was `outdated`, to be fetched later; commits whose key must be looked up.
    """

    cursor: int | None = None
    behind: set[str] = field(default_factory=set)
    outdated: set[str] = field(default_factory=set)
    doubted: list[Commit] = field(default_factory=list)


class Ingest:
    """Applies work for one source. `counts` says what became of events."""

    def __init__(
        self,
        store: Store,
        writer: IndexWriter,
        source: str,
        clock: Callable[[], int] = wall_clock,
        *,
        verify: bool = True,
    ) -> None:
        self._store = store
        self._writer = writer
        self._source = source
        self._clock = clock
        self._verify = verify
        self.counts: Counter[str] = Counter()
        self._pruned = writer.seq

    def apply(self, work: Work) -> Outcome:
        """Make work durable and searchable.

        Raises StoreError; then nothing that was not committed has moved the cursor.
        """
        outcome = Outcome()
        if work.repos:
            self._store.add_repos(work.repos)
        if work.identities:
            self._store.set_identities(work.identities)
        self._events(work, outcome)
        for snapshot in work.snapshots:
            self._snapshot(snapshot, outcome)
        reached = self._writer.catch_up()
        if reached - self._pruned >= PRUNE_EVERY:
            self._store.prune_outbox(reached)
            self._pruned = reached
        return outcome

    def _events(self, work: Work, outcome: Outcome) -> None:
        """Apply events; the cursor is saved with the last of them, when nothing older is left."""
        runs = [(kind, list(run)) for kind, run in groupby(work.events, _in_commits)]
        for number, (in_commits, run) in enumerate(runs, 1):
            last = number == len(runs)
            if in_commits:
                commits = [event for event in run if isinstance(event, Commit | Malformed)]
                self._commits(commits, work, outcome, last=last)
            else:
                for event in run:
                    final = last and event is run[-1]
                    self._other(event, _advance(outcome, work) if final else None)
        if not runs and work.seq is not None:
            cursor = _advance(outcome, work)
            if cursor is not None:
                self._store.save_cursor(self._source, cursor, self._clock())

    def _commits(
        self, run: Sequence[Commit | Malformed], work: Work, outcome: Outcome, *, last: bool
    ) -> None:
        repos = self._store.repos({event.did for event in run if event.did is not None})
        rows = self._store.rows(touched(run))
        now = self._clock()
        changes = fold(run, repos, rows, now, verify=self._verify, judged=work.judged)
        outcome.doubted += changes.doubted
        outcome.behind |= {
            repo.did for repo in changes.repos.values() if repo.sync == "desynchronised"
        }
        cursor = _advance(outcome, work) if last else None
        self._store.commit(changes, self._source, cursor, now)
        self.counts += changes.counts

    def _snapshot(self, snapshot: Snapshot, outcome: Outcome) -> None:
        repo = self._store.repos([snapshot.did]).get(snapshot.did)
        if repo is None or repo.status == "deleted":
            return
        changes: Changes = fold_snapshot(snapshot, repo, self._store.held(snapshot.did))
        self._store.commit(changes, self._source, None, self._clock())
        self.counts += changes.counts
        if not changes.repos:
            outcome.outdated.add(snapshot.did)

    def _other(self, event: Event, cursor: int | None) -> None:
        now = self._clock()
        match event:
            case Account(_, did, active, status):
                self._store.set_account(did, active, status, self._source, cursor, now)
                if not active:
                    self._writer.catch_up()
                if status == "deleted" and not active:
                    self._store.purge(did)
            case Identity(_, did):
                self._store.set_identity_due(did, self._source, cursor, now)
            case Sync(_, did, rev):
                self._store.set_sync(did, rev, self._source, cursor, now)
        self.counts[type(event).__name__.lower()] += 1


def _advance(outcome: Outcome, work: Work) -> int | None:
    """The highest cursor behind which nothing is undecided; noted in `outcome`."""
    if work.seq is None:
        return None
    undecided = [commit.seq - 1 for commit in outcome.doubted]
    if work.waiting is not None:
        undecided.append(work.waiting - 1)
    outcome.cursor = min([work.seq, *undecided])
    return outcome.cursor


def _in_commits(event: Event) -> bool:
    return isinstance(event, Commit | Malformed)
