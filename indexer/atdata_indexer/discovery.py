"""Finds repos that have records of ours: asks several hosts and unites what they say.

Relays and directories answer `listReposByCollection`; a PDS does not, and is asked for all its
repos and what each holds. No host knows of all, so each is asked, and again after a while. How far
each has answered is stored with the repos it named, so a crash only means that one page is read
twice.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog

from atdata_indexer.fetch import Fetcher, Page, Refused, RepoUnavailable
from atdata_indexer.index.store import Store
from atdata_schemas.records import COLLECTIONS

ALL = "*"
"""Stands for all collections, where a host is asked for its repos one by one."""
PATIENCE = 4
"""How often in a row a host may fail before who waits for it is told."""

type Keep = Callable[[str, str, Page], Awaitable[int]]
"""Stores a page of a host and collection; gives how many of its repos are new."""


class Discovery:
    """Asks `hosts`, which the operator names. `keep` stores what they say.

    `counts` says how many repos were named, how many of those were new, and how many hosts could
    not be asked when somebody waited for it.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        fetcher: Fetcher,
        store: Store,
        keep: Keep,
        pause: Callable[[int], float],
        collections: Sequence[str] = tuple(COLLECTIONS),
    ) -> None:
        self._hosts = hosts
        self._collections = collections
        self._fetcher = fetcher
        self._store = store
        self._keep = keep
        self._pause = pause
        self._log = structlog.get_logger()
        self._running = 0
        self._asking: dict[str, asyncio.Lock] = {}
        self._pages: Counter[str] = Counter()
        self._described: dict[tuple[str, str], bool] = {}
        self.counts: Counter[str] = Counter()

    @property
    def idle(self) -> bool:
        """Whether no host is being asked."""
        return not self._running

    async def round(self, before_us: int, hosts: Sequence[str] | None = None) -> None:
        """Ask every host that was not asked to the end since `before_us`, until each has answered.

        A host that cannot be had now is asked again and again, with growing pauses. If `hosts` are
        given, somebody waits: those are asked, or all if there are none, and one that fails time
        after time is given up.
        """
        patience = None if hosts is None else PATIENCE
        async with asyncio.TaskGroup() as tasks:
            for host in dict.fromkeys(hosts or self._hosts):
                tasks.create_task(self._patiently(host, before_us, patience))

    async def _patiently(self, host: str, before_us: int, patience: int | None) -> None:
        self._running += 1
        try:
            failures, pages = 0, self._pages[host]
            while True:
                try:
                    # Another round may be asking it: then there is nothing left to do afterwards.
                    async with self._asking.setdefault(host, asyncio.Lock()):
                        await self._ask(host, before_us)
                except (RepoUnavailable, Refused) as error:
                    failures = failures + 1 if pages == self._pages[host] else 1
                    pages = self._pages[host]
                    self.counts["discovery_failures"] += 1
                    self._log.warning("discovery_failed", host=host, error=str(error)[:300])
                    if failures == patience:
                        self.counts["hosts_failed"] += 1
                        return
                    await asyncio.sleep(max(self._pause(failures), getattr(error, "retry_s", 0)))
                else:
                    return
        finally:
            self._running -= 1

    async def _ask(self, host: str, before_us: int) -> None:
        cursor, done_us = await self._reached(host, ALL)
        if cursor is None and (done_us is None or done_us < before_us):
            try:
                for collection in self._collections:
                    await self._walk(host, collection, before_us)
                return
            except Refused:
                # A relay knows of every repo there is: those are not asked for one by one.
                if not await self._fetcher.is_pds(host):
                    raise
        await self._walk(host, ALL, before_us)

    async def _walk(self, host: str, collection: str, before_us: int) -> None:
        """Read a list from where it was left to its end, if it is due."""
        cursor, done_us = await self._reached(host, collection)
        if done_us is not None and done_us >= before_us:
            return
        new = 0
        kept = cursor
        seen = {cursor}
        while True:
            try:
                page = await self._page(host, collection, cursor)
            except Refused:
                if cursor is None or cursor != kept:
                    raise
                # The host does not know this place in its list any more.
                cursor = kept = None
                seen.clear()
                continue
            if page.cursor in seen:
                page = replace(page, cursor=None)  # it goes in circles: that was all
            seen.add(page.cursor)
            added = await self._keep(host, collection, page)
            new += added
            self._pages[host] += 1
            self.counts["named"] += len(page.dids)
            self.counts["new"] += added
            cursor = page.cursor
            if cursor is None:
                self._log.info("discovered", host=host, collection=collection, repos=new)
                return

    async def _page(self, host: str, collection: str, cursor: str | None) -> Page:
        """A page of the repos that have records of a collection, or of any of ours."""
        if collection != ALL:
            return await self._fetcher.repos_with(host, collection, cursor)
        page = await self._fetcher.repos(host, cursor)
        dids = list(dict.fromkeys(page.dids))
        for did in dids:
            # Kept until the page is: a host that wants a pause in the middle begins it only once.
            if (host, did) not in self._described:
                held = await self._fetcher.collections(host, did)
                self._described[host, did] = not held.isdisjoint(self._collections)
        return Page([did for did in dids if self._described.pop((host, did))], page.cursor)

    async def _reached(self, host: str, collection: str) -> tuple[str | None, int | None]:
        """Where a list goes on, and when it was last read to the end."""
        return await asyncio.to_thread(self._store.discovered, host, collection)
