"""Takes what waits to the writer, turn by turn, and does what follows from it.

    lanes, new repos, identities, snapshots ──Work──▶ writer thread ──Outcome──▶ look-ups, fetches,
                                                                                 releases, cursors

All of it happens in the event loop but the writing itself, which is the store's own thread's. A
failure of the store ends `run`, and with it the program: nothing uncommitted has moved a cursor.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress

from atdata_indexer.following import Follower
from atdata_indexer.frames import Account, Commit, Event, Gap, Identity, Sync
from atdata_indexer.housekeeping import Housekeeper
from atdata_indexer.ingest import Outcome, Work
from atdata_indexer.lanes import Lanes
from atdata_indexer.lookups import Lookups
from atdata_indexer.notes import Notes
from atdata_indexer.settings import Settings
from atdata_indexer.sync import Syncer

JUDGED_S = 300.0
IDLE_SAVE_S = 2.0


class Applier:
    """Applies work while it runs. `write` makes a batch durable and searchable, in `thread`.

    `room` is set after every turn; `hurry` is called when everything must be compared.
    """

    def __init__(
        self,
        settings: Settings,
        lanes: Lanes,
        tracked: set[str],
        thread: Executor,
        notes: Notes,
        *,
        write: Callable[[Work], Outcome],
        wake: asyncio.Event,
        room: asyncio.Event,
        hurry: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._lanes = lanes
        self._tracked = tracked
        self._thread = thread
        self._notes = notes
        self._write = write
        self._wake = wake
        self._room = room
        self._hurry = hurry
        self._found: list[str] = []
        self._judged: dict[str, float] = {}
        self._unsearchable = False
        self._ended = False
        self._turning = False

    def attach(
        self,
        followers: Sequence[Follower],
        lookups: Lookups,
        syncer: Syncer,
        housekeeper: Housekeeper,
    ) -> None:
        """Name those who feed it and are fed by it: they know it, so they come after it."""
        self._followers = followers
        self._lookups = lookups
        self._syncer = syncer
        self._housekeeper = housekeeper

    def meet(self, did: str) -> None:
        """Begin to track an account; its commits wait until its key is known."""
        self._tracked.add(did)
        self._found.append(did)
        if self._settings.verify == "full":
            self._lanes.hold(did)

    async def give_up(self, did: str) -> None:
        """Drop what waits for an account that cannot be looked up: its repo is fetched later."""
        if not self._stays_held(did):
            await self._notes.behind([did])
            self._lanes.drop(did)
            self._lanes.release(did)

    @property
    def has_work(self) -> bool:
        """Whether anything waits that can be applied now."""
        waits = self._found or self._lookups.resolved or self._syncer.snapshots
        return bool(len(self._lanes) or waits or self._unsearchable)

    @property
    def idle(self) -> bool:
        """Whether nothing is being applied or could be."""
        return not self._turning and not self.has_work

    def end(self) -> None:
        """Let `run` end when all that waits is applied."""
        self._ended = True
        self._wake.set()

    async def run(self) -> None:
        """Apply batch by batch until cancelled or at the end. Raises StoreError."""
        loop = asyncio.get_running_loop()
        saved = turned = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SAVE_S):
                    await self._wake.wait()
            if not self._ended:
                # What comes after a pause goes at once; what follows is gathered.
                await asyncio.sleep(turned + self._settings.batch_ms / 1000 - loop.time())
            self._wake.clear()
            idle = self._ended or loop.time() - saved >= IDLE_SAVE_S
            while self.has_work:
                await self._turn(loop)
                saved = turned = loop.time()
            if idle and self._read_on():
                # Once, not until they agree: a cursor stays behind while a repo is held.
                await self._turn(loop)
                saved = loop.time()
            if self._ended and not self._lanes.holding and not self.has_work:
                return

    def _read_on(self) -> bool:
        """Whether any source was read further than is stored."""
        return any(
            one.read.get(status.name, status.cursor) != status.cursor
            for one in self._followers
            for status in one.statuses
        )

    async def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """One turn of the writer, and what follows from it."""
        work = Work(
            events=self._lanes.take(self._settings.batch_events),
            read={name: seq for one in self._followers for name, seq in one.read.items()},
            waiting=self._lanes.oldest(),
            repos=self._found,
            identities=self._lookups.resolved,
            snapshots=self._syncer.snapshots,
            judged=self._judged_now(loop.time()),
            lost=frozenset(self._lanes.lost),
            more=len(self._lanes) > 0,
        )
        self._found, self._lookups.resolved, self._syncer.snapshots = [], [], []
        self._turning = True
        try:
            outcome = await loop.run_in_executor(self._thread, self._write, work)
        finally:
            self._turning = False
        self._unsearchable = outcome.unsearchable
        for one in self._followers:
            for status in one.statuses:
                status.cursor = outcome.cursors.get(status.name, status.cursor)
        self._room.set()
        for did in work.lost:
            if not self._lanes.holds(did):
                self._lanes.made_up_for(did)
                self._syncer.soon(did)
        self._lookups.all_soon(work.repos)
        for event in work.events:
            self._follow_up(event)
        for did in outcome.behind:
            self._syncer.soon(did)
        self._doubt(outcome.doubted, loop.time())
        for identity in work.identities:
            if not self._stays_held(identity.did):
                self._lanes.release(identity.did)
            self._syncer.resolved(identity)
        for snapshot in work.snapshots:
            self._syncer.applied(snapshot.did)
        for did in outcome.outdated:
            self._syncer.later(did)

    def _follow_up(self, event: Event) -> None:
        """What an event that was applied asks for beyond the store."""
        match event:
            case Identity(did=did):
                self._judged.pop(did, None)
                self._lookups.soon(did)
            case Account(did=did) | Sync(did=did):
                self._syncer.soon(did)
            case Gap(dids=dids):
                for did in dids:
                    self._syncer.soon(did)
                self._hurry()

    def _judged_now(self, now: float) -> frozenset[str]:
        """The accounts whose keys were looked up so lately that they need not be again."""
        self._judged = {did: until for did, until in self._judged.items() if until > now}
        return frozenset(self._judged)

    def _doubt(self, commits: Sequence[Commit], now: float) -> None:
        """Look keys up anew for commits that they do not fit; a second failure decides."""
        by_repo: dict[str, list[Commit]] = {}
        for commit in commits:
            by_repo.setdefault(commit.did, []).append(commit)
        for did, doubted in by_repo.items():
            self._judged[did] = now + JUDGED_S
            self._lanes.hold(did)
            self._lanes.put_back(did, doubted)
            self._lookups.soon(did)

    def _stays_held(self, did: str) -> bool:
        """Whether a repo is held for another reason than that its key is looked up."""
        return self._syncer.is_fetching(did) or self._housekeeper.is_forgetting(did)
