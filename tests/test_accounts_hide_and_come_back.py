"""`#account` hides, purges and restores at once; what `active` says decides, not the status."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from atdata_indexer.frames import Account
from atdata_indexer.ingest import Work
from tests.builders import Write, commit
from tests.builders import dataset as whales
from tests.contents import stored
from tests.small_index import ALICE, BOB, DATASET, SmallIndex, dataset, lens, schema


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    photo, other = schema(), schema(did=BOB, rkey="3kschemabbbbb", name="Crop")
    small.put([photo, other, dataset(photo.uri), lens(photo.uri, other.uri)])
    yield small
    small.close()


PHOTO = schema().uri
WHALES = dataset(PHOTO).uri


@pytest.mark.parametrize("status", ["deactivated", "takendown", "suspended", "desynchronized", "x"])
def test_any_inactive_status_hides_and_active_brings_back(index: SmallIndex, status: str) -> None:
    before = index.views()
    index.account(BOB, False, status)
    assert set(index.views()) == {PHOTO}
    assert index.store.record_status(WHALES).status == "hidden"
    assert index.store.record_status(WHALES).account_status == status
    index.reopen()
    assert set(index.views()) == {PHOTO}
    index.account(BOB, True)
    assert index.views() == before
    assert index.store.record_status(WHALES).status == "indexed"


def test_an_active_account_with_a_status_is_active(index: SmallIndex) -> None:
    before = index.views()
    index.account(BOB, True, "throttled")
    assert index.views() == before


def test_deletion_purges_every_body_for_good(index: SmallIndex) -> None:
    index.account(BOB, False, "deleted")
    assert {row[-1] for uri, row in stored(index.store).items() if BOB in uri} == set()
    index.account(BOB, True)
    assert set(index.views()) == {PHOTO}


def test_a_commit_after_the_deletion_brings_no_body_back(index: SmallIndex) -> None:
    index.account(BOB, False, "deleted")
    write: Write = ("create", f"{DATASET}/3kdatasetbbbb", whales())
    late = commit(2, did=BOB, rev="3mzzzzzzzzzz2", ops=[write])
    index.ingest.apply(Work([late], {"test": 2}))
    assert index.ingest.counts["after_deletion"] == 1
    assert not any(BOB in uri for uri in stored(index.store))


def test_an_inactive_account_that_calls_itself_active_is_hidden(index: SmallIndex) -> None:
    index.account(BOB, False, "active")
    assert set(index.views()) == {PHOTO}
    assert index.store.record_status(WHALES).account_status == "inactive"


def test_deletion_after_deactivation_purges_as_well(index: SmallIndex) -> None:
    index.account(BOB, False, "deactivated")
    index.account(BOB, False, "deleted")
    assert not any(BOB in uri for uri in stored(index.store))


def test_a_hidden_authors_schema_is_missing_from_datasets_and_lenses_that_use_it(
    index: SmallIndex,
) -> None:
    index.account(ALICE, False, "takendown")
    views = index.views()
    assert views[WHALES]["schema"] == {"uri": PHOTO, "status": "missing"}
    assert views[lens("", "").uri]["source"] == {"uri": PHOTO, "status": "missing"}
    index.account(ALICE, True)
    assert index.views()[WHALES]["schema"]["name"] == "Photo"


def test_what_a_hidden_account_commits_stays_hidden_until_it_is_active(index: SmallIndex) -> None:
    index.account(BOB, False, "deactivated")
    index.put([dataset(PHOTO, rkey="3kdatasetbbbb")])
    assert set(index.views()) == {PHOTO}
    index.account(BOB, True)
    assert len(index.views()) == 5


def test_an_account_that_holds_nothing_of_ours_leaves_no_trace(index: SmallIndex) -> None:
    stranger = "did:plc:strangerstrangerstranger"
    index.account(stranger, False, "deleted")
    assert stranger not in index.store.tracked()


def test_hiding_twice_is_hiding_once(index: SmallIndex) -> None:
    index.account(BOB, False, "deactivated")
    head = index.store.head
    index.account(BOB, False, "deactivated")
    assert index.store.head == head


def test_hiding_is_one_entry_however_much_an_account_holds(index: SmallIndex) -> None:
    index.put([dataset(schema(did=BOB).uri, rkey=f"3kdataset{c}aaa") for c in "bcdefghij"])
    head = index.store.head
    index.account(BOB, False, "deactivated")
    assert index.store.head == head + 2, "itself, and the one lens that shows its schema"
    assert set(index.views()) == {PHOTO}


def test_a_purge_that_a_crash_cut_short_is_made_up_for(index: SmallIndex) -> None:
    index.store.set_account(Account(9, BOB, False, "deleted"), {}, 0)
    assert any(BOB in uri for uri in stored(index.store)), "hidden, and not purged yet"
    index.reopen()
    index.store.purge()
    assert not any(BOB in uri for uri in stored(index.store))
    assert set(index.views()) == {PHOTO}
