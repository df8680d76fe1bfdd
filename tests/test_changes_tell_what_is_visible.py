"""The stream of changes tells nothing that is hidden now, and everything that follows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from atdata_api.changes import Wanted
from atdata_api.server import AppView
from atdata_indexer.admin_client import AdminClient
from atdata_indexer.changes_feed import MOST, Entry, read, span
from atdata_indexer.index.store import Store
from tests.small_index import ALICE, BOB, SmallIndex, dataset, schema

PHOTO = schema()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallIndex]:
    index = SmallIndex(tmp_path)
    yield index
    index.close()


def told(store: Store, after: int = 0) -> list[tuple[str, str, bool]]:
    """Every entry there is: its op, its URI, and whether it has a view."""
    entries: list[Entry] = []
    head = span(store).head
    while after < head:
        batch = read(store, after, head)
        assert not batch.outdated
        entries += batch.entries
        after = batch.until
    assert [one.seq for one in entries] == sorted({one.seq for one in entries})
    return [(one.op, one.uri, one.view is not None) for one in entries]


def test_what_an_account_hides_is_not_told_and_that_it_hides_is(small: SmallIndex) -> None:
    photos = dataset(PHOTO.uri)
    small.put([PHOTO, photos])
    assert ("create", photos.uri, True) in told(small.store)
    small.account(BOB, active=False)
    assert told(small.store) == [("create", PHOTO.uri, True), ("hide", f"at://{BOB}", False)]
    small.account(BOB, active=True)
    assert told(small.store)[-2:] == [("hide", f"at://{BOB}", False), ("show", photos.uri, True)]


def test_what_was_purged_is_not_told_again(small: SmallIndex) -> None:
    photos = dataset(PHOTO.uri)
    small.put([PHOTO, photos])
    small.account(BOB, active=False, status="deleted")
    assert told(small.store) == [("create", PHOTO.uri, True), ("hide", f"at://{BOB}", False)]


def test_a_version_that_was_replaced_is_told_without_its_view(small: SmallIndex) -> None:
    small.put([PHOTO])
    small.put([schema(rev="3mabcdefghij3")])
    assert told(small.store)[0] == ("create", PHOTO.uri, False)
    assert told(small.store)[1] == ("create", PHOTO.uri, True)


def test_a_cursor_behind_what_is_kept_is_outdated(small: SmallIndex) -> None:
    small.put(schema(rkey=f"3k{number:011}") for number in range(9))
    small.store.prune_outbox(small.store.head, keep=4)
    assert span(small.store).before == 5
    assert read(small.store, 4, 9).outdated
    assert [one.seq for one in read(small.store, 5, 9).entries] == [6, 7, 8, 9]
    small.store.prune_outbox(small.store.head, keep=0)
    assert (span(small.store).before, span(small.store).head) == (9, 9)
    assert read(small.store, 8, 9).outdated


def test_no_batch_grows_with_what_is_kept(small: SmallIndex) -> None:
    small.put(schema(rkey=f"3k{number:011}") for number in range(MOST + 10))
    assert len(read(small.store, 0, MOST + 10).entries) == MOST
    assert len(told(small.store)) == MOST + 10


def test_who_wants_a_tag_is_told_what_loses_it() -> None:
    wanted = Wanted(tags={"sea"})
    uri = f"at://{ALICE}/app.bsky.atdata.dataset/3k"
    tagged = Entry(1, "update", uri, ALICE, view="{}", tags=("sea", "wave"))
    bare = Entry(2, "update", uri, ALICE, view="{}", tags=("land",))
    assert wanted.told(tagged) == tagged
    assert wanted.told(bare) == Entry(2, "update", uri, ALICE)
    assert wanted.told(Entry(3, "create", uri, ALICE, view="{}", tags=("land",))) is None
    assert wanted.told(gone := Entry(4, "delete", uri, ALICE)) == gone


def test_who_wants_a_collection_is_told_that_an_account_is_hidden() -> None:
    wanted = Wanted(collections={"app.bsky.atdata.lens"}, authors={ALICE})
    assert wanted.told(hidden := Entry(1, "hide", f"at://{ALICE}", ALICE)) == hidden
    assert wanted.told(Entry(2, "hide", f"at://{BOB}", BOB)) is None
    assert wanted.told(Entry(3, "create", PHOTO.uri, ALICE, view="{}")) is None


def test_a_process_apart_reads_the_same_through_the_socket(recorded_appview: AppView) -> None:
    indexer = recorded_appview.indexer
    client = AdminClient(indexer.upkeep.settings.data_dir)
    kept = client.changes_span()
    assert kept == indexer.changes_span()
    batch = client.changes(100, kept.head)
    assert batch == indexer.changes(100, kept.head)
    assert batch.entries
