"""Searches by date stay right and quick whatever dates strangers write."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from atdata_indexer.index import searching, spans
from atdata_indexer.index.order import Samples
from atdata_indexer.index.query import Search
from atdata_indexer.index.searching import Sort
from atdata_indexer.index.snapshot import Snapshot
from atdata_schemas.syntax import micros, parse_datetime
from tests.small_index import ALICE, BOB, NOW_US, SmallIndex, dataset, lens, schema

PHOTO = schema()
HOUR_US = 3_600_000_000
LONG_AGO = micros(parse_datetime("0010-01-01T00:00:00Z"))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    yield small
    small.close()


def test_a_record_of_the_year_ten_does_not_have_every_day_since_looked_up(
    index: SmallIndex,
) -> None:
    times = [NOW_US - n * HOUR_US for n in range(300)] + [LONG_AGO, LONG_AGO + HOUR_US]
    rows = [dataset(PHOTO.uri, rkey=f"3k{n:011}", created_us=us) for n, us in enumerate(times)]
    index.put([PHOTO, *rows])
    index.reader.refresh()
    with (
        patch.object(Samples, "of", lambda *_: sorted(times)),
        patch.object(Snapshot, "frequency", autospec=True, side_effect=Snapshot.frequency) as asked,
    ):
        for before, matching in ((NOW_US - HOUR_US, 300), (LONG_AGO + 1, 1), (LONG_AGO, 0)):
            page = index.reader.search(Search("dataset", created_before_us=before))
            assert (page.total, page.is_bound) == (matching, False)
    assert asked.called
    assert asked.call_count < 3 * (spans._LONG // (24 * HOUR_US) + 100)


def test_what_is_deleted_makes_no_total_a_bound(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MOST", 100)
    rows = [
        dataset(PHOTO.uri, BOB if n % 25 < 16 else ALICE, f"3k{n:011}", created_us=NOW_US - n)
        for n in range(250)
    ]
    index.put([PHOTO, *rows])
    index.account(BOB, active=False, status="deactivated")
    index.reader.refresh()
    assert index.reader._snapshot().deleted >= 160, "they count in frequencies"
    page = index.reader.search(Search("dataset", created_after_us=NOW_US - HOUR_US), limit=100)
    assert (page.total, page.is_bound, len(page.views)) == (90, False, 90)


@pytest.mark.parametrize("sort", ["newest", "oldest", "name"])
def test_records_of_which_none_is_in_a_sample_are_listed(index: SmallIndex, sort: Sort) -> None:
    rows = [lens(PHOTO.uri, PHOTO.uri, rkey=f"3k{n:011}", created_us=NOW_US - n) for n in range(60)]
    index.put([PHOTO, *(replace(one, name=f"lens {n:02}") for n, one in enumerate(rows))])
    index.reader.refresh()
    with (
        patch.object(Samples, "of", lambda *_: []),
        patch("atdata_indexer.index.order.FEW", 10),
    ):
        page = index.reader.search(Search("lens"), sort=sort, limit=20)
        rest = index.reader.search(Search("lens"), sort=sort, limit=100, cursor=page.cursor)
    assert (len(page.views), len(rest.views)) == (20, 40)
