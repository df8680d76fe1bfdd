"""Walking every page of a query gives each match exactly once."""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atdata_api.server import AppView
from atdata_indexer.changes import Row
from atdata_indexer.index.cursor import InvalidCursor
from atdata_indexer.index.page import Page
from atdata_indexer.index.query import Search
from atdata_indexer.index.searching import Sort
from tests.asking import Api
from tests.small_index import BOB, DATASET, NOW_US, SmallIndex, row, schema

QUERIES: tuple[dict[str, Any], ...] = (
    {},
    {"q": "image"},
    {"q": "the"},
    {"tags": "speech"},
    {"q": "image", "tags": "classification"},
    {"author": "vox-commons.test"},
)


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallIndex]:
    """An empty index."""
    small = SmallIndex(tmp_path)
    yield small
    small.close()


def a_dataset(number: int, *, text: str = "Tide gauge", created_us: int | None = None) -> Row:
    """Datasets of higher numbers are newer; all of them match `tide`."""
    record = {"$type": DATASET, "name": text, "description": f"Number {number}."}
    created = NOW_US - 10**12 + number * 10**6 if created_us is None else created_us
    return row(
        BOB,
        DATASET,
        f"3k{number:011}",
        json.dumps(record),
        name=text,
        schema_uri=schema().uri,
        created_us=created,
    )


def without(gone: Row) -> Row:
    """The tombstone of a row."""
    return replace(gone, state="deleted", cid=None, body=None, created_us=None, name=None)


def search(small: SmallIndex, sort: Sort, limit: int, cursor: str | None = None) -> Page:
    """A page of `tide` on the newest snapshot."""
    small.reader.refresh()
    return small.reader.search(Search("dataset", q="tide"), sort=sort, limit=limit, cursor=cursor)


def uris(page: Page) -> list[str]:
    return [json.loads(view)["uri"] for view in page.views]


# --- while nothing changes --------------------------------------------------------------------


@pytest.mark.parametrize("query", QUERIES, ids=str)
@pytest.mark.parametrize("sort", ["relevance", "newest", "oldest"])
def test_every_walk_gives_each_match_once(api: Api, sort: str, query: dict[str, Any]) -> None:
    whole = api.walk("searchDatasets", **query, sort=sort, limit=100)
    total = api.ask("searchDatasets", **query, sort=sort, limit=1)["hitsTotal"]
    assert len({view["uri"] for view in whole}) == len(whole) == total > 5
    for limit in (1, 7, 100):
        pages = list(api.pages("searchDatasets", **query, sort=sort, limit=limit))
        assert [view for page in pages for view in page["datasets"]] == whole
        assert {page["hitsTotal"] for page in pages} == {total}
        assert len(pages) == -(-total // limit), "no page is empty, no cursor leads nowhere"


@pytest.mark.parametrize("name", ["listDatasets", "listSchemas", "listLenses", "searchSchemas"])
def test_every_list_gives_each_record_once(api: Api, name: str) -> None:
    counts = api.ask("describeService")["counts"]
    whole = api.walk(name, limit=100)
    total = counts[name.removeprefix("list").removeprefix("search").lower()]
    assert len({view["uri"] for view in whole}) == len(whole) == total
    for limit in (1, 7):
        assert api.walk(name, limit=limit) == whole


@pytest.mark.parametrize("sort", ["relevance", "newest", "oldest"])
def test_two_thousand_records_of_one_instant_page_without_holes(
    small: SmallIndex, sort: Sort
) -> None:
    started = time.monotonic()
    rows = [a_dataset(number, created_us=NOW_US) for number in range(2_000)]
    for at in range(0, 2_000, 400):
        small.put(rows[at : at + 400])
    for limit in (37, 100):
        walked: list[str] = []
        cursor = None
        while cursor is not None or not walked:
            page = search(small, sort, limit, cursor)
            assert page.total == 2_000
            walked += uris(page)
            cursor = page.cursor
        assert len(walked) == 2_000
        assert set(walked) == {row.uri for row in rows}
    assert time.monotonic() - started < 20, "a flood of equal times must not slow anything down"


# --- while records come and go ----------------------------------------------------------------


@pytest.mark.parametrize("limit", [3, 7, 100])
@pytest.mark.parametrize("sort", ["newest", "oldest"])
def test_a_walk_by_date_gives_each_untouched_record_once_while_others_come_and_go(
    small: SmallIndex, sort: Sort, limit: int
) -> None:
    dice = random.Random(limit)
    rows = {number: a_dataset(number) for number in range(0, 160, 2)}
    small.put(rows.values())
    touched: set[str] = set()
    walked: list[str] = []
    cursor = None
    while cursor is not None or not walked:
        page = search(small, sort, limit, cursor)
        walked += uris(page)
        cursor = page.cursor
        gone = dice.choice(list(rows))
        some = [a_dataset(number) for number in dice.sample(range(-99, 260, 2), 2)]
        small.put([without(rows.pop(gone)), *some])
        touched |= {f"at://{BOB}/{DATASET}/3k{gone:011}", *(row.uri for row in some)}
    untouched = {row.uri for row in rows.values()} - touched
    assert len(untouched) > 10
    assert [walked.count(uri) for uri in untouched] == [1] * len(untouched)
    assert len(walked) == len(set(walked))


@pytest.mark.parametrize("limit", [1, 7])
def test_a_walk_by_relevance_goes_on_behind_the_last_hit_when_better_ones_arrive(
    small: SmallIndex, limit: int
) -> None:
    rows = [a_dataset(number, text="Tide" + " gauge" * (number // 4)) for number in range(40)]
    small.put(rows)
    walked: list[str] = []
    cursor = None
    number = 1_000
    while cursor is not None or not walked:
        page = search(small, "relevance", limit, cursor)
        walked += uris(page)
        cursor = page.cursor
        small.put([a_dataset(number, text="Tide tide")])
        number += 1
    found = [uri for uri in walked if uri < f"at://{BOB}/{DATASET}/3k{1_000:011}"]
    assert sorted(found) == sorted(row.uri for row in rows)


@pytest.mark.parametrize("limit", [3, 7, 30])
def test_a_walk_by_relevance_loses_nothing_when_its_last_hit_is_deleted(
    small: SmallIndex, limit: int
) -> None:
    """All hits score the same, and the next commit gives all of them another score."""
    rows = {row.uri: row for row in (a_dataset(number) for number in range(90))}
    small.put(rows.values())
    walked: list[str] = []
    cursor = None
    while cursor is not None or not walked:
        page = search(small, "relevance", limit, cursor)
        walked += uris(page)
        cursor = page.cursor
        small.put([without(rows[walked[-1]])])
    assert sorted(walked) == sorted(rows)


def test_a_page_is_of_one_moment(small: SmallIndex) -> None:
    """What is committed while a page is read is not half in it."""
    small.put([a_dataset(number) for number in range(30)])
    first = search(small, "newest", 10)
    small.put([a_dataset(number) for number in range(30, 60)])
    again = small.reader.search(Search("dataset", q="tide"), sort="newest", limit=10)
    assert again == first
    assert search(small, "newest", 10).total == 60


# --- cursors of other walks -------------------------------------------------------------------


def test_a_cursor_of_another_query_or_sort_is_refused(api: Api) -> None:
    walks: list[tuple[str, dict[str, Any]]] = [
        ("searchDatasets", {"q": "image"}),
        ("searchDatasets", {"q": "image", "sort": "newest"}),
        ("searchDatasets", {"q": "image", "sort": "oldest"}),
        ("searchDatasets", {"q": "images"}),
        ("searchDatasets", {"q": "image", "tags": "classification"}),
        ("searchDatasets", {"tags": "classification"}),
        ("searchDatasets", {"tags": ["classification", "image"]}),
        ("searchDatasets", {"author": "vox-commons.test"}),
        ("searchSchemas", {}),
        ("searchSchemas", {"sort": "oldest"}),
        ("listDatasets", {}),
        ("listDatasets", {"author": "lumen-imaging.test"}),
        ("listLenses", {}),
    ]
    cursors = [api.ask(name, **params, limit=1)["cursor"] for name, params in walks]
    for (name, params), own in zip(walks, cursors, strict=True):
        assert api.ask(name, **params, limit=100, cursor=own)
        for other in cursors:
            if other != own:
                response = api.query(name, **params, cursor=other)
                assert response.status_code == 400
                assert response.json()["error"] == "InvalidCursor"


def test_no_two_searches_share_a_cursor(small: SmallIndex) -> None:
    """Not even when the parts of one, put together, read like those of another."""
    small.put([a_dataset(number) for number in range(3)])
    small.reader.refresh()
    one = Search("dataset", q="tide\0gauge")
    other = Search("dataset", q="tide", tags=["gauge"])
    cursor = small.reader.search(one, limit=1).cursor
    assert cursor is not None
    with pytest.raises(InvalidCursor):
        small.reader.search(other, limit=1, cursor=cursor)


def test_a_cursor_goes_on_with_another_page_size(api: Api) -> None:
    for sort in ("relevance", "newest", "oldest"):
        whole = api.walk("searchDatasets", q="image", sort=sort)
        first = api.ask("searchDatasets", q="image", sort=sort, limit=3)
        rest = api.walk("searchDatasets", q="image", sort=sort, cursor=first["cursor"], limit=100)
        assert first["datasets"] + rest == whole
