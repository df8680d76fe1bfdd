"""Whatever the records, the query, the order and the page size: a walk gives each match once.

Random small corpora with many equal names, sizes and times; every order's walk must give exactly
the matches, in their order. While records come and go, walks by date, name and size still give
each record that was not touched exactly once.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata_indexer.changes import Row
from atdata_indexer.index import order
from atdata_indexer.index.fields import name_columns, open_index
from atdata_indexer.index.order import Samples, Walk
from atdata_indexer.index.query import Search, every, term
from atdata_indexer.index.searching import Sort
from atdata_indexer.index.snapshot import Snapshot
from atdata_indexer.index.writer import current
from tests.small_index import ALICE, BOB, DATASET, NOW_US, SmallIndex, row, schema

ORDERS: tuple[Sort, ...] = ("newest", "oldest", "name", "samples")
WORDS = ("whale", "image", "Image", "tide gauge", "a" * 23 + "x", "a" * 23 + "y", "é", "eagle")
TAGS = ("sea", "sky")

RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.lists(st.sampled_from(WORDS), min_size=1, max_size=2).map(" ".join),
            "tags": st.lists(st.sampled_from(TAGS), unique=True),
            "samples": st.none() | st.integers(0, 3) | st.just(2**53),
            "seconds": st.integers(0, 4),
            "author": st.sampled_from([ALICE, BOB]),
        }
    ),
    min_size=1,
    max_size=60,
)
QUERIES = st.sampled_from(
    [
        {},
        {"q": "whale"},
        {"q": "image"},
        {"tags": ["sea"]},
        {"tags": ["sea", "sky"], "tag_match": "any"},
        {"author": BOB},
        {"q": "eagle", "tags": ["sky"]},
        {"samples_min": 1},
        {"q": "-whale"},
    ]
)
AS_IF_MANY = st.sampled_from([{"GROUP": order.GROUP}, {"GROUP": 1, "FEW": 2}])
"""Bounds of `order`: with small ones a small corpus is walked as a large one is, by windows and by
group after group of what is equal."""

SLOW = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def a_row(number: int, record: dict[str, Any]) -> Row:
    body = {"$type": DATASET, "name": record["name"], "tags": record["tags"]}
    if record["samples"] is not None:
        body["size"] = {"samples": record["samples"]}
    created = NOW_US - 10**12 + record["seconds"] * 10**6
    return row(
        record["author"],
        DATASET,
        f"3k{number:011}",
        json.dumps(body),
        name=record["name"],
        schema_uri=schema().uri,
        created_us=created,
    )


def without(gone: Row) -> Row:
    """The tombstone of a row."""
    return replace(gone, state="deleted", cid=None, body=None, created_us=None, name=None)


def matches(record: dict[str, Any], query: dict[str, Any]) -> bool:
    """The oracle: what a query means, said plainly."""
    words = set(record["name"].lower().split())
    q = query.get("q", "")
    if q.startswith("-"):
        if q[1:] in words:
            return False
    elif not set(q.split()) <= words:
        return False
    tags, wanted = set(record["tags"]), set(query.get("tags", ()))
    if wanted and not (wanted & tags if query.get("tag_match") == "any" else wanted <= tags):
        return False
    if "samples_min" in query and (record["samples"] or 0) < query["samples_min"]:
        return False
    return bool(query.get("author", record["author"]) == record["author"])


def place(view: dict[str, Any], created: dict[str, int], sort: Sort) -> tuple[int, ...]:
    """Where a record stands in an order, by what its view shows."""
    uri, record = view["uri"], view["record"]
    match sort:
        case "newest":
            return (-created[uri],)
        case "oldest":
            return (created[uri],)
        case "samples":
            return -record.get("size", {}).get("samples", -1), -created[uri]
        case _:
            return *name_columns(record["name"]), created[uri]


def created_keys(small: SmallIndex) -> dict[str, int]:
    with small.store.reader() as db:
        return dict(db.execute("SELECT uri, sort_created FROM records").fetchall())


def an_index() -> tuple[SmallIndex, "TemporaryDirectory[str]"]:
    folder = TemporaryDirectory()
    return SmallIndex(Path(folder.name)), folder


def walk(small: SmallIndex, search: Search, sort: Sort, limit: int) -> Iterator[dict[str, Any]]:
    """Every page, on whatever the newest state is then."""
    cursor = None
    while True:
        small.reader.refresh()
        page = small.reader.search(search, sort=sort, limit=limit, cursor=cursor)
        assert len(page.views) <= limit
        yield {"views": [json.loads(view) for view in page.views], "total": page.total}
        cursor = page.cursor
        if cursor is None:
            return


@SLOW
@given(
    records=RECORDS,
    query=QUERIES,
    limit=st.integers(1, 70),
    bounds=AS_IF_MANY,
    data=st.data(),
)
def test_a_walk_gives_each_match_once_and_in_order(
    records: list[dict[str, Any]],
    query: dict[str, Any],
    limit: int,
    bounds: dict[str, int],
    data: st.DataObject,
) -> None:
    small, folder = an_index()
    with folder, patch.dict(vars(order), bounds):
        rows = [a_row(number, record) for number, record in enumerate(records)]
        cut = data.draw(st.integers(0, len(rows)))
        small.put(rows[:cut])
        small.put(rows[cut:])  # a second segment, and deletes in the first
        gone = data.draw(st.sets(st.sampled_from(range(len(rows))), max_size=5))
        if gone:
            small.put(without(rows[number]) for number in gone)
        kept = set(range(len(rows))) - gone
        expected = {rows[n].uri for n in kept if matches(records[n], query)}
        created = created_keys(small)
        for sort in (*ORDERS, "relevance"):
            pages = list(walk(small, Search("dataset", **query), sort, limit))
            assert all(page["views"] for page in pages[1:]), "no cursor leads nowhere"
            views = [view for page in pages for view in page["views"]]
            assert len(views) == len({view["uri"] for view in views})
            if sort == "relevance":
                assert {view["uri"] for view in views} >= expected
                continue
            assert {view["uri"] for view in views} == expected
            assert [page["total"] for page in pages] == [len(expected)] * len(pages)
            places = [place(view, created, sort) for view in views]
            assert places == sorted(places), sort
        small.close()


@pytest.mark.parametrize("sort", ORDERS)
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("group", [1, order.GROUP])
def test_many_that_are_equal_come_in_order_on_pages_of_any_size(
    tmp_path: Path, sort: Sort, limit: int, group: int
) -> None:
    """Those written first come last: what the engine gives first is not what is wanted."""
    small = SmallIndex(tmp_path)
    rows = [
        a_row(
            number,
            {
                "name": WORDS[number % 2 * 2],
                "tags": [],
                "samples": number % 3,
                "seconds": 100 - number if sort in {"name", "oldest"} else number,
                "author": ALICE,
            },
        )
        for number in range(45)
    ]
    small.put(rows)
    created = created_keys(small)
    with patch.dict(vars(order), {"GROUP": group}):
        pages = list(walk(small, Search("dataset"), sort, limit))
    views = [view for page in pages for view in page["views"]]
    assert sorted(view["uri"] for view in views) == sorted(row.uri for row in rows)
    places = [place(view, created, sort) for view in views]
    assert places == sorted(places)
    small.close()


@pytest.mark.parametrize("sort", ORDERS)
def test_the_first_page_of_a_large_index_is_looked_for_in_a_window(
    tmp_path: Path, sort: Sort
) -> None:
    small = SmallIndex(tmp_path)
    record = {"tags": [], "samples": 1, "seconds": 0, "author": ALICE}
    small.put(a_row(n, record | {"name": f"{n} w", "samples": n, "seconds": n}) for n in range(400))
    small.reader.refresh()
    folder = tmp_path / "index"
    snapshot = Snapshot.of(open_index(str(folder / (current(folder) or ""))), "now")
    query = term("kind", "dataset")
    with patch.dict(vars(order), {"FEW": 2}):
        walk = Walk(snapshot, Samples(), query, "dataset", order.ORDERS[sort], 400)
        windows = list(walk._windows(walk.order.columns[0], None, 1))
        assert windows
        assert snapshot.count(every(query, windows[0])) < 200
    small.close()


@SLOW
@given(
    records=RECORDS,
    query=QUERIES,
    sort=st.sampled_from(ORDERS),
    limit=st.integers(1, 9),
    bounds=AS_IF_MANY,
    data=st.data(),
)
def test_a_walk_while_records_come_and_go_gives_each_untouched_match_once(
    records: list[dict[str, Any]],
    query: dict[str, Any],
    sort: Sort,
    limit: int,
    bounds: dict[str, int],
    data: st.DataObject,
) -> None:
    small, folder = an_index()
    with folder, patch.dict(vars(order), bounds):
        rows = {number: a_row(number, record) for number, record in enumerate(records)}
        small.put(rows.values())
        expected = {rows[n].uri for n, record in enumerate(records) if matches(record, query)}
        walked: list[str] = []
        touched: set[str] = set()
        new = len(rows)
        for page in walk(small, Search("dataset", **query), sort, limit):
            walked += [view["uri"] for view in page["views"]]
            gone = data.draw(st.sampled_from(sorted(rows)))
            record = data.draw(RECORDS)[0]
            touched.add(rows[gone].uri)
            small.put([without(rows[gone]), a_row(new, record)])
            new += 1
            if new > len(records) + 30:
                break
        else:
            untouched = expected - touched
            assert untouched <= set(walked)
        assert len(walked) == len(set(walked))
        small.close()
