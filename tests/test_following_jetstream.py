"""Jetstream as the only source: the index ends as the authors have it, interrupted or not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from atdata_indexer.playback import recorded
from atdata_schemas.records import COLLECTIONS
from tests.appview import until
from tests.contents import quarantined, searchable, stored
from tests.jetstream_server import Heard, JetstreamServer, heard
from tests.jetstream_world import World, connected, found, uri, verified
from tests.signed import DATASET, Author, frame, record, rkey, tid
from tests.test_recording_ends_as_the_pds import TRUTH


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def server(request: pytest.FixtureRequest) -> JetstreamServer:
    return JetstreamServer(request.param)


async def test_jetstream_alone_ends_as_the_authors_have_it(
    tmp_path: Path, server: JetstreamServer
) -> None:
    alice, bob = Author("alice"), Author("bob", ec.SECP256R1())
    alice.create(1, 2)
    world = World(alice, bob, servers=[server])
    async with world.serve(), world.followed(tmp_path) as indexer:
        told = [alice.create(3), bob.create(1), alice.delete(2)]
        world.serve_repos()
        server.commit(*told)
        assert await world.settled(indexer) == world.truth()
        assert indexer.counts["snapshots"] == 2, "new authors are fetched whole"
        assert [verified(indexer, alice, n) for n in (1, 3)] == [True, True]

        server.commit(alice.create(4, 5), alice.update(1, "Renamed"), alice.delete(3))
        assert await world.settled(indexer) == world.truth()
        assert [verified(indexer, alice, n) for n in (1, 4, 5)] == [False, False, False]
        assert indexer.store.record_status(uri(alice, 3)).status == "deleted"
        assert indexer.counts["snapshots"] == 2, "nothing had to be fetched again"
        server.commit(alice.create(3, name="Again"))
        assert await world.settled(indexer) == world.truth()
        assert quarantined(indexer.store) == {}
    wanted = server.queries[0]["wantedCollections" if server.version == 1 else "collections"]
    assert wanted == list(COLLECTIONS)


async def test_what_the_recording_says_ends_as_its_pds(
    tmp_path: Path, server: JetstreamServer
) -> None:
    world = World(servers=[server])
    world.relay = recorded()
    async with world.serve(), world.followed(tmp_path, backfill=False) as indexer:
        server.relayed(*(one for _, one in world.relay.frames))
        await world.settled(indexer, fetched=False)
        wanted = {one: is_["cid"] for one, is_ in TRUTH["records"].items() if is_["valid"]}
        assert found(indexer) == wanted
        wrong = {one for one, is_ in TRUTH["records"].items() if not is_["valid"]}
        assert set(quarantined(indexer.store)) == wrong


async def test_account_states_hide_and_bring_back(tmp_path: Path, server: JetstreamServer) -> None:
    alice = Author("alice")
    world = World(alice, servers=[server])
    async with world.serve(), world.followed(tmp_path) as indexer:
        told = alice.create(1, 2)
        world.serve_repos()
        server.commit(told)
        assert await world.settled(indexer) == world.truth()
        server.account(alice.did, active=False, status="deactivated")
        await until(lambda: found(indexer) == {})
        assert indexer.store.record_status(uri(alice, 1)).account_status == "deactivated"
        server.account(alice.did, active=True)
        await until(lambda: found(indexer) == world.truth())
        server.account(alice.did, active=False, status="deleted")
        await until(lambda: found(indexer) == {})
        await until(lambda: all(row[-1] is None for row in stored(indexer.store).values()))


async def test_a_handle_change_shows_everywhere(tmp_path: Path, server: JetstreamServer) -> None:
    alice = Author("alice")
    world = World(alice, servers=[server])
    async with world.serve(), world.followed(tmp_path) as indexer:
        told = alice.create(1)
        world.serve_repos()
        server.commit(told)
        await world.settled(indexer)
        changed = alice.identity(world.host)
        changed["didDoc"]["alsoKnownAs"] = ["at://renamed.test"]
        world.relay.identities[alice.did] = changed | {"handle": "renamed.test"}
        server.hear(Heard("identity", alice.did, {"did": alice.did, "handle": "renamed.test"}))
        shown = uri(alice, 1)
        await until(lambda: searchable(indexer.reader)[shown]["author"]["handle"] == "renamed.test")


async def test_a_sync_event_of_version_2_has_the_repo_fetched(tmp_path: Path) -> None:
    server = JetstreamServer(2)
    alice = Author("alice")
    world = World(alice, servers=[server])
    async with world.serve(), world.followed(tmp_path) as indexer:
        told = alice.create(1)
        world.serve_repos()
        server.commit(told)
        await world.settled(indexer)
        alice.create(2)
        world.serve_repos()
        server.hear(Heard("sync", alice.did, {"did": alice.did, "rev": alice.repo.rev}))
        await until(lambda: found(indexer) == world.truth())
        assert len(world.truth()) == 2


async def test_silent_authors_are_discovered_while_jetstream_is_live(
    tmp_path: Path, server: JetstreamServer
) -> None:
    silent, author = Author("silent"), Author("alice")
    silent.create(1, 2)
    world = World(silent, author, servers=[server])
    world.serve_repos()
    async with world.serve(), world.followed(tmp_path) as indexer:
        await until(lambda: found(indexer) == world.truth())
        assert verified(indexer, silent, 1) is True
        server.commit(silent.create(3), author.create(1))
        assert await world.settled(indexer) == world.truth()


async def test_a_restart_goes_on_at_the_cursor_and_loses_nothing(
    tmp_path: Path, server: JetstreamServer
) -> None:
    alice = Author("alice")
    world = World(alice, servers=[server])
    async with world.serve():
        for turn in range(4):
            async with world.followed(tmp_path) as indexer:
                told = [alice.create(turn), alice.update(turn, f"Turn {turn}")]
                world.serve_repos()
                server.commit(*told)
                assert await world.settled(indexer) == world.truth()
                at = server.last
            server.commit(alice.create(100 + turn), alice.delete(turn))
            if turn < 3:
                async with world.followed(tmp_path) as indexer:
                    assert int(server.queries[-1]["cursor"][0]) == at
                    assert await world.settled(indexer) == world.truth()
                    assert indexer.counts["gaps_in_streams"] == 0
                    assert "snapshots" not in indexer.counts


async def test_a_connection_cut_at_any_message_loses_nothing(
    tmp_path: Path, server: JetstreamServer
) -> None:
    alice, bob = Author("alice"), Author("bob")
    world = World(alice, bob, servers=[server])
    server.cut = {number: 2 + number % 4 for number in range(2, 40)}
    async with world.serve(), world.followed(tmp_path) as indexer:
        told = [alice.create(0), bob.create(0)]
        world.serve_repos()
        server.commit(*told)
        await world.settled(indexer)
        for number in range(1, 25):
            server.commit(alice.create(number), bob.create(number, 100 + number))
            server.commit(alice.delete(number - 1), bob.update(number, "Better"))
        server.close()
        await until(lambda: connected(indexer) == 0)
        server.closed = False
        assert await world.settled(indexer) == world.truth()
        assert server.cuts >= 30
        assert indexer.counts["disconnects"] >= 15
        cursors = [int(query["cursor"][0]) for query in server.queries[1:]]
        assert cursors == sorted(cursors)
        assert indexer.counts["gaps_in_streams"] == 0


STRANGE: list[Mapping[str, Any]] = [
    {"rev": "?"},
    {"rkey": "a/b"},
    {"cid": "bafy"},
    {"record": None},
    {"operation": "annul"},
    {"collection": 5},
]


async def test_what_strangers_break_neither_holds_the_stream_nor_is_tracked(
    tmp_path: Path, server: JetstreamServer
) -> None:
    alice, mallory = Author("alice"), "did:plc:malloryaaaaaaaaaaaaaaaaa"
    world = World(alice, servers=[server])
    good = {
        "rev": tid(1),
        "operation": "create",
        "collection": DATASET,
        "rkey": rkey(1),
        "record": record("x"),
        "cid": "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm",
    }
    async with world.serve(), world.followed(tmp_path) as indexer:
        server.hear(*(Heard("commit", mallory, {**good, **fault}) for fault in STRANGE[:5]))
        server.hear(Heard("label", mallory, {}), Heard("account", mallory, {"active": "?"}))
        told = alice.create(1)
        world.serve_repos()
        server.commit(told)
        assert await world.settled(indexer) == world.truth()
        assert indexer.store.tracked() == {alice.did}
        assert indexer.counts["disconnects"] == 0


async def test_a_record_that_is_not_what_its_cid_says_harms_only_itself(
    tmp_path: Path, server: JetstreamServer
) -> None:
    alice = Author("alice")
    world = World(alice, servers=[server])
    async with world.serve(), world.followed(tmp_path) as indexer:
        told = alice.create(1)
        world.serve_repos()
        server.commit(told)
        await world.settled(indexer)
        lie = alice.create(2)
        server.commit(alice.create(3))
        (event,) = [one for one in heard(frame(lie)) if one.kind == "commit"]
        server.hear(Heard("commit", alice.did, dict(event.body) | {"record": record("Forged")}))
        await world.settled(indexer)
        assert quarantined(indexer.store)[uri(alice, 2)]["rule"] == "hash"
        assert set(found(indexer)) == {uri(alice, 1), uri(alice, 3)}
