"""Keeps the export: makes it every night and when asked, and withdraws it when something is hidden.

Nothing that is hidden may be had from an export, so one that holds any of it is withdrawn at once,
also while the next is being made, and made anew. One that is being made when something in it is
hidden is never offered:

    snapshot ─▶ write ─▶ ( look at what was hidden since ─▶ offer ) ─▶ look again ─▶ …

The look before the offer is at one moment, and what is in parentheses happens under the lock under
which every look does: what is hidden after that moment is seen by the next.

All that takes time, and accounts that come and go could keep a machine busy with it: after each
export the next waits as long as WAIT times what the last one took.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import structlog

from atdata_indexer.changes_feed import SHOWING
from atdata_indexer.errors import StoreError
from atdata_indexer.exports import Export, Exports
from atdata_indexer.index import tables
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store

LOOK_S = 0.2
WAIT = 10
FIRST_S = 60.0
"""How long after the start the first export is made: there may be much to read first."""
_DAY_US = 86_400_000_000
_HOUR_US = 3_600_000_000

# What an author changes stays in the export until the next; only what hides others' is looked for.
_OF_AUTHORS = (*sorted(SHOWING), "delete", "quarantine", "deferred")
_SPAN = "SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM outbox"
_HIDING = "SELECT count(*) FROM outbox WHERE seq > ? AND op NOT IN (SELECT unnest(?))"
_VISIBLE = "SELECT count(*) FROM exported r JOIN repos p ON p.did = r.did WHERE p.status = 'active'"


@dataclass(frozen=True, slots=True)
class _Moment:
    """A moment of the database: the last change, and how often moderators had changed it."""

    seq: int = 0
    moderations: int = -1


class Exporter:
    """Keeps the export of one data directory. `hour` (UTC) is when it is made; None: if asked."""

    def __init__(
        self,
        exports: Exports,
        store: Store,
        reader: Reader,
        clock: Callable[[], int],
        hour: int | None,
        first_s: float = FIRST_S,
    ) -> None:
        self._exports = exports
        self._store = store
        self._reader = reader
        self._clock = clock
        self._hour = hour
        self._making = asyncio.Lock()
        self._looking = threading.Lock()
        self._looked_at = _Moment()
        self._withdrawn = False
        self._not_before = time.monotonic() + first_s
        self._rested = 0.0
        self.check()

    def check(self) -> None:
        """Withdraw an export that holds what is hidden now, or that belongs to another database.

        Any thread. Raises StoreError.
        """
        with self._looking:
            made = self._exports.current()
            may_stay, now = self._look(made, self._looked_at)
            if made is not None and not may_stay:
                self._exports.withdraw()
                self._make_anew("export_withdrawn", now)
            self._looked_at = now

    async def make(self) -> Export:
        """Make an export now. Raises StoreError and OSError."""
        made = await self._make()
        if made is None:
            raise StoreError(
                "something in the export was hidden while it was being made, so it is not offered;"
                " it is made anew soon"
            )
        return made

    async def run(self) -> None:
        """Keep the export until cancelled. Raises StoreError (in an ExceptionGroup)."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._check_always())
            tasks.create_task(self._make_when_due())

    async def _check_always(self) -> None:
        while True:
            seen = self._looked_at
            if (self._reader.seq, self._store.moderations) != (seen.seq, seen.moderations):
                await asyncio.to_thread(self.check)
            await asyncio.sleep(LOOK_S)

    async def _make_when_due(self) -> None:
        while True:
            if self._is_due():
                try:
                    await self._make()
                except (OSError, pa.ArrowException) as error:  # a full disk: searches need none
                    self._not_before = time.monotonic() + 60
                    structlog.get_logger().error("export_failed", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def _make(self) -> Export | None:
        """Make an export; None when something in it was hidden meanwhile."""
        async with self._making:
            return await asyncio.to_thread(self._make_and_offer)

    def _make_and_offer(self) -> Export | None:
        started = time.monotonic()
        with self._exports.written(self._store, self._clock()) as made, self._looking:
            taken = time.monotonic() - started
            self._rested = started + taken + WAIT * taken
            may_be_offered, now = self._look(made, _Moment())
            if not may_be_offered:
                self._make_anew("export_dropped", now)
                return None
            self._exports.offer(made)
            self._withdrawn, self._looked_at, self._not_before = False, now, self._rested
        rows = {name: file.rows for name, file in made.files.items()}
        structlog.get_logger().info("exported", seq=made.seq, seconds=round(taken, 2), **rows)
        return made

    def _look(self, made: Export | None, last: _Moment) -> tuple[bool, _Moment]:
        """Whether an export may be offered now, when it could be at the `last` moment; and now."""
        moderations = self._store.moderations  # before the rest: what comes then is seen next time
        with self._store.reader() as db:
            db.execute("BEGIN")  # all as of the same moment
            ((oldest, until),) = db.execute(_SPAN).fetchall()
            now = _Moment(until, moderations)
            if made is None or made.epoch != self._store.epoch:
                return False, now
            after = max(made.seq, last.seq)
            ((hiding,),) = db.execute(_HIDING, [after, _OF_AUTHORS]).fetchall()
            if not hiding and oldest <= after + 1 and moderations == last.moderations:
                return True, now
            try:
                for rows in self._exports.rows(made):
                    db.register("exported", pa.Table.from_batches([rows]))
                    if db.execute(_VISIBLE + tables.NOT_HIDDEN).fetchall() != [(rows.num_rows,)]:
                        return False, now
            except (OSError, pa.ArrowException, duckdb.OutOfMemoryException):  # nobody knows
                return False, now
        return True, now

    def _make_anew(self, why: str, now: _Moment) -> None:
        self._withdrawn, self._not_before = True, max(self._not_before, self._rested)
        structlog.get_logger().info(why, seq=now.seq)

    def _is_due(self) -> bool:
        if time.monotonic() < self._not_before or self._making.locked():
            return False
        if self._withdrawn:
            return True
        if self._hour is None:
            return False
        made = self._exports.current()
        now = self._clock()
        last = (now - self._hour * _HOUR_US) // _DAY_US * _DAY_US + self._hour * _HOUR_US
        return self._reader.seq > 0 if made is None else made.made_us < last
