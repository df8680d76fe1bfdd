"""A DID document or handle that a stranger controls harms nobody but its own account."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.daemon import Indexer
from atdata_indexer.errands import Errands
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.playback import Playback
from tests.appview import settings, until
from tests.contents import searchable
from tests.signed import Author, frame
from tests.small_index import ALICE, BOB, SmallIndex, dataset, schema


@asynccontextmanager
async def followed(
    folder: Path, author: Author, changes: Mapping[str, Any]
) -> AsyncIterator[Indexer]:
    """An indexer of one good author and of one whose DID document was changed."""
    victim = Author("victim")
    playback = Playback([frame(author.create(1)), frame(victim.create(1))], {})
    async with playback.serve() as host:
        for one in (author, victim):
            playback.identities[one.did] = one.identity(host)
        playback.identities[author.did]["didDoc"] |= changes
        async with Indexer.open(settings(folder, host)) as indexer:
            running = asyncio.create_task(indexer.run())
            try:
                await until(lambda: any(victim.did in uri for uri in searchable(indexer.reader)))
                await until(lambda: indexer.is_current(playback.last_seq))
                assert not running.done()
                yield indexer
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"service": [{"id": "#atproto_pds", "serviceEndpoint": "https://x\ud800"}]},
        {"service": [{"id": "#atproto_pds", "serviceEndpoint": "https://x y"}]},
        {"service": {"id": "#atproto_pds"}},
        {"verificationMethod": [{"id": "#atproto", "publicKeyMultibase": "z\ud800"}]},
        {"verificationMethod": [{"id": "#atproto", "publicKeyMultibase": "z" + "1" * 9000}]},
        {"verificationMethod": "text"},
        {"alsoKnownAs": ["at://x\ud800.test"]},
        {"alsoKnownAs": [{}, 7, None]},
        {"id": "did:plc:somebodyelsesomebodyelse"},
    ],
    ids=range(9),
)
async def test_a_hostile_document_stops_nobody_else(
    tmp_path: Path, changes: Mapping[str, Any]
) -> None:
    for _ in range(2):  # and none the less after a restart
        async with followed(tmp_path, Author("mallory"), changes) as indexer:
            assert indexer.counts["commits"] >= 0


def test_a_handle_belongs_to_one_account(tmp_path: Path) -> None:
    index = SmallIndex(tmp_path)
    index.put([schema(), dataset(schema().uri)])
    index.handle(ALICE, "shared.test")
    index.handle(BOB, "shared.test")
    handles = {view["author"]["did"]: view["author"]["handle"] for view in index.views().values()}
    assert handles == {ALICE: "handle.invalid", BOB: "shared.test"}
    assert index.store.identities_due() == [ALICE]
    index.close()


def test_a_handle_that_cannot_be_looked_up_now_stays_only_if_it_is_the_same(
    tmp_path: Path,
) -> None:
    index = SmallIndex(tmp_path)
    index.put([schema()])
    index.handle(ALICE, "alice.test")

    def shown(claimed: str) -> str:
        index.resolved(ResolvedIdentity(ALICE, None, "https://pds.example", "zKey", claimed))
        place = index.store.place(ALICE)
        assert place is not None
        assert (place.pds, place.key) == ("https://pds.example", "zKey")
        assert index.store.identities_due() == [ALICE]
        return str(index.views()[schema().uri]["author"]["handle"])

    assert shown("alice.test") == "alice.test"
    assert shown("another.test") == "handle.invalid"
    index.close()


async def test_asking_again_and_again_neither_repeats_nor_hurries_what_fails() -> None:
    calls: list[int] = []

    async def fail(did: str, failures: int) -> float | None:
        calls.append(failures)
        return 3600.0

    errands = Errands(fail, 2)
    running = asyncio.create_task(errands.run())
    for _ in range(2000):
        errands.soon("did:web:dead.example")
        await asyncio.sleep(0)
    assert calls == [0]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_unexpected_failure_stops_nothing_else() -> None:
    done: list[str] = []

    async def work(did: str, failures: int) -> float | None:
        if did == "bad":
            raise ZeroDivisionError
        done.append(did)
        return None

    errands = Errands(work, 1)
    running = asyncio.create_task(errands.run())
    for did in ("bad", "good", "better"):
        errands.soon(did)
    await until(lambda: done == ["good", "better"])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
