"""What a Jetstream server left out is noticed and fetched; cursors stay with their source."""

import json
from contextlib import aclosing
from pathlib import Path

import pytest

from atdata_indexer import reconcile
from atdata_indexer.jetstream import NOTICE
from atdata_indexer.sources.jetstream import JetstreamV1
from tests.appview import until
from tests.jetstream_server import Heard, JetstreamServer
from tests.jetstream_world import World, found
from tests.signed import START_US, Author


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No grace for what may still be on its way: here nothing is."""
    monkeypatch.setattr(reconcile, "GRACE_S", 0.0)


async def test_another_server_stands_in_and_what_was_missed_is_fetched(tmp_path: Path) -> None:
    first, second = JetstreamServer(1), JetstreamServer(2)
    alice, bob = Author("alice"), Author("bob")
    world = World(alice, bob, servers=[first, second])
    async with world.serve(), world.followed(tmp_path) as indexer:
        told = [alice.create(1), bob.create(1)]
        world.serve_repos()
        first.commit(*told)
        await world.settled(indexer)
        second.commit(alice.create(2), bob.delete(1))  # before anybody listens there
        world.serve_repos()
        first.close()
        await until(lambda: second.connections > 0)
        assert "cursor" not in second.queries[0], "cursors are never carried across"
        await until(lambda: found(indexer) == world.truth())
        assert indexer.counts["failovers"] == 1
        assert indexer.counts["gaps_in_streams"] == 1
        second.commit(alice.create(3))
        assert await world.settled(indexer) == world.truth()
        names = [status.name for status in indexer.sources()]
        assert names[0].startswith("jetstream-v1:ws://")
        assert names[1].startswith("jetstream-v2:ws://")
        assert {status.cursor for status in indexer.sources()} == {first.last, second.last}


async def left_out(world: World, folder: Path, *, gaps: int = 1) -> None:
    """Restart where the server has forgotten the cursor: what it left out is fetched."""
    (server,), (alice, bob) = world.servers, world.authors
    async with world.serve():
        async with world.followed(folder) as indexer:
            told = [alice.create(1), bob.create(1)]
            world.serve_repos()
            server.commit(*told)
            await world.settled(indexer)
        server.commit(alice.create(2), bob.delete(1), alice.update(1, "Unseen"))
        world.serve_repos()
        server.floor = len(server.log)
        server.commit(alice.create(3))
        async with world.followed(folder) as indexer:
            server.commit(alice.create(4))
            world.serve_repos()
            await until(lambda: found(indexer) == world.truth())
            assert await world.settled(indexer) == world.truth()
            assert indexer.counts["gaps_in_streams"] == gaps
            assert indexer.counts["disconnects"] == 0


async def test_version_1_clamps_an_old_cursor_in_silence_and_the_gap_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atdata_indexer.sources.jetstream.SLACK_US", 1_500)
    world = World(Author("alice"), Author("bob"), servers=[JetstreamServer(1)])
    await left_out(world, tmp_path)
    (server,) = world.servers
    assert int(server.queries[-1]["cursor"][0]) < server.position(server.floor)


@pytest.mark.parametrize(
    ("hours", "first", "late"),
    [
        (35, 59_000_000, False),
        (35, 61_000_000, True),
        (35, -1, True),
        (36, 0, False),
        (36, 1, False),
        (36, 2, True),
    ],
)
async def test_version_1_must_begin_near_the_cursor_and_after_36_hours_at_it(
    hours: int, first: int, late: bool
) -> None:
    server = JetstreamServer(1)
    event = {"did": "did:plc:x", "time_us": START_US + first, "kind": "identity", "identity": {}}
    message = json.dumps(event).encode()
    server.hear(Heard("identity", "", raw=message))
    async with server.serve() as url:
        stream = JetstreamV1(url, clock=lambda: START_US + hours * 3_600_000_000)
        async with aclosing(stream.frames(START_US)) as chunks:
            assert await anext(chunks) == ()
            assert await anext(chunks) == ([NOTICE] if late else [message])


async def test_version_2_refuses_an_old_cursor_and_is_taken_up_at_the_oldest_it_has(
    tmp_path: Path,
) -> None:
    server = JetstreamServer(2)
    # Ours and the server's own notice.
    await left_out(World(Author("alice"), Author("bob"), servers=[server]), tmp_path, gaps=2)
    assert server.refused == ["CursorTooOld"]


async def test_version_2_that_refuses_even_that_is_taken_up_at_its_end(tmp_path: Path) -> None:
    server = JetstreamServer(2)
    server.refuses_times = True
    await left_out(World(Author("alice"), Author("bob"), servers=[server]), tmp_path)
    assert server.refused == ["CursorTooOld", "CursorTooOld"]


async def test_version_2_that_knows_no_such_cursor_yet_leaves_a_gap(tmp_path: Path) -> None:
    server = JetstreamServer(2)
    alice = Author("alice")
    world = World(alice, servers=[server])
    async with world.serve():
        async with world.followed(tmp_path) as indexer:
            told = alice.create(*range(20))
            world.serve_repos()
            server.commit(told)
            await world.settled(indexer)
        server.log.clear()  # another archive under the same address
        alice.create(30)
        world.serve_repos()
        async with world.followed(tmp_path) as indexer:
            server.commit(alice.create(31))
            await until(lambda: found(indexer) == world.truth())
            assert indexer.counts["gaps_in_streams"] == 1
            await until(lambda: indexer.sources()[0].cursor == server.last)


async def test_the_cursors_of_the_versions_are_never_mixed(tmp_path: Path) -> None:
    one, two = JetstreamServer(1), JetstreamServer(2)
    alice = Author("alice")
    world = World(alice, servers=[one])
    async with world.serve(), two.serve() as url:
        async with world.followed(tmp_path) as indexer:
            told = alice.create(1)
            world.serve_repos()
            one.commit(told)
            await world.settled(indexer)
            cursors = indexer.store.cursor
            assert cursors(f"jetstream-v1:{world.urls[0]}") == one.last
            assert cursors(f"jetstream-v2:{world.urls[0]}") is None
        world.servers, world.urls = [two], [url]
        async with world.followed(tmp_path):
            assert "cursor" not in two.queries[0]
