"""Authors whose repos lie on hosts of their own, and an indexer that must find and fetch them."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from atdata_indexer.daemon import Indexer
from atdata_indexer.ingest import wall_clock
from atdata_indexer.playback import Playback
from atdata_indexer.repo import read_record
from atdata_indexer.settings import Settings
from atdata_schemas.syntax import cid_text
from benchmarks.hosts import Host
from benchmarks.repos import cid_of, sign
from tests.appview import PATIENCE_S, PROGRAM, settings, until
from tests.network import found
from tests.signed import Author, frame


class Shelved:
    """An author's repo as its PDS serves it: as it is now."""

    def __init__(self, author: Author) -> None:
        self.author = author

    @property
    def rev(self) -> str:
        return self.author.repo.rev

    @property
    def commit(self) -> str:
        repo = self.author.repo
        return cid_text(cid_of(sign(self.author.key, repo.did, repo.rev, repo._tree.root)))

    def car(self) -> bytes:
        return self.author.car()

    def records(self) -> Mapping[str, tuple[str, Any]]:
        author = self.author
        held = author.repo.records.items()
        return {path: (cid_text(cid), read_record(author.blocks[cid])) for path, cid in held}


class Frozen(Shelved):
    """A repo as it was when it was shelved, whatever its author has written since."""

    def __init__(self, author: Author) -> None:
        super().__init__(author)
        self._was = (author.repo.rev, super().commit, author.car(), super().records())

    @property
    def rev(self) -> str:
        return self._was[0]

    @property
    def commit(self) -> str:
        return self._was[1]

    def car(self) -> bytes:
        return self._was[2]

    def records(self) -> Mapping[str, tuple[str, Any]]:
        return self._was[3]


def authors(count: int, records: int = 2) -> list[Author]:
    """So many authors with some records each."""
    letters = "bcdefghijk"
    made = [Author("".join(letters[int(d)] for d in f"{n:04}") + "author") for n in range(count)]
    for author in made:
        author.create(*range(records))
    return made


def shelves(some: Sequence[Author]) -> dict[str, Shelved]:
    return {author.did: Shelved(author) for author in some}


def truth(some: Sequence[Author]) -> dict[str, str]:
    """URI and CID of every record of some authors."""
    return {uri: cid for author in some for uri, cid in author.uris().items()}


class World:
    """A relay that has told of nothing of ours yet, the directory, and the PDSs of authors.

    `clock` stands still at `now_us` if that is set; nobody waits before asking a host again.
    """

    def __init__(self, homes: Mapping[Host, Sequence[Author]]) -> None:
        self.playback = Playback([frame(Author("nobody").write())], {})
        self.homes = homes
        self.authors = [author for some in homes.values() for author in some]
        self.now_us: int | None = None
        self.urls: dict[Host, str] = {}

    def clock(self) -> int:
        return self.now_us or wall_clock()

    def send(self, body: Mapping[str, Any]) -> None:
        self.playback.append(frame(body))

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve relay and hosts; gives the relay's `127.0.0.1:port`."""
        async with AsyncExitStack() as stack:
            relay = await stack.enter_async_context(self.playback.serve())
            for host, some in self.homes.items():
                address = await stack.enter_async_context(host.serve())
                self.urls[host] = f"http://{address}"
                host.repos = shelves(some) | host.repos
                for author in some:
                    self.playback.identities[author.did] = author.identity(address)
            yield relay

    @asynccontextmanager
    async def indexed(self, folder: Path, **more: Any) -> AsyncIterator[Indexer]:
        """Serve, and index beside it; no host is asked for repos but those named."""
        async with self.served() as relay:
            values = settings(folder, relay, **({"backfill": True, "directories": "none"} | more))
            async with self.running(values) as indexer:
                yield indexer

    @asynccontextmanager
    async def running(self, values: Settings) -> AsyncIterator[Indexer]:
        async with Indexer.open(values, pause=lambda _: 0.0, clock=self.clock) as indexer:
            running, test = asyncio.create_task(indexer.run()), asyncio.current_task()
            assert test is not None

            def ended(_: object) -> None:
                test.cancel()  # it would wait for ever

            running.add_done_callback(ended)
            try:
                yield indexer
            finally:
                running.remove_done_callback(ended)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def settled(self, indexer: Indexer) -> dict[str, str]:
        """URI and CID of all that is found, once nothing can be looked up or fetched."""
        await until(lambda: not indexer.store.behind() and indexer.is_settled())
        return found(indexer)


def environment(values: Settings) -> dict[str, str]:
    """The variables of a process with these settings."""
    set_ones = values.model_dump(exclude_none=True, exclude_defaults=True)
    return os.environ | {Settings.variable(name): str(value) for name, value in set_ones.items()}


def run_command(values: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command with these settings, as an operator would run it."""
    return subprocess.run(
        [PROGRAM, *arguments],
        env=environment(values),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def run_backfill(values: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`backfill`, as an operator would run it."""
    return run_command(values, "backfill", *arguments)


async def fall_behind(indexer: Indexer, did: str) -> None:
    """Let it be known that a repo must be fetched again."""
    store = indexer.store
    await asyncio.to_thread(indexer._hold, lambda: store.set_sync_state(did, "desynchronised"))
    indexer._syncer.soon(did)
