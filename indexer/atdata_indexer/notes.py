"""What the event loop has written besides the stream: each in the thread that owns the store."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor

from atdata_indexer.changes import SyncState
from atdata_indexer.fetch import Page
from atdata_indexer.index.store import Store


class Notes:
    """Writes short notes to the store. `thread` is the one that owns it.

    Every method raises StoreError.
    """

    def __init__(self, store: Store, thread: Executor, clock: Callable[[], int]) -> None:
        self._store = store
        self._thread = thread
        self._clock = clock

    async def sync(self, did: str, state: SyncState) -> None:
        """How it stands with a repo that was to be fetched."""
        await self.write(lambda: self._store.set_sync_state(did, state))

    async def behind(self, dids: Iterable[str]) -> None:
        """Repos of which something was lost must be fetched."""
        await self.write(lambda: self._store.set_behind(dids))

    async def checked(self, did: str) -> None:
        """A repo was compared with its PDS, or could not be."""
        await self.write(lambda: self._store.set_checked(did, self._clock()))

    async def unresolved(self, before_us: int, limit: int) -> list[str]:
        """Accounts that were not looked up since, now due."""
        return await self.write(lambda: self._store.unresolved(before_us, limit))

    async def page(self, host: str, collection: str, page: Page) -> list[str]:
        """The repos that a host named, and where its list goes on; gives the new ones."""
        return await self.write(
            lambda: self._store.note_page(host, collection, page, self._clock())
        )

    async def write[T](self, work: Callable[[], T]) -> T:
        """Do `work` in the thread that owns the store."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
