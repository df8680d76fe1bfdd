"""Applies work to the index: store first, tantivy second. Synchronous; one thread owns it.

new repos and identities, each in a transaction
events → runs of commits, folded and committed with their cursor
       → account, identity and sync events, each in a transaction of its own
snapshots of whole repos, each in a transaction
tantivy catches up with the outbox
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeGuard

from atdata_indexer.changes import Changes
from atdata_indexer.fold import FUTURE_US, fold, touched
from atdata_indexer.frames import Account, Commit, Event, Gap, Identity, LooseOp, Malformed, Sync
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.snapshot import Snapshot, fold_snapshot
from atdata_schemas.syntax import tid_micros

BATCH_RECORDS = 500
"""How many records of snapshots go into one transaction, about."""
PRUNE_EVERY = 10_000
"""How many outbox entries come between two prunings."""


def wall_clock() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Work:
    """What one turn of the writer is given.

    `read` is how far each source was read; its cursor stays below `waiting`, its oldest event that
    was read and is not among these. Of repos in `lost` something was read and cannot be applied.
    With `more` to come at once, this need not be searchable yet.
    """

    events: Sequence[Event] = ()
    read: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    repos: Sequence[str] = ()
    identities: Sequence[ResolvedIdentity] = ()
    snapshots: Sequence[Snapshot] = ()
    judged: Container[str] = frozenset()
    lost: Collection[str] = ()
    more: bool = False


@dataclass(slots=True)
class Outcome:
    """What came of it: the cursor of each source; repos `behind` that must be fetched, and those
    whose snapshot was `outdated`, to be fetched later; commits whose key must be looked up. What is
    `unsearchable` was stored and awaits more.
    """

    cursors: Mapping[str, int] = field(default_factory=dict)
    behind: set[str] = field(default_factory=set)
    outdated: set[str] = field(default_factory=set)
    doubted: list[Commit] = field(default_factory=list)
    unsearchable: bool = False


class Ingest:
    """Applies work. `counts` says what became of events."""

    def __init__(
        self,
        store: Store,
        writer: IndexWriter,
        clock: Callable[[], int] = wall_clock,
        *,
        verify: bool = True,
    ) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._verify = verify
        self.counts: Counter[str] = Counter()
        self._pruned = 0  # the limit may have been lowered since

    def apply(self, work: Work) -> Outcome:
        """Make work durable and searchable.

        Raises StoreError; then nothing that was not committed has moved the cursor.
        """
        outcome = Outcome()
        if work.repos:
            self._store.add_repos(work.repos, self._clock())
        if work.identities:
            self._store.set_identities(work.identities, self._clock())
        if work.lost:
            # Before any cursor passes what was lost.
            self._store.set_behind(work.lost)
        self._events(work, outcome)
        for some in _batches(work.snapshots):
            self._snapshots(some, outcome, work.lost)
        reached = self._writer.catch_up(more=work.more)
        outcome.unsearchable = reached < self._store.head
        if reached - self._pruned >= PRUNE_EVERY:
            self.counts["outbox_pruned"] += self._store.prune_outbox(reached)
            self._pruned = reached
        return outcome

    def _events(self, work: Work, outcome: Outcome) -> None:
        """Apply events; cursors are saved with the last of them, when nothing older is left."""
        runs = [(kind, list(run)) for kind, run in groupby(work.events, _is_op)]
        for number, (ops, run) in enumerate(runs, 1):
            last = number == len(runs)
            if ops:
                self._fold([event for event in run if _is_op(event)], work, outcome, last=last)
            else:
                for event in run:
                    final = last and event is run[-1]
                    self._other(event, _advance(outcome, work) if final else {})
        if not runs and work.read:
            cursors = _advance(outcome, work)
            self._store.save_cursors(cursors, self._clock())

    def _fold(
        self,
        run: Sequence[Commit | LooseOp | Malformed],
        work: Work,
        outcome: Outcome,
        *,
        last: bool,
    ) -> None:
        repos = self._store.repos({event.did for event in run if event.did is not None})
        rows = self._store.rows(touched(run))
        now = self._clock()
        changes = fold(
            run,
            repos,
            rows,
            now,
            verify=self._verify,
            judged=work.judged,
            limits=self._store.limits,
        )
        outcome.doubted += changes.doubted
        outcome.behind |= {
            repo.did for repo in changes.repos.values() if repo.sync == "desynchronised"
        }
        cursors = _advance(outcome, work) if last else {}
        self._commit(changes, cursors, now)

    def _snapshots(self, some: Sequence[Snapshot], outcome: Outcome, lost: Collection[str]) -> None:
        """Apply whole repos; those of which something was lost meanwhile stay behind."""
        changes, now = Changes(), self._clock()
        repos = self._store.repos(snapshot.did for snapshot in some)
        for snapshot in some:
            repo = repos.get(snapshot.did)
            if repo is None or repo.status == "deleted":
                continue
            if tid_micros(snapshot.rev) > now + FUTURE_US:
                changes.counts["snapshots_from_the_future"] += 1
                outcome.outdated.add(snapshot.did)
                continue
            held = self._store.held(snapshot.did)
            one = fold_snapshot(snapshot, repo, held, self._store.limits)
            if not one.repos:
                outcome.outdated.add(snapshot.did)
            elif snapshot.did in lost:
                one.repos[repo.did] = replace(one.repos[repo.did], sync="desynchronised")
                one.in_step.clear()
            changes.add(one)
        self._commit(changes, {}, now)

    def _commit(self, changes: Changes, cursors: Mapping[str, int], now_us: int) -> None:
        dropped = self._store.commit(changes, cursors, now_us)
        self.counts += changes.counts
        self.counts["quarantine_dropped"] += dropped

    def _other(self, event: Event, cursors: Mapping[str, int]) -> None:
        now = self._clock()
        match event:
            case Account(did=did, active=active, status=status):
                if not self._store.set_account(event, cursors, now):
                    self.counts["stale_accounts"] += 1
                elif not active:
                    self._writer.catch_up()
                    if status == "deleted":
                        self._store.purge(did)
            case Identity(did=did):
                self._store.set_identity_due(did, cursors, now)
            case Sync(did=did, rev=rev):
                self._store.set_sync(did, rev, cursors, now)
            case Gap():
                dropped = self._store.note_gap(event, cursors, now)
                self.counts["quarantine_dropped"] += dropped
        self.counts[type(event).__name__.lower()] += 1


def _advance(outcome: Outcome, work: Work) -> Mapping[str, int]:
    """The highest cursors behind which nothing is undecided; noted in `outcome`."""
    cursors = dict(work.read)
    undecided = [(commit.source, commit.seq) for commit in outcome.doubted]
    for source, seq in (*work.waiting.items(), *undecided):
        if source in cursors:
            cursors[source] = min(cursors[source], seq - 1)
    outcome.cursors = cursors
    return cursors


def _is_op(event: Event) -> TypeGuard[Commit | LooseOp | Malformed]:
    return isinstance(event, Commit | LooseOp | Malformed)


def _batches(snapshots: Sequence[Snapshot]) -> Iterator[list[Snapshot]]:
    """Snapshots to be stored in one transaction each: a transaction costs as much as many rows."""
    batch: list[Snapshot] = []
    for snapshot in snapshots:
        batch.append(snapshot)
        if sum(len(one.records) for one in batch) >= BATCH_RECORDS:
            yield batch
            batch = []
    if batch:
        yield batch
