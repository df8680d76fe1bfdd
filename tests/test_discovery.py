"""Hosts are asked which repos have records of ours, and what they say is united."""

import asyncio
from pathlib import Path

import pytest

from atdata_schemas.records import COLLECTIONS
from benchmarks.hosts import Answer, Asked, Host, refusal
from benchmarks.repos import Write
from tests.appview import (
    until,
)
from tests.hosting import World, authors, shelves, truth
from tests.network import found
from tests.signed import Author, record, rkey

LIST = "sync.listReposByCollection"
REPO = "sync.getRepo"


async def test_what_several_hosts_know_is_united(tmp_path: Path) -> None:
    """One is incomplete, one a PDS that has no such list, one is down."""
    here, there, nowhere = authors(9)[:3], authors(9)[3:6], authors(9)[6:]
    home = Host(directory=False)
    incomplete = Host(shelves(here), pds=False)
    away = Host(directory=False)
    other = Author("other")
    other.write(Write("create", f"app.bsky.feed.post/{rkey(1)}", record("Not ours")))
    world = World({home: there, incomplete: [], away: [*here, *nowhere, other]})
    async with world.indexed(tmp_path) as indexer:
        hosts = [world.urls[home], world.urls[incomplete], "http://127.0.0.1:9"]
        await indexer.backfill(hosts)
        assert indexer.repo_counts["hosts_failed"] == 1, (
            "and it does not wait for that one for ever"
        )
        assert found(indexer) == truth([*here, *there])
        await indexer.backfill([world.urls[away]])
        assert found(indexer) == truth([*here, *there, *nowhere])
        assert other.did not in indexer.store.tracked(), (
            "who has none of our records is not tracked"
        )
        assert away.times("repo.describeRepo") == 7
        assert away.times(REPO) == 6, "each repo is fetched once"


async def test_a_relay_without_the_list_is_not_asked_for_every_repo_there_is(
    tmp_path: Path,
) -> None:
    some = authors(3)
    relay, home = Host(shelves(some), directory=False, pds=False), Host()
    world = World({relay: [], home: some})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[relay]])
        assert indexer.repo_counts["hosts_failed"] == 1
        assert relay.times("server.describeServer") > 0
        assert relay.times("sync.listRepos") == relay.times("repo.describeRepo") == 0


async def test_a_pds_that_wants_a_pause_in_the_middle_is_not_asked_anew_from_the_start(
    tmp_path: Path,
) -> None:
    some, host = authors(6), Host(directory=False)
    refused: list[Asked] = []

    async def every_third(asked: Asked) -> Answer | None:
        if asked.method == "repo.describeRepo" and host.times(asked.method) % 3 == 0:
            refused.append(asked)
            return refusal("Busy", 503)
        return None

    host.meddle = every_third
    world = World({host: some})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[host]])
        assert found(indexer) == truth(some)
    assert len(refused) >= 2
    assert host.times("repo.describeRepo") == len(some) + len(refused)


async def test_a_cursor_that_a_host_no_longer_knows_begins_its_list_anew(tmp_path: Path) -> None:
    some, host = authors(6), Host(page=2)
    forgotten = False
    denied: list[Asked] = []

    async def forget(asked: Asked) -> Answer | None:
        if asked.method == LIST and "cursor" in asked.params and forgotten and not denied:
            denied.append(asked)
            return refusal("InvalidRequest")
        if asked.method == LIST and host.times(LIST) == 4 and not forgotten:
            await asyncio.Event().wait()
        return None

    host.meddle = forget
    world = World({host: some})
    async with world.indexed(tmp_path) as indexer:
        asking = asyncio.create_task(indexer.backfill([world.urls[host]]))
        await until(lambda: host.times(LIST) == 4)
        asking.cancel()
        forgotten = True
        await indexer.backfill([world.urls[host]])
        assert len(denied) == 1
        assert found(indexer) == truth(some)
        assert host.times("sync.listRepos") == 0, "that is no reason to take it for a PDS"


async def test_a_list_that_goes_in_circles_comes_to_an_end(tmp_path: Path) -> None:
    some, host = authors(3), Host()
    cursors = {None: "a", "a": "b", "b": "a"}

    async def round_and_round(asked: Asked) -> Answer | None:
        if asked.method != LIST:
            return None
        repos = [{"did": author.did} for author in some]
        return Answer({"repos": repos, "cursor": cursors[asked.params.get("cursor")]})

    host.meddle = round_and_round
    world = World({host: some})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[host]])
        assert found(indexer) == truth(some)
    assert host.times(LIST) == 3 * len(COLLECTIONS)


async def test_an_empty_page_is_not_the_end_of_a_list(tmp_path: Path) -> None:
    some, host = authors(4), Host(page=2)
    emptied: list[Asked] = []

    async def nothing_first(asked: Asked) -> Answer | None:
        if asked.method == LIST and "cursor" not in asked.params:
            emptied.append(asked)
            return Answer({"repos": [], "cursor": "did:"})
        return None

    host.meddle = nothing_first
    world = World({host: some})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[host]])
        assert found(indexer) == truth(some)
    assert len(emptied) == len(COLLECTIONS)


@pytest.mark.parametrize(
    "body", [None, [], {}, {"repos": None}, {"repos": ["did:plc:x"]}, b"<html>"]
)
async def test_an_answer_of_another_shape_is_none(tmp_path: Path, body: object) -> None:
    some, host = authors(1), Host()
    broken: list[Asked] = []

    async def once(asked: Asked) -> Answer | None:
        if asked.method == LIST and not broken:
            broken.append(asked)
            return Answer(body)
        return None

    host.meddle = once
    world = World({host: some})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[host]])
        assert broken
        assert indexer.repo_counts["discovery_failures"] == 1
        assert found(indexer) == truth(some)


async def test_two_who_ask_at_once_ask_a_host_once(tmp_path: Path) -> None:
    some, host = authors(4), Host(page=2)
    world = World({host: some})
    async with world.indexed(tmp_path) as indexer:
        url = world.urls[host]
        await asyncio.gather(indexer.backfill([url, url]), indexer.backfill([url]))
        assert found(indexer) == truth(some)
    others = len(COLLECTIONS) - 1
    assert host.times(LIST) == others + 2, "one page of each other kind, two of datasets"
