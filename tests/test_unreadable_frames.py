"""A frame that cannot be read holds nobody up: three chances, then it is set aside as it came."""

from pathlib import Path

from atdata_indexer.following import STRIKES
from tests.appview import until
from tests.network import Network, found
from tests.signed import Author, frame

GARBAGE = b"\xff no CBOR at all"


async def test_it_is_read_three_times_then_kept_as_it_came_and_the_stream_goes_on(
    tmp_path: Path,
) -> None:
    alice, bob = Author("alice"), Author("bob")
    network = Network(alice, bob)
    network.send(alice.create(1))
    network.insert(GARBAGE)
    network.send(bob.create(1))
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        assert await network.settled(indexer) == alice.uris() | bob.uris()
        assert indexer.counts["unreadable_frames"] == 1
        assert indexer.counts["disconnects"] == STRIKES - 1
        assert network.playback.connections == STRIKES
        with indexer.store.reader() as db:
            kept = db.execute("SELECT rule, reason, raw FROM quarantine").fetchall()
    ((rule, reason, raw),) = kept
    assert (rule, raw) == ("frame", GARBAGE)
    assert "unreadable" in reason


async def test_many_in_one_place_cost_no_more_connections_than_one(tmp_path: Path) -> None:
    alice = Author("alice")
    network = Network(alice)
    for number in range(50):
        network.insert(GARBAGE + bytes([number]))
    network.send(alice.create(1))
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        assert await network.settled(indexer) == alice.uris()
        assert indexer.counts["unreadable_frames"] == 50
        assert network.playback.connections == STRIKES


async def test_what_it_may_have_said_is_fetched_from_the_repos_it_names(tmp_path: Path) -> None:
    """A commit is garbled on its way: its repo is fetched, though nothing follows it."""
    alice, bob = Author("alice"), Author("bob")
    network = Network(alice, bob)
    network.send(alice.create(1))
    network.send(bob.create(1))
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        await network.settled(indexer)
        garbled = frame(alice.create(2))
        network.serve_repos()
        network.insert(garbled[: len(garbled) // 2])
        assert alice.did.encode() in garbled[: len(garbled) // 2]
        await until(lambda: found(indexer) == alice.uris() | bob.uris())
        assert indexer.counts["unreadable_frames"] == 1


async def test_repos_it_does_not_name_are_compared_with_their_pds(tmp_path: Path) -> None:
    alice = Author("alice")
    network = Network(alice)
    network.send(alice.create(1))
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        await network.settled(indexer)
        assert "com.atproto.sync.getLatestCommit" not in network.playback.asked
        network.insert(GARBAGE)
        await until(lambda: "com.atproto.sync.getLatestCommit" in network.playback.asked)
        await until(lambda: indexer.repo_counts["in_step"] == 1)
        assert network.playback.asked.count("com.atproto.sync.getRepo") == 1


async def test_what_comes_behind_it_survives_a_restart(tmp_path: Path) -> None:
    """The cursor moves on behind it, so the next start does not meet it again for ever."""
    alice = Author("alice")
    network = Network(alice)
    network.send(alice.create(1))
    network.insert(GARBAGE)
    network.send(alice.create(2))
    network.serve_repos()
    async with network.serve():
        async with network.indexer(tmp_path) as indexer:
            await network.settled(indexer)
        before = network.playback.connections
        async with network.indexer(tmp_path) as indexer:
            network.send(alice.create(3))
            network.serve_repos()
            assert await network.settled(indexer) == alice.uris()
            assert indexer.counts["unreadable_frames"] == 0
    assert network.playback.connections == before + 1
