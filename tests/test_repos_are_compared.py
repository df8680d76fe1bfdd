"""Now and then each quiet repo is compared with its PDS, and what was missed unseen is fetched."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer import reconcile, rounds
from atdata_indexer.daemon import Indexer
from atdata_indexer.ingest import wall_clock
from benchmarks.hosts import Answer, Asked, Host, refusal
from tests.appview import PATIENCE_S, settings, until
from tests.hosting import World, authors, fall_behind, truth
from tests.network import found
from tests.signed import Author

HOUR_US = 3_600_000_000
LATEST = "sync.getLatestCommit"
REPO = "sync.getRepo"


class Compared:
    """An index in step with its PDS, on a clock that stands still until it is turned."""

    def __init__(self, tmp_path: Path, host: Host, some: list[Author], **more: Any) -> None:
        self.folder = tmp_path
        self.host = host
        self.world = World({host: some})
        self.world.now_us = wall_clock()
        fixed = {"backfill": True, "identity_hours": 8760, "directories": "none"}
        self.more: dict[str, Any] = fixed | {"reconcile_hours": 2} | more
        self.rounds = 0

    @asynccontextmanager
    async def begun(self) -> AsyncIterator["Compared"]:
        """Serve; fetch everything for the first time."""
        async with self.world.served() as relay:
            self.relay = relay
            async with self.running() as indexer:
                await indexer.backfill([self.world.urls[self.host]])
                assert found(indexer) == truth(self.world.authors)
            self.host.asked.clear()
            yield self

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Indexer]:
        values = settings(self.folder, self.relay, **self.more)
        async with self.world.running(values) as indexer:
            go_round = indexer._rounds._round

            async def counted() -> None:
                await go_round()
                self.rounds += 1

            indexer._rounds._round = counted  # type: ignore[method-assign]
            yield indexer

    async def hours_pass(self, indexer: Indexer, hours: float) -> None:
        """Turn the clock, and let a round be gone and all that it has begun be done."""
        assert self.world.now_us is not None
        self.world.now_us += int(hours * HOUR_US)
        await until(lambda: indexer._lookups.idle and indexer._reconciler.idle)
        gone = self.rounds
        indexer._rounds.hurry()
        await until(lambda: self.rounds > gone)
        await until(indexer.is_settled)


async def test_a_repo_out_of_step_is_found_without_any_event_and_healed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "GRACE_S", 0.0)
    some = authors(3)
    async with Compared(tmp_path, Host(), some).begun() as world, world.running() as indexer:
        some[1].create(7)
        some[1].delete(0)
        await world.hours_pass(indexer, 2.5)
        await until(lambda: found(indexer) == truth(some))
        await until(lambda: not indexer.store.behind())
        assert indexer.repo_counts["out_of_step"] == 1
        assert indexer.repo_counts["in_step"] == 2
        assert world.host.counts == {LATEST: 3, REPO: 1}


async def test_one_in_step_costs_one_small_request_and_not_again_before_its_time(
    tmp_path: Path,
) -> None:
    some = authors(2)
    async with Compared(tmp_path, Host(), some).begun() as world, world.running() as indexer:
        await world.hours_pass(indexer, 1.9)
        assert world.host.asked == [], "what was fetched whole was compared by that"
        await world.hours_pass(indexer, 0.2)
        assert world.host.counts == {LATEST: 2}
        for _ in range(3):
            await world.hours_pass(indexer, 0.6)
        assert world.host.counts == {LATEST: 2}
        await world.hours_pass(indexer, 0.3)
        assert world.host.counts == {LATEST: 4}


async def test_a_pds_that_is_ahead_for_a_moment_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "GRACE_S", 0.5)
    (author,), host = authors(1), Host()
    async with Compared(tmp_path, host, [author]).begun() as world, world.running() as indexer:
        event = author.create(7)

        async def still_on_its_way(asked: Asked) -> Answer | None:
            if asked.method == LATEST:
                world.world.send(event)
            return None

        host.meddle = still_on_its_way
        await world.hours_pass(indexer, 2.5)
        await until(lambda: indexer.repo_counts["in_step"] == 1)
        assert found(indexer) == author.uris()
        assert indexer.repo_counts["out_of_step"] == 0
        assert host.counts == {LATEST: 1}, "it is not even asked a second time"


async def test_a_gone_repo_is_noted_and_not_asked_for_again(tmp_path: Path) -> None:
    some, host = authors(2), Host()
    async with Compared(tmp_path, host, some).begun() as world, world.running() as indexer:
        del host.repos[some[0].did]
        await world.hours_pass(indexer, 2.5)
        await until(lambda: indexer.repo_counts["gone"] == 1)
        place = indexer.store.place(some[0].did)
        assert place is not None
        assert place.sync == "gone"
        assert host.counts == {LATEST: 2, REPO: 1}
        await world.hours_pass(indexer, 2.5)
        assert host.counts == {LATEST: 3, REPO: 1}, "only the other one"


async def test_a_restart_remembers_what_was_compared_and_what_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some, host = authors(2), Host()
    ahead = some[0]
    async with Compared(tmp_path, host, some).begun() as world:
        async with world.running() as indexer:
            ahead.create(7)
            await world.hours_pass(indexer, 2.5)
            await until(lambda: indexer.repo_counts["in_step"] == 1)
            assert indexer.repo_counts["out_of_step"] == 0, "it is given time"
        host.asked.clear()
        monkeypatch.setattr(reconcile, "GRACE_S", 0.0)
        async with world.running() as indexer:
            await world.hours_pass(indexer, 0)
            await until(lambda: found(indexer) == truth(some))
            assert [one.params["did"] for one in host.of(LATEST)] == [ahead.did]
            assert host.times(REPO) == 1


async def test_a_pds_that_does_not_answer_waits_for_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "PATIENCE", 0)
    (author,), host = authors(1), Host()

    async def down(asked: Asked) -> Answer | None:
        return refusal("Down", 503)

    async with Compared(tmp_path, host, [author]).begun() as world, world.running() as indexer:
        host.meddle = down
        await world.hours_pass(indexer, 2.5)
        assert indexer.repo_counts["checks_failed"] == 1
        await world.hours_pass(indexer, 1.5)
        assert host.counts == {LATEST: 1}
        assert found(indexer) == author.uris(), "and nothing is taken for missing"
        host.meddle = None
        await world.hours_pass(indexer, 1)
        assert host.counts == {LATEST: 2}
        assert indexer.repo_counts["in_step"] == 1


@pytest.mark.parametrize("body", [{}, [], {"rev": "tomorrow"}, b"<html>"])
async def test_an_answer_that_names_no_rev_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: object
) -> None:
    monkeypatch.setattr(reconcile, "PATIENCE", 0)
    (author,), host = authors(1), Host()

    async def lie(asked: Asked) -> Answer | None:
        return Answer(body) if asked.method == LATEST else None

    async with Compared(tmp_path, host, [author]).begun() as world, world.running() as indexer:
        host.meddle = lie
        await world.hours_pass(indexer, 2.5)
        assert indexer.repo_counts["checks_failed"] == 1
        assert host.counts == {LATEST: 1}


async def test_repos_of_which_nobody_knows_where_they_are_keep_no_others_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "SLICE", 1)
    some, host = authors(4), Host()
    compared = Compared(tmp_path, host, some)
    async with compared.begun() as world:
        homeless = some[:3]
        for author in homeless:
            world.world.playback.identities[author.did]["didDoc"]["service"] = []
        async with world.running() as indexer:
            indexer._lookups.all_soon(author.did for author in homeless)
            await until(lambda: all(home_of(indexer, author) is None for author in homeless))
            async with asyncio.timeout(PATIENCE_S):
                while not host.of(LATEST):
                    await world.hours_pass(indexer, 2.5)
            assert {one.params["did"] for one in host.of(LATEST)} == {some[3].did}


def home_of(indexer: Indexer, author: Author) -> str | None:
    place = indexer.store.place(author.did)
    assert place is not None
    return place.pds


async def test_without_backfill_nothing_is_compared(tmp_path: Path) -> None:
    (author,), host = authors(1), Host()
    async with Compared(tmp_path, host, [author]).begun() as world:
        world.more["backfill"] = False
        async with world.running() as indexer:
            await world.hours_pass(indexer, 3)
            assert host.asked == []
        world.more["backfill"] = True
        async with world.running() as indexer:
            await world.hours_pass(indexer, 0)
            assert host.counts == {LATEST: 1}


async def test_a_repo_that_moved_unseen_is_found_though_its_old_pds_says_that_it_is_gone(
    tmp_path: Path,
) -> None:
    (author,), old, new = authors(1), Host(), Host()
    world = World({old: [author], new: []})
    async with world.indexed(tmp_path) as indexer:
        await indexer.backfill([world.urls[old]])
        new.repos |= old.repos
        old.repos.clear()
        document = world.playback.identities[author.did]["didDoc"]
        document["service"][0]["serviceEndpoint"] = world.urls[new]
        author.create(7)
        await fall_behind(indexer, author.did)
        await until(lambda: found(indexer) == author.uris())
        assert indexer.repo_counts["gone"] == 1
        assert indexer.store.behind() == []
