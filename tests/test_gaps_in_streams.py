"""A stream that says it left something out: repos are compared, hosts asked again, nothing lost."""

from pathlib import Path

import pytest

from atdata_indexer import reconcile
from atdata_indexer.frames import OUTDATED
from tests.appview import until
from tests.builders import info_frame
from tests.network import Network, found
from tests.signed import Author


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No grace for what may still be on its way: here nothing is."""
    monkeypatch.setattr(reconcile, "GRACE_S", 0.0)


async def test_an_outdated_cursor_has_every_repo_compared_and_the_missed_fetched(
    tmp_path: Path,
) -> None:
    alice, bob = Author("alice"), Author("bob")
    network = Network(alice, bob)
    network.send(alice.create(1))
    network.send(bob.create(1))
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        await network.settled(indexer)
        alice.update(1, "Missed")
        network.serve_repos()
        network.insert(info_frame(OUTDATED, "you were away too long"))
        await until(lambda: found(indexer) == alice.uris() | bob.uris())
        assert indexer.counts["gaps_in_streams"] == 1
        assert indexer.repo_counts["out_of_step"] == 1
        assert indexer.repo_counts["in_step"] == 1


async def test_an_outdated_cursor_has_hosts_asked_for_authors_who_came_meanwhile(
    tmp_path: Path,
) -> None:
    alice, carol = Author("alice"), Author("carol")
    network = Network(alice)
    network.send(alice.create(1))
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        await network.settled(indexer)
        await until(lambda: indexer.discovery.idle)
        carol.create(1)
        network.join(carol)
        network.insert(info_frame(OUTDATED, "you were away too long"))
        await until(lambda: found(indexer) == alice.uris() | carol.uris())


async def test_other_notices_change_nothing(tmp_path: Path) -> None:
    alice = Author("alice")
    network = Network(alice)
    network.send(alice.create(1))
    network.insert(info_frame("Sunny", "news"))
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        assert await network.settled(indexer) == alice.uris()
        assert indexer.counts["gaps_in_streams"] == 0
        assert "com.atproto.sync.getLatestCommit" not in network.playback.asked


async def test_a_gap_that_a_crash_cut_short_is_still_made_up_for(tmp_path: Path) -> None:
    """That repos must be compared is stored with the cursor, and done by the next start."""
    alice = Author("alice")
    network = Network(alice)
    network.send(alice.create(1))
    network.serve_repos()
    async with network.serve():
        async with network.indexer(tmp_path) as indexer:
            await network.settled(indexer)
        async with network.indexer(tmp_path, backfill=False) as indexer:
            alice.create(2)
            network.serve_repos()
            network.insert(info_frame(OUTDATED, "you were away too long"))
            await until(lambda: indexer.counts["gap"] == 1)
            assert found(indexer) != alice.uris()
        async with network.indexer(tmp_path) as indexer:
            await until(lambda: found(indexer) == alice.uris())
