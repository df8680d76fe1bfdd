"""Keeps the export: makes it every night and when asked, and withdraws it when something is hidden.

Nothing that is hidden may be had from an export, so one that holds any of it is withdrawn at once
and made anew. That takes time, and accounts that come and go could keep a machine busy with it:
after each export the next waits as long as WAIT times what the last one took.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial

import structlog

from atdata_indexer.changes_feed import SHOWING
from atdata_indexer.exports import Export, Exports
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
_HIDING = (
    "SELECT DISTINCT did FROM outbox WHERE seq > ? AND seq <= ? AND op NOT IN (SELECT unnest(?))"
)
_KEPT_FROM = "SELECT coalesce(min(seq), 0) FROM outbox"


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
        self._withdrawn = False
        self._not_before = time.monotonic() + first_s
        self._last = self._rest = 0.0
        self._looked_at = 0
        self.check()

    def check(self) -> None:
        """Withdraw an export that holds what is hidden now, or that belongs to another database.

        Raises StoreError.
        """
        made = self._exports.current()
        until = self._reader.seq  # what is above may not be committed yet
        if made is None:
            self._looked_at = until
            return
        after = max(made.seq, self._looked_at)
        with self._store.reader() as db:
            ((oldest,),) = db.execute(_KEPT_FROM).fetchall()
            hidden = db.execute(_HIDING, [after, until, _OF_AUTHORS]).fetchall()
        is_known = made.epoch == self._store.epoch and oldest <= after + 1
        if not is_known or any(self._exports.holds(made, did) for (did,) in hidden):
            self._exports.withdraw()
            self._withdrawn, self._not_before = True, self._last + self._rest
            structlog.get_logger().info("export_withdrawn", seq=until)
        self._looked_at = until

    async def make(self) -> Export:
        """Make an export now. Raises StoreError and OSError."""
        async with self._making:
            started = time.monotonic()
            work = partial(self._exports.make, self._store, self._clock())
            made = await asyncio.to_thread(work)
            self._last = time.monotonic()
            taken = self._last - started
            self._rest = WAIT * taken
            # What was hidden meanwhile is in it.
            self._withdrawn = False
            self._looked_at = made.seq
            await asyncio.to_thread(self.check)
        rows = {name: file.rows for name, file in made.files.items()}
        structlog.get_logger().info("exported", seq=made.seq, seconds=round(taken, 2), **rows)
        return made

    async def run(self) -> None:
        """Keep the export until cancelled. Raises StoreError."""
        while True:
            if self._reader.seq != self._looked_at:
                await asyncio.to_thread(self.check)
            if self._is_due():
                try:
                    await self.make()
                except OSError as error:  # a full disk: searches need no export
                    self._not_before = time.monotonic() + 60
                    structlog.get_logger().error("export_failed", error=str(error))
            await asyncio.sleep(LOOK_S)

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
