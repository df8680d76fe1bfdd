"""By `listRecords` repos are listed, not proven: the same index, and it is known of each record."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer import fetch
from atdata_indexer.ingest import wall_clock
from benchmarks.hosts import Answer, Asked, Host
from benchmarks.repos import Write
from tests.appview import until
from tests.contents import quarantined
from tests.hosting import World, authors, fall_behind, truth
from tests.network import found
from tests.signed import DATASET, SCHEMA_URI, Author, path, record

LIST = "repo.listRecords"
MODE = {"fetch_by": "listRecords"}


def listed(host: Host, author: Author) -> Mapping[str, Any]:
    """What `listRecords` answers for the datasets of an author."""
    params = {"repo": author.did, "collection": DATASET, "limit": "100"}
    body: Mapping[str, Any] = host._answer(LIST, params).body
    return body


def of_datasets(asked: Asked) -> bool:
    return asked.method == LIST and asked.params["collection"] == DATASET


async def test_the_index_is_the_same_however_repos_are_fetched(tmp_path: Path) -> None:
    some, host = authors(4), Host()
    for author in some:
        author.create(*range(100, 115))
        author.delete(0)
    some[1].write(Write("create", f"{DATASET}/of-no-shape", {"$type": DATASET}))
    ends = []
    for mode in ("getRepo", "listRecords"):
        world = World({host: some})
        async with world.indexed(tmp_path / mode, fetch_by=mode) as indexer:
            await indexer.backfill([world.urls[host]])
            sure = {bool(indexer.record_status(uri).verified) for uri in found(indexer)}
            assert sure == {mode == "getRepo"}
            ends.append((found(indexer), quarantined(indexer.store)))
    assert ends[0] == ends[1]
    assert len(ends[0][1]) == 1
    assert len(ends[0][0]) == len(truth(some)) - 1
    assert host.times("sync.getRepo") == 4


async def test_fetched_whole_later_it_is_known_to_be_its_authors(tmp_path: Path) -> None:
    (author,), host = authors(1), Host()
    world = World({host: [author]})
    async with world.indexed(tmp_path, **MODE) as indexer:
        await indexer.backfill([world.urls[host]])
    async with world.indexed(tmp_path) as indexer:
        await fall_behind(indexer, author.did)
        await world.settled(indexer)
        assert all(indexer.record_status(uri).verified for uri in author.uris())


async def test_what_the_list_lacks_is_deleted_and_what_changed_is_replaced(tmp_path: Path) -> None:
    author, host = Author("alice"), Host()
    author.create(1, 2, 3)
    world = World({host: [author]})
    async with world.indexed(tmp_path, **MODE) as indexer:
        await indexer.backfill([world.urls[host]])
        before = author.uris()
        author.delete(1)
        author.update(2, "Changed")
        author.create(4)
        await fall_behind(indexer, author.did)
        assert await world.settled(indexer) == author.uris()
        (gone,) = before.keys() - author.uris().keys()
        assert indexer.record_status(gone).status == "deleted"


async def test_a_record_that_is_not_what_its_cid_says_harms_only_itself(tmp_path: Path) -> None:
    author, host = Author("alice"), Host()
    author.create(1, 2, 3)
    world = World({host: [author]})
    altered: list[str] = []

    async def alter(asked: Asked) -> Answer | None:
        if not of_datasets(asked) or altered:
            return None
        first, *others = listed(host, author)["records"]
        altered.append(first["uri"])
        return Answer({"records": [first | {"value": record("Another")}, *others]})

    host.meddle = alter
    async with world.indexed(tmp_path, **MODE) as indexer:
        await indexer.backfill([world.urls[host]])
        (uri,) = altered
        assert found(indexer) == {u: cid for u, cid in author.uris().items() if u != uri}
        assert quarantined(indexer.store)[uri]["rule"] == "hash"
        assert indexer.record_status(uri).status == "quarantined"


async def test_a_repo_that_is_written_to_while_it_is_listed_is_listed_again(tmp_path: Path) -> None:
    author, host = Author("alice"), Host()
    author.create(1, 2)
    world = World({host: [author]})
    late: list[object] = []

    async def write_once(asked: Asked) -> Answer | None:
        if of_datasets(asked) and not late:
            body = listed(host, author)
            for event in (author.create(3), author.delete(1)):
                world.send(event)
                late.append(event)
            return Answer(body)
        return None

    host.meddle = write_once
    async with world.indexed(tmp_path, **MODE) as indexer:
        await indexer.backfill([world.urls[host]])
        await until(lambda: indexer.is_current(world.playback.last_seq))
        assert found(indexer) == author.uris()
        assert len([asked for asked in host.of(LIST) if of_datasets(asked)]) == 4, "2 pages, twice"


async def test_one_that_never_stands_still_is_left_for_later_and_its_events_go_on(
    tmp_path: Path,
) -> None:
    author, host = Author("alice"), Host()
    author.create(0)
    world = World({host: [author]})
    written: list[int] = []

    async def write_always(asked: Asked) -> Answer | None:
        if of_datasets(asked) and "cursor" not in asked.params:
            written.append(1 + len(written))
            world.send(author.create(written[-1]))
        return None

    host.meddle = write_always
    async with world.indexed(tmp_path, **MODE) as indexer:
        asking = asyncio.create_task(indexer.backfill([world.urls[host]]))
        await until(lambda: indexer.repo_counts["unavailable"] > 0)
        await until(lambda: len(found(indexer)) == len(written) == fetch.LISTINGS)
        assert indexer.store.behind() == [author.did]
        asking.cancel()


# Hostile hosts

type Lie = Callable[[Asked, Mapping[str, Any], int], Answer]


def endless(asked: Asked, honest: Mapping[str, Any], number: int) -> Answer:
    return Answer({"records": honest["records"][:1], "cursor": f"c{number}"})


def in_circles(asked: Asked, honest: Mapping[str, Any], number: int) -> Answer:
    return Answer({"records": honest["records"], "cursor": "ab"[number % 2]})


def of_others(asked: Asked, honest: Mapping[str, Any], number: int) -> Answer:
    stolen = SCHEMA_URI.replace(".schema/", ".dataset/")
    return Answer({"records": [one | {"uri": stolen} for one in honest["records"]]})


def too_large(asked: Asked, honest: Mapping[str, Any], number: int) -> Answer:
    return Answer({"records": honest["records"], "padding": "x" * (9 << 20)})


def too_deep(asked: Asked, honest: Mapping[str, Any], number: int) -> Answer:
    return Answer(b'{"records": ' + b"[" * 200_000 + b"]" * 200_000 + b"}")


def deep_records(asked: Asked, honest: Mapping[str, Any], number: int) -> Answer:
    deep = b'{"a":' * 2000 + b"1" + b"}" * 2000
    return Answer(b'{"records": [{"uri": "at://x", "value": ' + deep + b"}]}")


def no_list(asked: Asked, honest: Mapping[str, Any], number: int) -> Answer:
    return Answer({})


def not_objects(asked: Asked, honest: Mapping[str, Any], number: int) -> Answer:
    return Answer({"records": [None]})


def no_json(asked: Asked, honest: Mapping[str, Any], number: int) -> Answer:
    return Answer(b"<html>")


@pytest.mark.parametrize(
    "lie",
    [
        endless,
        in_circles,
        of_others,
        too_large,
        too_deep,
        deep_records,
        no_list,
        not_objects,
        no_json,
    ],
)
async def test_a_host_that_lies_changes_nothing_and_holds_nobody_up(
    tmp_path: Path, lie: Lie
) -> None:
    victim, other, host, honest = Author("alice"), Author("bertha"), Host(), Host()
    victim.create(1, 2)
    other.create(1)
    world = World({host: [victim], honest: [other]})
    lies: list[Asked] = []

    async def meddle(asked: Asked) -> Answer | None:
        if of_datasets(asked):
            lies.append(asked)
            return lie(asked, listed(host, victim), len(lies))
        return None

    async with world.indexed(tmp_path, **MODE, repo_mb=1) as indexer:
        await indexer.backfill([world.urls[host]])
        assert found(indexer) == victim.uris()
        host.meddle = meddle
        await fall_behind(indexer, victim.did)
        failed = ("unavailable", "refused_snapshot_listing")
        await until(lambda: any(indexer.repo_counts[name] for name in failed))
        assert 0 < len(lies) <= (3 if lie is in_circles else 20)
        await indexer.discovery.round(wall_clock(), [world.urls[honest]])
        await until(lambda: found(indexer) == victim.uris() | other.uris())
        assert indexer.store.behind() == [victim.did]
        world.send(victim.create(3))
        await until(lambda: found(indexer) == victim.uris() | other.uris())


async def test_large_records_are_listed_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "ANSWER_BYTES", 2000)
    author, host = Author("alice"), Host()
    author.create(*range(12))
    large = record("Large") | {"description": "x" * 1500}
    author.write(Write("create", path(99), large))
    world = World({host: [author]})
    async with world.indexed(tmp_path, **MODE) as indexer:
        await indexer.backfill([world.urls[host]])
        assert found(indexer) == author.uris()
    assert {asked.params["limit"] for asked in host.of(LIST)} == {"100", "10", "1"}


async def test_a_gone_repo_is_gone_in_this_mode_too(tmp_path: Path) -> None:
    (author,), host = authors(1), Host()
    world = World({host: [author]})
    async with world.indexed(tmp_path, **MODE) as indexer:
        await indexer.backfill([world.urls[host]])
        host.repos.clear()
        await fall_behind(indexer, author.did)
        await until(lambda: indexer.repo_counts["gone"] == 1)
        await world.settled(indexer)
        place = indexer.store.place(author.did)
        assert place is not None
        assert place == replace(place, sync="gone")
