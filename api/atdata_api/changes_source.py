"""Where the followers of changes get them from: one look-out and one reading for all of them.

Followers pull: nothing is queued for one that is slow, it only asks later. Those at the same place
share what is read there.
"""

import asyncio
from collections import OrderedDict

from starlette.concurrency import run_in_threadpool

from atdata_api.ledger import Ledger
from atdata_indexer.changes_feed import Batch, Span
from atdata_indexer.index.reader import Reader

LOOK_S = 0.05
"""How often somebody looks whether the index has moved, while anybody waits for it."""
_SHARED = 8
"""How many batches are kept for others who are at the same place."""


class ChangesSource:
    """The changes of the index, as far as they are searchable.

    Methods raise StoreError and IndexerUnavailable.
    """

    def __init__(self, reader: Reader, ledger: Ledger) -> None:
        self._reader = reader
        self._ledger = ledger
        self._looking: asyncio.Task[None] | None = None
        self._batches: OrderedDict[tuple[int, int], asyncio.Task[Batch]] = OrderedDict()

    @property
    def seq(self) -> int:
        """The last change that is searchable."""
        return self._reader.seq

    async def span(self) -> Span:
        """What is kept."""
        return await run_in_threadpool(self._ledger.changes_span)

    async def behind(self, seq: int) -> Batch:
        """The changes that follow `seq`, as soon as there are any."""
        while self._reader.seq <= seq:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look_out(self._reader.seq))
            # Shielded, as below: one that leaves must not take it from the others.
            await asyncio.shield(self._looking)
        key = seq, self._reader.seq
        reading = self._batches.get(key)
        if reading is None or (reading.done() and reading.exception() is not None):
            reading = asyncio.create_task(run_in_threadpool(self._ledger.changes, *key))
            self._batches[key] = reading
            while len(self._batches) > _SHARED:
                self._batches.popitem(last=False)
        return await asyncio.shield(reading)

    async def _look_out(self, seq: int) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self._reader.seq != seq:
                return
