"""Accounts of which nothing is held are forgotten after a while, and lose nothing by it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.daemon import Indexer
from atdata_indexer.frames import Account
from atdata_indexer.index.store import Store
from atdata_indexer.ingest import Work, wall_clock
from atdata_indexer.limits import DAY_US
from tests.appview import settings, until
from tests.builders import DATASET, commit, dataset, rev, without
from tests.network import Network, found
from tests.signed import Author, path
from tests.small_index import ALICE, BOB, NOW_US, SmallIndex

WEEK_LATER = NOW_US + 8 * DAY_US
MONTH_LATER = NOW_US + 31 * DAY_US


class Clock:
    """The real time, and as much more as a test lets go by."""

    def __init__(self) -> None:
        self.later_us = 0

    def __call__(self) -> int:
        return wall_clock() + self.later_us


@asynccontextmanager
async def followed(
    network: Network, folder: Path, clock: Clock, **more: Any
) -> AsyncIterator[Indexer]:
    async with network.serve() as host:
        values = settings(folder, host, **({"backfill": True} | more))
        async with Indexer.open(values, pause=lambda failures: 0.0, clock=clock) as indexer:
            running = asyncio.create_task(indexer.run())
            try:
                yield indexer
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


async def went_by(indexer: Indexer, clock: Clock, days: int) -> None:
    """Let days go by, and the rounds that are due then be gone."""
    clock.later_us += days * DAY_US
    indexer._rounds.hurry()


@pytest.fixture
def index(tmp_path: Path) -> Any:
    small = SmallIndex(tmp_path)
    yield small
    small.close()


def emptied(index: SmallIndex, did: str = ALICE) -> None:
    """An account that had a record once, whose tombstone is no longer kept."""
    where = f"{DATASET}/3kdatasetaaaa"
    create = commit(1, did=did, rev=rev(1), ops=[("create", where, dataset())])
    delete = commit(2, did=did, rev=rev(2), since=rev(1), ops=[("delete", where, None)])
    index.ingest.apply(Work([create, delete], {"test": 2}, repos=[did]))
    index.store.set_sync_state(did, "active")


def tracked(indexer: Indexer) -> set[str]:
    """The accounts whose every commit is read."""
    return indexer._housekeeper._tracked


def forgettable(store: Store, now_us: int) -> list[str]:
    return store.forgettable(now_us, 99)


def test_an_account_is_forgotten_when_its_last_tombstone_is(index: SmallIndex) -> None:
    emptied(index)
    assert forgettable(index.store, MONTH_LATER) == []
    assert index.store.tidy(MONTH_LATER)["tombstones_pruned"] == 1
    assert forgettable(index.store, NOW_US + 6 * DAY_US) == [], "met too lately"
    assert forgettable(index.store, WEEK_LATER) == [ALICE]
    assert index.store.forget([ALICE, BOB], WEEK_LATER) == {ALICE}
    assert index.store.tracked() == set()


def test_an_account_with_a_record_or_an_entry_in_quarantine_is_kept(index: SmallIndex) -> None:
    where = f"{DATASET}/3kdatasetaaaa"
    invalid = commit(1, did=ALICE, rev=rev(1), ops=[("create", where, without(dataset(), "urls"))])
    valid = commit(2, did=BOB, rev=rev(1), ops=[("create", where, dataset())])
    index.ingest.apply(Work([invalid, valid], {"test": 2}, repos=[ALICE, BOB]))
    assert forgettable(index.store, MONTH_LATER) == []
    assert index.store.forget([ALICE, BOB], MONTH_LATER) == set()
    assert index.store.tracked() == {ALICE, BOB}


@pytest.mark.parametrize("status", ["deleted", "takendown"])
def test_an_account_that_is_not_active_is_remembered_for_longer(
    index: SmallIndex, status: str
) -> None:
    emptied(index)
    index.store.tidy(MONTH_LATER)
    index.ingest._clock = lambda: MONTH_LATER
    index.ingest.apply(Work([Account(3, ALICE, False, status)], {"test": 3}))
    assert forgettable(index.store, MONTH_LATER + 29 * DAY_US) == []
    assert forgettable(index.store, MONTH_LATER + 31 * DAY_US) == [ALICE]


def test_a_hidden_account_with_rows_is_never_forgotten(index: SmallIndex) -> None:
    where = f"{DATASET}/3kdatasetaaaa"
    index.ingest.apply(
        Work([commit(1, did=ALICE, rev=rev(1), ops=[("create", where, dataset())])], {"test": 1})
    )
    index.ingest.apply(Work([Account(2, ALICE, False, "takendown")], {"test": 2}))
    assert forgettable(index.store, NOW_US + 999 * DAY_US) == []


async def test_a_forgotten_account_that_speaks_again_is_met_anew_and_loses_nothing(
    tmp_path: Path,
) -> None:
    author, clock = Author("alice"), Clock()
    network = Network(author)
    network.send(author.create(1))
    network.serve_repos()
    async with followed(network, tmp_path, clock) as indexer:
        await network.settled(indexer)
        network.send(author.delete(1))
        network.serve_repos()
        await network.settled(indexer)
        await went_by(indexer, clock, 32)
        await until(lambda: indexer.counts["tombstones_pruned"] == 1)
        indexer._rounds.hurry()
        await until(lambda: indexer.counts["accounts_forgotten"] == 1)
        assert tracked(indexer) == set()
        with indexer.store.reader() as db:
            assert db.execute("SELECT did FROM repos").fetchall() == []
        network.send(author.create(2))
        network.send(author.create(3))
        network.serve_repos()
        assert await network.settled(indexer) == author.uris()
        assert len(author.uris()) == 2
        assert tracked(indexer) == {author.did}


@pytest.mark.parametrize("verify", ["full", "hash-only"])
async def test_what_comes_while_an_account_is_being_forgotten_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verify: str
) -> None:
    author, clock = Author("alice"), Clock()
    network = Network(author)
    network.send(author.create(1))
    network.send(author.delete(1))
    network.serve_repos()
    async with followed(network, tmp_path, clock, verify=verify, tombstone_days=1) as indexer:
        await network.settled(indexer)
        fired = []
        forget = indexer.store.forget
        loop = asyncio.get_running_loop()

        async def speak() -> None:
            network.send(author.create(2))
            network.serve_repos()
            last = network.playback.last_seq
            await until(
                lambda: any(one.read.get(one.status.name, 0) >= last for one in indexer._followers)
            )

        def slowly(*args: Any) -> set[str]:
            asyncio.run_coroutine_threadsafe(speak(), loop).result(30)
            fired.append(forget(*args))
            return fired[-1]

        monkeypatch.setattr(indexer.store, "forget", slowly)
        await went_by(indexer, clock, 9)
        await until(lambda: indexer.counts["tombstones_pruned"] == 1)
        indexer._rounds.hurry()
        await until(lambda: bool(fired))
        assert fired == [{author.did}], "it spoke before it was forgotten"
        await until(lambda: found(indexer) == author.uris())
        assert await network.settled(indexer) == author.uris()
        assert tracked(indexer) == {author.did}
        assert indexer.store.record_status(f"at://{author.did}/{path(2)}").status == "indexed"


async def test_an_account_that_wrote_before_it_could_be_forgotten_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    author, clock = Author("alice"), Clock()
    network = Network(author)
    network.send(author.create(1))
    network.send(author.delete(1))
    network.serve_repos()
    async with followed(network, tmp_path, clock, tombstone_days=1) as indexer:
        await network.settled(indexer)
        asked = []
        forgettable = indexer.store.forgettable

        def too_early(*args: Any) -> list[str]:
            asked.append(forgettable(*args))
            return [author.did]

        monkeypatch.setattr(indexer.store, "forgettable", too_early)
        indexer._rounds.hurry()
        await until(lambda: bool(asked))
        network.send(author.create(2))
        network.serve_repos()
        assert await network.settled(indexer) == author.uris()
        assert asked[0] == []
        assert indexer.counts["accounts_forgotten"] == 0
        assert tracked(indexer) == {author.did}
