"""Few requests at a time to one host, none before it says so, and no more than can be stored."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from atdata_indexer import sync
from atdata_indexer.hosts import PER_HOST, Hosts, host_of, seconds_of
from atdata_indexer.ingest import Outcome, Work
from benchmarks.hosts import Answer, Asked, Host, refusal
from tests.appview import (
    until,
    wait_until,
)
from tests.hosting import World, authors, truth
from tests.network import found

REPO = "sync.getRepo"


async def test_no_host_is_asked_more_than_two_things_at_a_time(tmp_path: Path) -> None:
    host = Host()
    world = World({host: authors(10)})
    async with world.indexed(tmp_path) as indexer:

        async def together(asked: Asked) -> Answer | None:
            if asked.method == REPO:
                await until(
                    lambda: len(indexer._syncer._fetching) == sync.FETCHES or host.times(REPO) > 6
                )
            return None

        host.meddle = together
        await indexer.backfill([world.urls[host]])
        assert found(indexer) == truth(world.authors)
    assert host.most_at_once == 2


async def test_a_host_is_the_same_however_it_is_spelled() -> None:
    now_s, inside, most = 100.0, 0, 0
    hosts = Hosts(clock=lambda: now_s)
    enough = asyncio.Event()

    async def ask(url: str) -> float:
        nonlocal inside, most
        async with hosts.turn(host_of(url)) as wait:
            inside += 1
            most = max(most, inside)
            await enough.wait()
            inside -= 1
            return wait

    spellings = ("https://a.example", "https://A.EXAMPLE.:443/", "https://me@a.example/xrpc")
    asking = [asyncio.create_task(ask(url)) for url in spellings * 2]
    await until(lambda: inside == PER_HOST)
    hosts.close("a.example:443", 60)
    hosts.close("a.example:443", 5)
    enough.set()
    assert [await one for one in asking] == [0, 0, 60, 60, 60, 60], "those who wait are told too"
    assert most == PER_HOST
    now_s += 59
    assert await ask(spellings[0]) == 1
    assert await ask("https://b.example") == 0
    now_s += 1
    assert await ask(spellings[1]) == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("Mon, 23 Nov 2026 08:00:30 GMT", 30),
        ("Mon, 23 Nov 2026 07:00:00 GMT", 0),
        ("86400", 3600),
        ("9" * 400, 3600),
        ("-1", 0),
        ("\u00b2", 0),
        ("soon", 0),
        (None, 0),
    ],
)
def test_a_pause_is_asked_for_in_seconds_or_until_a_date(header: str | None, seconds: int) -> None:
    assert seconds_of(header, 1_795_420_800.0) == seconds


async def test_a_host_that_asks_to_be_left_alone_is_left_alone_as_long(tmp_path: Path) -> None:
    some, host = authors(6), Host()
    refused: list[float] = []

    async def too_many(asked: Asked) -> Answer | None:
        if asked.method == REPO and host.times(REPO) == 3 and not refused:
            # Others wait for their turn meanwhile; they are told as well.
            refused.append(asyncio.get_running_loop().time())
            return refusal("RateLimitExceeded", 429, Retry_After="1")
        return None

    host.meddle = too_many
    world = World({host: some})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[host]])
        assert found(indexer) == truth(some)
    after = [asked.at - refused[0] for asked in host.of(REPO) if asked.at > refused[0]]
    assert after
    # One request may have been under way when it was refused.
    assert sum(wait < 1.0 for wait in after) <= 1, after


class Counted(asyncio.Event):
    """Knows how many wait for it."""

    waiting = 0

    async def wait(self) -> Literal[True]:
        self.waiting += 1
        try:
            return await super().wait()
        finally:
            self.waiting -= 1


async def test_while_the_writer_is_slow_no_more_is_fetched_than_may_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "UNWRITTEN_BYTES", 1)
    some, host = authors(20), Host()
    world = World({host: some})
    at_once: Counter[int] = Counter()
    waited: list[int] = []
    async with world.indexed(tmp_path) as indexer:

        async def when_all_are_known(asked: Asked) -> Answer | None:
            if asked.method == REPO:
                await until(lambda: sum(indexer.upkeep.census().repos.values()) == 20)
                await until(lambda: not indexer.store.identities_due())
            return None

        host.meddle = when_all_are_known
        indexer._syncer._written = waiters = Counted()
        write = indexer._applier._write

        def slow(work: Work) -> Outcome:
            if work.snapshots and host.times(REPO) < 10:
                wait_until(lambda: waiters.waiting == sync.FETCHES or host.times(REPO) == 20)
                waited.append(host.times(REPO))
            at_once[len(work.snapshots)] += 1
            return write(work)

        indexer._applier._write = slow
        await indexer.backfill([world.urls[host]])
        assert found(indexer) == truth(some)
    assert waited, "everybody has waited for the writer"
    assert max(at_once) <= sync.FETCHES


async def test_a_host_that_is_both_directory_and_pds_has_one_limit(tmp_path: Path) -> None:
    host = Host(directory=False)
    world = World({host: authors(10)})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[host]])
        assert found(indexer)
    assert host.most_at_once <= 2
