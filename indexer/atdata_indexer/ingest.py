"""Applies events to the index: store first, tantivy second. Synchronous; one thread owns it.

events → runs of commits, folded and committed with their cursor
       → account, identity and sync events, each in a transaction of its own
       → tantivy catches up with the outbox
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby

from atdata_indexer.fold import fold, touched
from atdata_indexer.frames import Account, Commit, Event, Identity, Malformed, Sync
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import IndexWriter

PRUNE_EVERY = 10_000
"""How many outbox entries come between two prunings."""


def wall_clock() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


class Ingest:
    """Applies events of one source. `counts` says what became of them."""

    def __init__(
        self,
        store: Store,
        writer: IndexWriter,
        source: str,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        self._store = store
        self._writer = writer
        self._source = source
        self._clock = clock
        self.counts: Counter[str] = Counter()
        self._pruned = writer.seq

    def apply(
        self, events: Sequence[Event], resolved: Sequence[ResolvedIdentity], seq: int | None
    ) -> int:
        """Make events and identities durable and searchable; `seq` is what the stream has reached.

        Returns the outbox seq that searches see. Raises StoreError; then nothing that was not
        committed has moved the cursor.
        """
        covered = 0
        runs = [(kind, list(run)) for kind, run in groupby(events, _in_commits)]
        for in_commits, run in runs:
            if in_commits:
                self._commits([e for e in run if isinstance(e, Commit | Malformed)])
            else:
                for event in run:
                    self._other(event)
            covered = run[-1].seq
        if seq is not None and seq > covered:
            self._store.save_cursor(self._source, seq, self._clock())
        if resolved:
            self._store.set_identities(resolved)
        reached = self._writer.catch_up()
        if reached - self._pruned >= PRUNE_EVERY:
            self._store.prune_outbox(reached)
            self._pruned = reached
        return reached

    def _commits(self, run: Sequence[Commit | Malformed]) -> None:
        dids = {event.did for event in run if event.did is not None}
        now = self._clock()
        changes = fold(run, self._store.repos(dids), self._store.rows(touched(run)), now)
        self._store.commit(changes, self._source, run[-1].seq, now)
        self.counts += changes.counts

    def _other(self, event: Event) -> None:
        now = self._clock()
        match event:
            case Account(seq, did, active, status):
                self._store.set_account(did, active, status, self._source, seq, now)
            case Identity(seq, did):
                self._store.set_identity_due(did, self._source, seq, now)
            case Sync(seq, did, rev):
                self._store.set_sync(did, rev, self._source, seq, now)
        self.counts[type(event).__name__.lower()] += 1


def _in_commits(event: Event) -> bool:
    return isinstance(event, Commit | Malformed)
