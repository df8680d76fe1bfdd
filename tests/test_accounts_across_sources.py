"""One truth of an account, whatever the order in which several sources tell of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from atdata_indexer.frames import Account
from atdata_indexer.ingest import Work
from tests.contents import stored
from tests.small_index import ALICE, NOW_US, SmallIndex, schema

EARLIER, LATER = NOW_US - 2_000_000, NOW_US - 1_000_000


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    opened = SmallIndex(tmp_path)
    opened.put([schema()])
    yield opened
    opened.close()


def tell(index: SmallIndex, source: str, active: bool, time_us: int | None) -> bool:
    """Whether the account is shown after a source has told of it."""
    status = None if active else "deactivated"
    index.seq += 1
    event = Account(index.seq, ALICE, active, status, time_us, source)
    index.ingest.apply(Work([event], {source: index.seq}))
    return bool(index.views())


def test_a_source_that_lags_does_not_take_back_what_another_told(index: SmallIndex) -> None:
    assert not tell(index, "one", False, LATER)
    assert not tell(index, "two", True, EARLIER), "it was active before"
    assert index.ingest.counts["stale_accounts"] == 1
    assert index.store.cursor("two") == index.seq, "the event is settled all the same"
    assert tell(index, "two", True, NOW_US)


def test_one_source_is_taken_at_its_order_whatever_its_clock_says(index: SmallIndex) -> None:
    assert not tell(index, "one", False, LATER)
    assert tell(index, "one", True, EARLIER)
    assert not tell(index, "one", False, None)


def test_an_older_deletion_told_by_another_purges_nothing(index: SmallIndex) -> None:
    assert tell(index, "one", True, LATER)
    index.ingest.apply(Work([Account(1, ALICE, False, "deleted", EARLIER, "two")], {"two": 1}))
    assert index.ingest.counts["stale_accounts"] == 1
    assert index.views()
    assert stored(index.store)


def test_a_deletion_and_return_that_are_told_again_purge_nothing(index: SmallIndex) -> None:
    """After a crash a source says things again from its cursor on."""
    deleted = Account(5, ALICE, False, "deleted", EARLIER, "one")
    returned = Account(6, ALICE, True, None, LATER, "one")
    index.ingest.apply(Work([deleted, returned], {"one": 6}))
    index.put([schema()])
    before = index.views()
    assert before
    for event in (deleted, returned):
        index.ingest.apply(Work([event], {"one": 6}))
        assert index.views() == before
    assert index.ingest.counts["stale_accounts"] == 2


def test_a_repo_that_was_gone_is_fetched_when_its_account_is_said_to_be_active(
    index: SmallIndex,
) -> None:
    index.store.set_sync_state(ALICE, "gone")
    assert tell(index, "one", True, EARLIER)
    assert index.store.behind() == [ALICE]


def test_a_time_in_the_future_holds_nobody_up(index: SmallIndex) -> None:
    assert not tell(index, "one", False, NOW_US * 2)
    assert tell(index, "two", True, NOW_US)


def test_a_source_that_tells_no_time_is_taken_as_of_now(index: SmallIndex) -> None:
    assert not tell(index, "one", False, EARLIER)
    assert tell(index, "two", True, None)
