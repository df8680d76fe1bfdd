"""A repo that is new or out of step is fetched whole from its PDS, and ends equal to it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer import applying, lookups
from atdata_indexer.fetch import Fetcher
from atdata_indexer.identity import IdentityResolver, IdentityUnavailable, ResolvedIdentity
from atdata_indexer.ingest import Outcome, Work
from tests.appview import until
from tests.contents import quarantined
from tests.network import Network, found
from tests.signed import Author
from tests.test_nothing_forged_gets_in import OTHER, resigned


async def test_a_new_author_is_fetched_whole_and_ends_equal_to_the_pds(tmp_path: Path) -> None:
    author = Author("alice")
    author.create(1, 2, 3)
    author.delete(2)
    network = Network(author)
    network.send(author.create(4))
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        assert await network.settled(indexer) == author.uris()
        assert "com.atproto.sync.getRepo" in network.playback.asked
        network.send(author.update(1, "Afterwards"))
        assert await network.settled(indexer) == author.uris()
        assert network.playback.asked.count("com.atproto.sync.getRepo") == 1


async def test_commits_that_never_came_are_made_up_for(tmp_path: Path) -> None:
    author = Author("alice")
    network = Network(author)
    network.send(author.create(1, 2))
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        await network.settled(indexer)
        for lost in (author.create(3), author.delete(1), author.update(2, "Lost")):
            assert lost["rev"]
        last = author.create(4)
        network.serve_repos()
        network.send(last)
        assert await network.settled(indexer) == author.uris()
        assert indexer.counts["gaps"] == 1
        assert indexer.counts["snapshots"] == 2


async def test_a_forged_commit_leaves_its_repo_as_its_author_has_it(tmp_path: Path) -> None:
    author = Author("alice")
    network = Network(author)
    network.send(author.create(1))
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        await network.settled(indexer)
        network.send(resigned(author, author.create(2), key=OTHER))
        network.serve_repos()
        assert await network.settled(indexer) == author.uris()
        assert indexer.counts["refused_signature"] == 1
        assert quarantined(indexer.store) == {}, "what was refused is settled by the fetch"


async def test_commits_that_come_while_a_repo_is_fetched_are_applied_after_it(
    tmp_path: Path,
) -> None:
    author = Author("alice")
    network = Network(author)
    author.create(1)
    network.send(author.create(2))
    old = author.car()
    later = [author.create(3), author.delete(1), author.update(2, "Meanwhile")]

    class Slow(dict[str, bytes]):
        def get(self, did: str, default: object = None) -> Any:
            while later:
                network.send(later.pop(0))
            return old

    network.playback.repos = Slow()
    async with network.followed(tmp_path) as indexer:
        assert await network.settled(indexer) == author.uris()
        assert indexer.counts["gaps"] == 0
        assert indexer.counts["snapshots"] == 1


async def test_a_snapshot_older_than_what_is_known_fills_in_and_takes_nothing_back(
    tmp_path: Path,
) -> None:
    author = Author("alice")
    network = Network(author)
    author.create(1)
    network.send(author.create(2))
    network.serve_repos()
    network.send(author.create(3))
    network.send(author.delete(2))
    async with network.followed(tmp_path) as indexer:
        last = network.playback.last_seq
        await until(lambda: indexer.counts["snapshots"] > 0 and indexer.is_current(last))
        assert found(indexer) == author.uris()
        assert indexer.store.behind() == [author.did]


@pytest.mark.parametrize("damage", ["cut off", "not signed by its author"])
async def test_a_repo_that_is_damaged_or_forged_changes_nothing(
    tmp_path: Path, damage: str
) -> None:
    author, mallory = Author("alice"), Author("alice")
    mallory.key = OTHER
    network = Network(author)
    network.send(author.create(1))
    mallory.create(7)
    car = author.car()
    network.playback.repos[author.did] = car[:-9] if damage == "cut off" else mallory.car()
    async with network.followed(tmp_path) as indexer:
        reason = "car" if damage == "cut off" else "signature"
        await until(lambda: indexer.repo_counts[f"refused_snapshot_{reason}"] > 0)
        await until(lambda: found(indexer) == author.uris())
        assert indexer.store.behind() == [author.did]


async def test_a_repo_that_is_gone_is_not_asked_for_again(tmp_path: Path) -> None:
    author = Author("alice")
    network = Network(author)
    network.send(author.create(1))
    async with network.followed(tmp_path) as indexer:
        await network.settled(indexer)
        assert network.playback.asked.count("com.atproto.sync.getRepo") == 1
        with indexer.store.reader() as db:
            assert db.execute("SELECT sync FROM repos").fetchall() == [("gone",)]


async def test_a_restart_goes_on_with_the_repos_that_were_not_in_step(tmp_path: Path) -> None:
    author = Author("alice")
    author.create(1)
    network = Network(author)
    network.send(author.create(2))
    async with network.followed(tmp_path, backfill=False) as indexer:
        await until(lambda: indexer.is_current(network.playback.last_seq))
        assert len(found(indexer)) == 1
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        assert await network.settled(indexer) == author.uris()


async def test_a_first_start_discovers_and_fetches_authors_who_are_silent(tmp_path: Path) -> None:
    authors = [Author(name) for name in ("alice", "bertha", "carla")]
    for author in authors:
        author.create(1, 2)
    network = Network(*authors)
    network.serve_repos()
    network.send(Author("nobody").write())
    async with network.followed(tmp_path) as indexer:
        wanted = {uri: cid for author in authors for uri, cid in author.uris().items()}
        await until(lambda: found(indexer) == wanted)
        assert await network.settled(indexer) == wanted


async def test_nothing_spins_while_a_repo_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    author, other = Author("alice"), Author("bertha")
    network = Network(author, other)
    network.send(author.create(1))
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        await network.settled(indexer)
        monkeypatch.setattr(applying, "IDLE_SAVE_S", 0.05)
        indexer._lanes.hold(author.did)
        network.send(author.create(2))
        network.send(other.create(1))
        network.serve_repos()
        await until(lambda: len(found(indexer)) == 2)
        turns: list[object] = []
        turn = indexer._applier._write

        def counted(work: Work) -> Outcome:
            turns.append(work)
            return turn(work)

        monkeypatch.setattr(indexer._applier, "_write", counted)
        await until(lambda: len(turns) >= 3)
        began = asyncio.get_running_loop().time()
        await until(lambda: len(turns) >= 8)
        assert asyncio.get_running_loop().time() - began > 5 * 0.05 - 0.01, "it waits between"
        indexer._lanes.release(author.did)
        indexer._applier._wake.set()
        assert await network.settled(indexer) == author.uris() | other.uris()


async def test_what_found_no_room_while_its_repo_was_fetched_is_fetched_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held events are bounded: what does not fit is let go, and that it was stands in the store."""
    author = Author("alice")
    network = Network(author)
    network.send(author.create(1))
    network.serve_repos()
    whole, dropped = Fetcher.repo, list[str]()

    async def overtaken(fetcher: Fetcher, pds: str, did: str) -> bytes:
        car = await whole(fetcher, pds, did)
        if not dropped:
            indexer._lanes._limit = 0
            network.send(author.create(2))
            network.serve_repos()
            await until(lambda: did in indexer._lanes.lost)
            dropped.append(did)
        return car

    monkeypatch.setattr(Fetcher, "repo", overtaken)
    async with network.followed(tmp_path) as indexer:
        await until(lambda: bool(dropped))
        assert await network.settled(indexer) == author.uris()
        assert indexer.counts["snapshots"] == 2
        assert not indexer._lanes.lost


async def test_commits_after_a_return_survive_the_deletion_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted, active again and a commit, all while the repo is fetched."""
    author = Author("alice")
    network = Network(author)
    network.send(author.create(1))
    network.serve_repos()
    whole, told = Fetcher.repo, list[str]()

    async def overtaken(fetcher: Fetcher, pds: str, did: str) -> bytes:
        car = await whole(fetcher, pds, did)
        if not told:
            told.append(did)
            network.tell(author, active=False, status="deleted")
            network.tell(author, active=True)
            network.send(author.create(3))
            await until(lambda: indexer.counts["account"] == 2)
        return car

    async with network.followed(tmp_path) as indexer:
        assert await network.settled(indexer) == author.uris()
        monkeypatch.setattr(Fetcher, "repo", overtaken)
        assert author.create(2), "which never comes, so that the next leaves a gap"
        network.serve_repos()
        network.send(author.create(4))
        network.serve_repos()
        await until(lambda: bool(told))
        assert await network.settled(indexer) == author.uris()


async def test_commits_of_a_key_that_cannot_be_looked_up_are_let_go_and_fetched_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new key, and a directory that does not answer: nothing waits for ever, nothing is lost."""
    monkeypatch.setattr(lookups, "PATIENCE", 0)
    author = Author("alice")
    network = Network(author)
    network.send(author.create(1))
    network.serve_repos()
    async with network.followed(tmp_path) as indexer:
        assert await network.settled(indexer) == author.uris()
        known = network.playback.identities.pop(author.did)
        monkeypatch.setattr(IdentityResolver, "resolve", unavailable)
        author.renew_key()
        network.send(author.create(2))
        await until(lambda: indexer.counts["identities_unavailable"] > 0)
        await until(lambda: indexer.store.behind() == [author.did])
        await until(lambda: not indexer._lanes.holding)
        assert found(indexer) != author.uris()
        monkeypatch.undo()
        network.playback.identities[author.did] = known | author.identity(network.host)
        network.serve_repos()
        assert await network.settled(indexer) == author.uris()


async def unavailable(resolver: IdentityResolver, did: str) -> ResolvedIdentity:
    raise IdentityUnavailable("the directory is down")
