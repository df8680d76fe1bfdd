"""What is hidden while an export is being made is in none that is offered, and the rest is soon."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.errors import StoreError
from atdata_indexer.exporter import LOOK_S, WAIT
from atdata_indexer.exports import Exports
from atdata_indexer.ingest import Work
from atdata_indexer.labels import Label, LabelPolicy
from tests.appview import until
from tests.builders import Write, commit
from tests.builders import dataset as whales
from tests.exporting import HeldExports, Kept
from tests.small_index import BOB, NOW_US, SmallIndex, dataset, schema

PHOTO = schema()
WHALES = dataset(PHOTO.uri)
LABELER = "did:plc:labelerlabelerlabelerla"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallIndex]:
    index = SmallIndex(tmp_path)
    index.store.set_labels(LabelPolicy(hiding=frozenset({"spam"})), [LABELER])
    index.put([PHOTO, WHALES])
    yield index
    index.close()


def taken_down(small: SmallIndex) -> None:
    small.store.take_down(WHALES.uri, "spam", NOW_US)
    shown(small)


def labelled(small: SmallIndex) -> None:
    label(small, WHALES.cid)
    shown(small)


def gone(small: SmallIndex) -> None:
    small.account(BOB, active=False)
    small.reader.refresh()


def label(small: SmallIndex, cid: str | None) -> None:
    said = Label(LABELER, WHALES.uri, "spam", "2026-01-01T00:00:00Z", cid=cid)
    small.store.apply_labels([said], {}, NOW_US)
    assert small.store.hides


def shown(small: SmallIndex) -> None:
    small.writer.catch_up()
    small.reader.refresh()


HIDING: list[Callable[[SmallIndex], None]] = [taken_down, labelled, gone]


@asynccontextmanager
async def running(kept: Kept) -> AsyncIterator[None]:
    """The exporter at work; it may not have failed."""
    task = asyncio.create_task(kept.exporter.run())
    try:
        yield
        assert not task.done() or task.result() is None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("hide", HIDING)
async def test_what_is_hidden_while_one_is_made_is_never_offered(
    small: SmallIndex, hide: Callable[[SmallIndex], None]
) -> None:
    exports = HeldExports(small.folder)
    kept = Kept(small, hour=3, exports=exports)
    first = await kept.exporter.make()
    assert WHALES.uri in kept.uris()
    exports.go_on.clear()
    kept.now_us += 24 * 3_600_000_000
    async with running(kept):
        await until(exports.held.is_set)
        hide(small)
        # What is offered is withdrawn while the next is being made, however long that takes.
        await until(lambda: exports.current() is None)
        assert exports.held.is_set()
        exports.go_on.set()
        await until(lambda: exports.current() is not None)
    assert kept.uris() == {PHOTO.uri}
    assert [one.seq > first.seq for one in exports.offered] == [False, True]
    dropped, anew = exports.spans[1:]
    assert WAIT * (dropped[1] - dropped[0]) > LOOK_S, "it was held for long enough to tell"
    assert anew[0] - dropped[1] >= WAIT * (dropped[1] - dropped[0]) * 0.99
    assert len(list((small.folder / "export").glob("*/"))) == 1, "nothing of the dropped is left"


@pytest.mark.parametrize("hide", HIDING)
async def test_what_is_hidden_at_the_very_moment_of_the_offer_is_seen_by_the_next_look(
    small: SmallIndex, hide: Callable[[SmallIndex], None]
) -> None:
    exports = HeldExports(small.folder)
    kept = Kept(small, exports=exports)
    exports.offering = lambda: hide(small)
    made = await kept.exporter.make()
    assert exports.current() == made
    kept.exporter.check()
    assert exports.current() is None


async def test_what_is_new_and_hidden_leaves_what_is_offered(small: SmallIndex) -> None:
    exports = HeldExports(small.folder)
    kept = Kept(small, exports=exports)
    first = await kept.exporter.make()
    other = dataset(PHOTO.uri, did="did:plc:evaevaevaevaevaevaevaeva")
    small.put([other])
    small.reader.refresh()
    exports.go_on.clear()
    async with running(kept):
        making = asyncio.create_task(kept.exporter.make())
        await until(exports.held.is_set)
        small.account(other.did, active=False)
        small.reader.refresh()
        exports.go_on.set()
        with pytest.raises(StoreError, match="hidden while it was being made"):
            await making
        assert exports.current() == first
        await until(lambda: exports.current() != first)
    assert kept.uris() == {PHOTO.uri, WHALES.uri}


async def test_what_is_hidden_and_shown_again_meanwhile_is_offered(small: SmallIndex) -> None:
    exports = HeldExports(small.folder)
    kept = Kept(small, exports=exports)
    exports.go_on.clear()
    making = asyncio.create_task(kept.exporter.make())
    await until(exports.held.is_set)
    taken_down(small)
    small.store.put_back(WHALES.uri)
    shown(small)
    exports.go_on.set()
    await making
    assert kept.uris() == {PHOTO.uri, WHALES.uri}


def write(small: SmallIndex, action: Any, record: Any) -> None:
    change: Write = (action, WHALES.uri.split("/", 3)[3], record)
    small.ingest.apply(Work([commit(9, did=BOB, rev="3mabcdefghik2", ops=[change])], {"test": 9}))
    small.reader.refresh()


async def test_a_takedown_of_what_its_author_deleted_withdraws_it(small: SmallIndex) -> None:
    kept = Kept(small)
    made = await kept.exporter.make()
    write(small, "delete", None)
    kept.exporter.check()
    assert kept.exports.current() == made, "what authors delete goes with the next"
    seq = small.store.head
    taken_down(small)
    assert small.store.head == seq, "nothing in the outbox tells it"
    kept.exporter.check()
    assert kept.exports.current() is None


async def test_a_label_on_an_older_version_withdraws_it(small: SmallIndex) -> None:
    kept = Kept(small)
    await kept.exporter.make()
    write(small, "update", whales(name="Others"))
    assert small.store.load([WHALES.uri])[0].cid != WHALES.cid
    labelled(small)
    kept.exporter.check()
    assert kept.exports.current() is None


async def test_a_label_on_a_version_that_is_not_in_it_lets_it_be(small: SmallIndex) -> None:
    kept = Kept(small)
    made = await kept.exporter.make()
    label(small, "bafyreiotherother")
    shown(small)
    kept.exporter.check()
    assert kept.exports.current() == made


async def test_what_the_outbox_no_longer_tells_is_looked_for_in_the_files(
    small: SmallIndex,
) -> None:
    kept = Kept(small)
    made = await kept.exporter.make()
    for number in range(3):
        small.put([schema(rkey=f"3kschemabbbb{number + 2}")])
    small.store.prune_outbox(small.store.head, keep=1)
    again = Kept(small)
    assert again.exports.current() == made
    gone(small)
    small.put([schema(rkey="3kschemabbbb6")])
    small.store.prune_outbox(small.store.head, keep=1)
    assert Kept(small).exports.current() is None


async def test_a_withdrawal_in_another_process_is_seen_at_once(small: SmallIndex) -> None:
    kept = Kept(small)
    await kept.exporter.make()
    other = Exports(small.folder)
    assert other.current() is not None
    taken_down(small)
    kept.exporter.check()
    assert other.current() is None
