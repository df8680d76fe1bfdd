"""A relay and Jetstream at once: one truth per repo, whichever is ahead."""

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from atdata_indexer.daemon import Indexer
from atdata_indexer.sources.relay import RelaySource
from benchmarks.repos import encode
from tests.appview import settings, until
from tests.contents import stored
from tests.jetstream_server import JetstreamServer
from tests.jetstream_world import World, found, uri, verified
from tests.signed import Author, frame


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def server(request: pytest.FixtureRequest) -> JetstreamServer:
    return JetstreamServer(request.param)


def history(*authors: Author) -> list[Mapping[str, Any]]:
    """A log in which records are made, changed, deleted and made again."""
    log: list[Mapping[str, Any]] = []
    for number in range(12):
        for author in authors:
            log.append(author.create(number, 50 + number))
            log.append(author.update(number, f"Better {number}"))
            if number % 2:
                log.append(author.delete(number))
            if number % 4 == 3:
                log.append(author.create(number, name="Again"))
    return log


def account_frame(did: str, seq: int, *, active: bool) -> bytes:
    body = {"did": did, "seq": seq, "time": "2026-05-28T20:26:40.000Z", "active": active}
    status = {} if active else {"status": "deactivated"}
    return encode({"op": 1, "t": "#account"}) + encode(body | status)


@pytest.mark.parametrize("seed", range(4))
async def test_relay_and_jetstream_at_once_end_as_the_relay_alone(
    tmp_path: Path, server: JetstreamServer, seed: int
) -> None:
    chance = random.Random(seed)
    authors = [Author("alice"), Author("bob", ec.SECP256R1()), Author("carol")]
    log = history(*authors)
    world = World(*authors, servers=[server])
    async with world.serve():
        async with world.followed(tmp_path / "both", relay=True, backfill=seed % 2 == 0) as indexer:
            ahead = {True: 0, False: 0}
            world.serve_repos()
            while min(ahead.values()) < len(log):
                relay = chance.random() < (0.2, 0.8, 0.5, 0.5)[seed]
                many = chance.randint(1, 20)
                part = log[ahead[relay] : ahead[relay] + many]
                ahead[relay] += len(part)
                if relay:
                    for body in part:
                        world.relay.append(frame(body))
                else:
                    server.commit(*part)
                await asyncio.sleep(0)
            assert await world.settled(indexer, fetched=seed % 2 == 0) == world.truth()
            with indexer.store.reader() as db:
                sql = "SELECT count(*) FROM records WHERE NOT verified"
                assert db.execute(sql).fetchall() == [(0,)], "the relay proved all of it"
                sql = "SELECT did, rev FROM repos"
                assert dict(db.execute(sql).fetchall()) == {a.did: a.repo.rev for a in authors}
            of_both = stored(indexer.store)
        alone = [RelaySource(f"ws://{world.host}")]
        values = settings(tmp_path / "alone", world.host, backfill=False)
        async with Indexer.open(values, [alone]) as indexer:
            running = asyncio.create_task(indexer.run())
            await until(lambda: indexer.is_current(world.relay.last_seq))
            assert found(indexer) == world.truth()
            if seed % 2:
                assert stored(indexer.store) == of_both
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_a_late_commit_of_the_relay_proves_what_jetstream_reported(
    tmp_path: Path, server: JetstreamServer
) -> None:
    alice = Author("alice")
    world = World(alice, servers=[server])
    async with world.serve(), world.followed(tmp_path, relay=True, backfill=False) as indexer:
        told = [alice.create(1, 2), alice.update(1, "Better"), alice.delete(2)]
        server.commit(*told)
        await until(lambda: found(indexer) == world.truth())
        await until(lambda: indexer.store.record_status(uri(alice, 2)).status == "deleted")
        assert verified(indexer, alice, 1) is False
        for body in told:
            world.relay.append(frame(body))
        await until(lambda: verified(indexer, alice, 1) is True)
        assert await world.settled(indexer, fetched=False) == world.truth()


@pytest.mark.parametrize("first", ["jetstream", "relay"])
async def test_a_delete_that_one_has_seen_never_comes_back_by_the_other(
    tmp_path: Path, server: JetstreamServer, first: str
) -> None:
    alice = Author("alice")
    world = World(alice, servers=[server])
    async with world.serve(), world.followed(tmp_path, relay=True, backfill=False) as indexer:
        log = [alice.create(1), alice.update(1, "Better"), alice.delete(1), alice.create(2)]

        def by(name: str) -> None:
            if name == "jetstream":
                server.commit(*log)
            else:
                for body in log:
                    world.relay.append(frame(body))

        by(first)
        await until(lambda: found(indexer) == world.truth())
        shown: list[str] = []
        head = indexer.store.head
        by("relay" if first == "jetstream" else "jetstream")
        assert await world.settled(indexer, fetched=False) == world.truth()
        with indexer.store.reader() as db:
            sql = "SELECT uri FROM outbox WHERE seq > ? AND op IN ('create', 'update')"
            shown = [one for (one,) in db.execute(sql, [head]).fetchall()]
        assert uri(alice, 1) not in shown
        assert indexer.store.record_status(uri(alice, 1)).status == "deleted"


async def test_an_account_that_left_by_one_source_stays_away_when_the_other_is_late(
    tmp_path: Path, server: JetstreamServer
) -> None:
    alice = Author("alice")
    world = World(alice, servers=[server])
    async with world.serve(), world.followed(tmp_path, relay=True, backfill=False) as indexer:
        server.commit(alice.create(1))
        await until(lambda: found(indexer) == world.truth())
        server.account(alice.did, active=False, status="deactivated")
        await until(lambda: found(indexer) == {})
        late = account_frame(alice.did, 1, active=True).replace(b"2026-05-28", b"2026-05-27")
        world.relay.append(late)
        await until(lambda: indexer.counts["stale_accounts"] == 1)
        assert found(indexer) == {}


async def test_where_to_begin_is_said_to_the_first_source_alone(
    tmp_path: Path, server: JetstreamServer
) -> None:
    world = World(Author("alice"), servers=[server])
    async with world.serve(), world.followed(tmp_path, relay=True, first_cursor=7):
        assert "cursor" not in server.queries[0], "7 is a cursor of the relay"
    async with world.serve(), world.followed(tmp_path / "alone", first_cursor=7):
        assert server.queries[1]["cursor"] == ["7"]
