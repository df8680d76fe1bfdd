"""Several relays: when one cannot be had another stands in, from its own cursor or from the live
end, and what was missed between them is fetched."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from atdata_indexer import reconcile
from atdata_indexer.daemon import Indexer
from atdata_indexer.following import PATIENCE
from atdata_indexer.playback import Playback
from tests.appview import settings, until
from tests.network import found
from tests.signed import Author, frame


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No grace for what may still be on its way."""
    monkeypatch.setattr(reconcile, "GRACE_S", 0.0)


class Relays:
    """Two relays with the same authors; the first can be cut off. Sequence numbers differ."""

    def __init__(self, *authors: Author) -> None:
        self.authors = authors
        self.one, self.two, self.home = (Playback([], {}) for _ in range(3))
        self._gate = asyncio.Event()

    def send(self, body: dict[str, object], *, to: tuple[Playback, ...]) -> None:
        for relay in to:
            offset = 1_000_000 if relay is self.two else 0
            relay.append(frame(body | {"seq": int(str(body["seq"])) + offset}))

    @asynccontextmanager
    async def indexer(self, folder: Path, one: str, two: str) -> AsyncIterator[Indexer]:
        values = settings(
            folder,
            self.host,
            relay=f"ws://{one},ws://{two}",
            backfill=True,
            directories=f"http://{self.host}",
        )
        async with Indexer.open(values, pause=lambda failures: 0.0) as indexer:
            running = asyncio.create_task(indexer.run())
            try:
                yield indexer
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    @asynccontextmanager
    async def at_home(self) -> AsyncIterator[None]:
        """The authors' PDS and directory, which stay whatever becomes of the relays."""
        async with self.home.serve() as self.host:
            for author in self.authors:
                self.home.identities[author.did] = author.identity(self.host)
            yield

    def publish(self) -> None:
        for author in self.authors:
            self.home.repos[author.did] = author.car()


def cursors(indexer: Indexer) -> dict[str, int | None]:
    return {one.name: one.cursor for one in indexer.sources()}


async def test_a_stand_in_begins_at_its_live_end_and_the_gap_between_is_fetched(
    tmp_path: Path,
) -> None:
    alice = Author("alice")
    relays = Relays(alice)
    async with AsyncExitStack() as first:
        await first.enter_async_context(relays.at_home())
        cut = AsyncExitStack()
        one = await cut.enter_async_context(relays.one.serve())
        two = await first.enter_async_context(relays.two.serve())
        # What the second had before anybody asked it is not asked of it again.
        relays.send(alice.create(1), to=(relays.one, relays.two))
        relays.publish()
        async with relays.indexer(tmp_path, one, two) as indexer:
            await until(lambda: found(indexer) == alice.uris() and not indexer.store.behind())
            missed = alice.create(2)
            relays.publish()
            await cut.aclose()
            relays.send(missed, to=(relays.two,))
            await until(lambda: indexer.counts["failovers"] >= 1)
            await until(lambda: found(indexer) == alice.uris())
            relays.send(alice.create(3), to=(relays.two,))
            relays.publish()
            await until(lambda: found(indexer) == alice.uris())
            assert indexer.counts["disconnects"] >= PATIENCE - 1, "and the end of the first stream"
            assert indexer.counts["gaps_in_streams"] >= 1
            at = cursors(indexer)
            assert at[f"ws://{one}"] == relays.one.last_seq
            assert at[f"ws://{two}"] in (None, relays.two.last_seq)
            await until(lambda: cursors(indexer)[f"ws://{two}"] == relays.two.last_seq)


async def test_every_relay_goes_on_from_its_own_cursor(tmp_path: Path) -> None:
    """Both have been read before: the second goes on where it was left, and nothing is a gap."""
    alice = Author("alice")
    relays = Relays(alice)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(relays.at_home())
        two = await stack.enter_async_context(relays.two.serve())
        relays.send(alice.create(1), to=(relays.two,))
        relays.publish()
        async with relays.indexer(tmp_path, two, "127.0.0.1:9") as indexer:
            await until(lambda: found(indexer) == alice.uris() and not indexer.store.behind())
            await until(lambda: cursors(indexer)[f"ws://{two}"] == relays.two.last_seq)
        relays.send(alice.create(2), to=(relays.two,))
        asked = relays.home.asked.count("com.atproto.sync.getRepo")
        async with relays.indexer(tmp_path, "127.0.0.1:9", two) as indexer:
            await until(lambda: found(indexer) == alice.uris())
            assert indexer.counts["failovers"] >= 1
            assert indexer.counts["gaps_in_streams"] == 0
            assert cursors(indexer)["ws://127.0.0.1:9"] is None, "it never told of anything"
        assert relays.home.asked.count("com.atproto.sync.getRepo") == asked
