"""Who an account is, is believed for `identity_hours` and then asked again, event or none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.daemon import Indexer
from atdata_indexer.ingest import wall_clock
from benchmarks.hosts import Host
from tests.appview import settings, until
from tests.builders import account_frame
from tests.contents import searchable
from tests.hosting import World, authors
from tests.network import found
from tests.signed import Author

HOUR_US = 3_600_000_000
HOURS = 3


class Aging:
    """An index that knows its authors, on a clock that stands still until it is turned."""

    def __init__(self, folder: Path, home: Host, some: list[Author], **others: Host) -> None:
        self.folder = folder
        self.world = World({home: some} | {host: [] for host in others.values()})
        self.world.now_us = wall_clock()
        self.rounds = 0

    @property
    def lookups(self) -> int:
        """How often a DID document was asked for."""
        return sum("did:plc:" in method for method in self.world.playback.asked)

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Aging"]:
        async with self.world.served() as relay:
            values = {"backfill": True, "directories": "none", "identity_hours": HOURS}
            self.settings = settings(self.folder, relay, reconcile_hours=8760, **values)
            yield self

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Indexer]:
        async with self.world.running(self.settings) as indexer:
            go_round = indexer._rounds._round

            async def counted() -> None:
                await go_round()
                self.rounds += 1

            indexer._rounds._round = counted  # type: ignore[method-assign]
            yield indexer

    @asynccontextmanager
    async def known(self) -> AsyncIterator[Indexer]:
        """An indexer that has just looked everybody up and fetched their repos."""
        async with self.served(), self.running() as indexer:
            await indexer.backfill(list(self.world.urls.values()))
            assert len(found(indexer)) == 2 * len(self.world.authors)
            assert self.lookups == len(self.world.authors)
            yield indexer

    async def hours_pass(self, indexer: Indexer, hours: float) -> None:
        """Turn the clock, let a round be gone, and what it has begun be done."""
        assert self.world.now_us is not None
        self.world.now_us += int(hours * HOUR_US)
        await until(indexer.is_settled)
        gone = self.rounds
        indexer._rounds.hurry()
        await until(lambda: self.rounds > gone)
        await until(indexer.is_settled)

    def document(self, author: Author) -> dict[str, Any]:
        document: dict[str, Any] = self.world.playback.identities[author.did]["didDoc"]
        return document


async def test_a_new_handle_is_seen_when_the_old_one_has_been_believed_long_enough(
    tmp_path: Path,
) -> None:
    (author,) = authors(1)
    aging = Aging(tmp_path, Host(), [author])
    async with aging.known() as indexer:
        aging.document(author)["alsoKnownAs"] = ["at://moved.test"]
        await aging.hours_pass(indexer, HOURS - 0.1)
        assert aging.lookups == 1
        assert handles(indexer) == {f"{author.did[8:14]}.test"}
        aging.world.playback.identities[author.did]["handle"] = "moved.test"
        await aging.hours_pass(indexer, 0.2)
        await until(lambda: handles(indexer) == {"moved.test"})
        assert aging.lookups == 2
        await aging.hours_pass(indexer, HOURS - 0.1)
        assert aging.lookups == 2, "and that is believed as long again"


async def test_a_handle_that_no_longer_leads_back_is_not_shown_any_more(tmp_path: Path) -> None:
    (author,) = authors(1)
    aging = Aging(tmp_path, Host(), [author])
    async with aging.known() as indexer:
        aging.world.playback.identities[author.did]["handle"] = "somebody.else.test"
        await aging.hours_pass(indexer, HOURS + 0.1)
        await until(lambda: handles(indexer) == {"handle.invalid"})


async def test_a_new_key_is_known_before_anything_is_signed_with_it(tmp_path: Path) -> None:
    (author,) = authors(1)
    aging = Aging(tmp_path, Host(), [author])
    async with aging.known() as indexer:
        author.renew_key()
        aging.document(author).update(author.identity("127.0.0.1:1")["didDoc"])
        await aging.hours_pass(indexer, HOURS + 0.1)
        await until(lambda: key_of(indexer, author) == author.multibase)
        asked = aging.lookups
        aging.world.send(author.create(9))
        await until(lambda: found(indexer) == author.uris())
        assert aging.lookups == asked, "its first commit needs no look-up"


async def test_a_repo_that_moved_unseen_is_fetched_from_where_it_is_now(tmp_path: Path) -> None:
    (author,), old, new = authors(1), Host(), Host(directory=False)
    aging = Aging(tmp_path, old, [author], new=new)
    async with aging.known() as indexer:
        new.repos |= old.repos
        old.repos.clear()
        aging.document(author)["service"][0]["serviceEndpoint"] = aging.world.urls[new]
        await aging.hours_pass(indexer, HOURS + 0.1)
        await until(lambda: home_of(indexer, author) == aging.world.urls[new])
        author.create(7)
        aging.world.send(author.create(8))  # which shows that something was missed
        await until(lambda: new.times("sync.getRepo") == 1)
        await until(lambda: found(indexer) == author.uris())
        assert old.times("sync.getRepo") == 1, "only at first"


async def test_a_restart_neither_forgets_who_was_looked_up_nor_for_how_long(
    tmp_path: Path,
) -> None:
    some = authors(2)
    aging = Aging(tmp_path, Host(), some)
    async with aging.served():
        async with aging.running() as indexer:
            await indexer.backfill(list(aging.world.urls.values()))
            assert aging.lookups == 2
        for hours, lookups in ((0.5 * HOURS, 2), (0.4 * HOURS, 2), (0.2 * HOURS, 4)):
            async with aging.running() as indexer:
                await aging.hours_pass(indexer, hours)
                assert aging.lookups == lookups


@pytest.mark.parametrize("status", ["deactivated", "deleted"])
async def test_who_is_not_active_is_not_looked_up(tmp_path: Path, status: str) -> None:
    some = authors(2)
    aging = Aging(tmp_path, Host(), some)
    async with aging.known() as indexer:
        seq = aging.world.playback.last_seq + 1
        aging.world.playback.append(account_frame(seq, some[0].did, active=False, status=status))
        await until(lambda: found(indexer) == some[1].uris())
        asked = aging.lookups
        await aging.hours_pass(indexer, HOURS + 0.1)
        assert aging.lookups == asked + 1


def handles(indexer: Indexer) -> set[str]:
    return {view["author"]["handle"] for view in searchable(indexer.reader).values()}


def key_of(indexer: Indexer, author: Author) -> str | None:
    place = indexer.store.place(author.did)
    assert place is not None
    return place.key


def home_of(indexer: Indexer, author: Author) -> str | None:
    place = indexer.store.place(author.did)
    assert place is not None
    return place.pds
