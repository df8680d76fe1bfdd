"""`verify --repos N` compares some repos with what their PDSs hold, and names what differs."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from atdata_indexer.daemon import Indexer
from atdata_indexer.sampling import Sample
from benchmarks.hosts import Answer, Asked, Host, refusal
from tests.appview import answer_of, playing, settings, until
from tests.contents import everything
from tests.hosting import Frozen, World, authors, run_backfill, run_command, shelves
from tests.signed import Author

REPO = "sync.getRepo"


async def sampled(indexer: Indexer, size: int = 100) -> Sample:
    """A sample, which changes nothing."""
    before = everything(indexer)
    sample = await asyncio.to_thread(indexer.sample, size)
    assert everything(indexer) == before
    return sample


async def tampered(indexer: Indexer, sql: str, *params: object) -> None:
    """Let the database say something else."""
    db = indexer.store._db
    await asyncio.to_thread(indexer._hold, lambda: db.execute(sql, list(params)).fetchall())


async def test_repos_that_equal_their_pdss_are_counted(tmp_path: Path) -> None:
    some, host = authors(4), Host()
    some[0].delete(1)
    world = World({host: some})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[host]])
        host.asked.clear()
        assert await sampled(indexer) == Sample(repos=4, records=7)
        assert host.counts == {REPO: 4}
        host.asked.clear()
        assert (await sampled(indexer, 3)).repos == 3
        assert len({asked.params["did"] for asked in host.asked}) == 3


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE records SET cid = 'bafyreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"
        " WHERE uri = ?",
        "DELETE FROM records WHERE uri = ?",
        "UPDATE records SET state = 'deleted', cid = NULL WHERE uri = ?",
    ],
    ids=["altered", "missing", "taken for deleted"],
)
async def test_a_record_that_is_not_as_its_pds_has_it_is_named(tmp_path: Path, sql: str) -> None:
    some, host = authors(3), Host()
    world = World({host: some})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[host]])
        uri = sorted(some[1].uris())[1]
        await tampered(indexer, sql, uri)
        sample = await sampled(indexer)
        assert (sample.differing.count, sample.differing.uris) == (1, [uri])
        assert (sample.repos, sample.moving, sample.unreachable) == (3, 0, 0)


async def test_a_record_that_its_pds_does_not_have_is_named(tmp_path: Path) -> None:
    (author,), host = authors(1), Host()
    world = World({host: [author]})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[host]])
        uri = sorted(author.uris())[0]
        await tampered(indexer, "UPDATE records SET uri = uri || 'x' WHERE uri = ?", uri)
        sample = await asyncio.to_thread(indexer.sample, 1)
        assert sorted(sample.differing.uris) == [uri, f"{uri}x"]


async def test_pdss_that_cannot_be_asked_are_counted_and_say_nothing(tmp_path: Path) -> None:
    some, host = authors(4), Host()
    answers = {some[0].did: refusal("Down", 503), some[1].did: refusal("RepoDeactivated")}

    async def meddle(asked: Asked) -> Answer | None:
        return answers.get(asked.params.get("did", ""))

    world = World({host: some})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[host]])
        host.meddle = meddle
        await tampered(indexer, "UPDATE repos SET pds = NULL WHERE did = ?", some[2].did)
        assert await sampled(indexer) == Sample(repos=1, records=2, unreachable=3)


async def test_a_repo_that_cannot_be_believed_is_named_as_a_whole(tmp_path: Path) -> None:
    some, host = authors(2), Host()
    world = World({host: some})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[host]])
        some[0].renew_key()
        sample = await sampled(indexer)
        assert sample.differing.uris == [f"at://{some[0].did}"]
        assert sample.repos == 1


async def test_a_repo_that_is_written_to_meanwhile_says_nothing(tmp_path: Path) -> None:
    """Ahead at its PDS, as it was before it was written to, or written to while it is read."""
    some, host = authors(4), Host()
    ahead, late, meanwhile, still = some
    world = World({host: some})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[host]])
        ahead.create(7)
        host.repos[late.did] = Frozen(late)
        for author in (late, meanwhile):
            world.send(author.create(7))
        await until(lambda: indexer.is_current(world.playback.last_seq))

        async def write(asked: Asked) -> Answer | None:
            if asked.params.get("did") != meanwhile.did:
                return None
            car = meanwhile.car()
            world.send(meanwhile.delete(7))
            await until(lambda: indexer.is_current(world.playback.last_seq))
            return Answer(car)

        host.meddle = write
        sample = await asyncio.to_thread(indexer.sample, 100)
        assert sample == Sample(repos=1, records=len(still.uris()), moving=3)


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    some, host = authors(3), Host()
    world = World({})
    with ExitStack() as stack:
        address = stack.enter_context(playing(host))
        host.repos |= shelves(some)
        for author in some:
            world.playback.identities[author.did] = author.identity(address)
        relay = stack.enter_context(playing(world.playback))
        values = settings(
            tmp_path, relay, relay="none", directories=f"http://{address}", backfill=True
        )
        assert answer_of(run_backfill(values))["fetched"] == 3
        host.asked.clear()
        said = answer_of(run_command(values, "verify", "--repos", "2"))["sample"]
        assert (said["repos"], said["records"], said["differing"]["count"]) == (2, 4, 0)
        assert host.counts == {REPO: 2}
        some[0].key = Author("mallory").key
        table = run_command(values, "verify", "--table")
        assert table.returncode == 1
        assert f"at://{some[0].did}" in table.stdout
        assert "2 equal their PDSs, with 4 records" in table.stdout
