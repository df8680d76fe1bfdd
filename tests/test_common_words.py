"""Words that are in very many datasets: some are looked at for the front, and nobody is missed.

The bounds of what is very many are lowered, so that a few hundred records are as a million.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.changes import Row
from atdata_indexer.index import bands, writer
from atdata_indexer.index.fields import open_index
from atdata_indexer.index.plan import plan
from atdata_indexer.index.query import Search
from atdata_indexer.index.ranking import LEAD
from atdata_indexer.index.snapshot import Snapshot
from atdata_indexer.index.writer import current
from tests.small_index import DATASET, SmallIndex, row, schema

PHOTO = schema()
BAND = 32
MOST = 40
BOTH = Search("dataset", "street image")
PHRASE = Search("dataset", '"image of a street"')


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallIndex]:
    monkeypatch.setattr(bands, "BAND", BAND)
    monkeypatch.setattr(writer, "BAND", BAND)
    monkeypatch.setattr(bands, "MANY", 100)
    monkeypatch.setattr(bands, "MOST", MOST)
    small = SmallIndex(tmp_path)
    yield small
    small.close()


def record(number: int, name: str, description: str = "", tags: tuple[str, ...] = ()) -> Row:
    """A dataset, each of an author of its own."""
    body = {
        "$type": DATASET,
        "name": name,
        "description": description,
        "tags": tags,
        "schemaRef": PHOTO.uri,
    }
    columns: dict[str, Any] = {"name": name, "schema_uri": PHOTO.uri}
    did = f"did:plc:{number:024}"
    return row(did, DATASET, f"3k{number:011}", json.dumps(body), **columns)


def walk(small: SmallIndex, search: Search, limit: int = 50) -> list[dict[str, Any]]:
    """The views of all pages by relevance."""
    small.reader.refresh()
    views, cursor = [], None
    while True:
        page = small.reader.search(search, limit=limit, cursor=cursor)
        views += [json.loads(view) for view in page.views]
        cursor = page.cursor
        if cursor is None:
            return views


def described(numbers: range) -> list[Row]:
    return [record(n, f"w{n}", "the image of a street " * (n % 5 + 1)) for n in numbers]


def named(numbers: range) -> list[Row]:
    """Both words side by side in the name, of which a long description tells other things."""
    return [record(n, f"one street image {n}", "and so on " * 60) for n in numbers]


def newest(small: SmallIndex) -> Snapshot:
    small.reader.refresh()
    folder = small.folder / "index"
    return Snapshot.of(open_index(str(folder / (current(folder) or ""))), "now")


def fired(small: SmallIndex, search: Search = BOTH) -> bool:
    """Whether only some are looked at for the front."""
    snapshot = newest(small)
    asked = plan(snapshot, search, lambda name: [])
    return bands.best(snapshot, asked, asked.plan.query(), LEAD) is not None


def uris(rows: list[Row]) -> set[str]:
    return {one.uri for one in rows}


@pytest.mark.parametrize("search", [BOTH, PHRASE, Search("dataset", 'street "image of a"')])
def test_a_walk_gives_all_of_them_once_and_the_total_is_a_bound(
    index: SmallIndex, search: Search
) -> None:
    rows = described(range(500))
    others = [record(n, f"street {n}", "a street of an image") for n in range(500, 800)]
    index.put([PHOTO, *rows[:100], *others, *rows[100:]])
    assert fired(index, search)
    views = walk(index, search)
    found = rows + others if search is BOTH else rows
    assert sorted(view["uri"] for view in views) == sorted(one.uri for one in found)
    page = index.reader.search(search, limit=10)
    assert (page.total, page.is_bound) == (10_000, True)


@pytest.mark.parametrize(
    "q", ["street image", '"street image"', '"one street image"', 'one "street image"']
)
def test_words_side_by_side_in_a_name_are_found_wherever_they_are(
    index: SmallIndex, q: str
) -> None:
    search = Search("dataset", q)
    rows = named(range(3)) if q.count(" ") == 1 else [record(0, "one street image")]
    others = [record(n, f"w{n}", f"{n} one street image and so on") for n in range(100, 600)]
    index.put([PHOTO, *others[:200], *rows, *others[200:]])
    assert fired(index, search)
    assert {view["uri"] for view in walk(index, search)[: len(rows)]} == uris(rows)


def test_common_words_that_are_seldom_side_by_side_are_counted(index: SmallIndex) -> None:
    searched = [Search("dataset", '"street of an image"')]
    searched.append(replace(searched[0], q='street "street of an image"'))
    rows = [record(n, f"street {n}", "a street of an image") for n in range(500, 530)]
    index.put([PHOTO, *described(range(500)), *rows])
    for search in searched:
        assert not fired(index, search)
        page = index.reader.search(search, limit=10)
        assert (page.total, page.is_bound) == (30, False)


def test_common_words_that_are_seldom_together_are_counted(index: SmallIndex) -> None:
    streets = [record(n, f"street {n}", "street") for n in range(300)]
    images = [record(n, f"image {n}", "image") for n in range(300, 600)]
    index.put([PHOTO, *streets, *images, *described(range(1000, 1030))])
    assert not fired(index)
    page = index.reader.search(BOTH, limit=10)
    assert (page.total, page.is_bound) == (30, False)


def test_what_else_is_asked_for_is_never_looked_for_in_some_only(index: SmallIndex) -> None:
    index.put([PHOTO, *described(range(500)), record(1000, "a street", "image", ("sea",))])
    assert fired(index)
    for other in (
        Search("dataset", "street image", tags=("sea",)),
        Search("dataset", "street image tag:sea"),
        Search("dataset", '"image of a street" w7'),
        Search("dataset", '"street image of a street"'),
        Search("dataset", "street image -w7"),
        Search("dataset", "street image w7"),
    ):
        assert not fired(index, other)


def test_what_is_deleted_is_not_among_them(index: SmallIndex) -> None:
    rows = described(range(500))
    index.put([PHOTO, *rows])
    gone = [
        replace(one, state="deleted", cid=None, body=None, created_us=None, name=None)
        for one in rows[300:400]
    ]
    index.put(gone)
    assert fired(index)
    found = [view["uri"] for view in walk(index, BOTH)]
    assert sorted(found) == sorted(uris(rows) - uris(gone))


def test_an_index_that_is_taken_up_again_goes_on_with_its_bands(index: SmallIndex) -> None:
    rows = described(range(500))
    index.put([PHOTO, *rows[:250]])
    index.reopen()
    index.put(rows[250:])
    assert fired(index)
    snapshot = newest(index)
    held = [snapshot.frequency("band", band) for band in range(500 // BAND)]
    assert min(held) >= BAND - 2, "none is left out, none is twice as large"
    assert max(held) <= 2 * BAND


def test_when_everything_was_written_again_the_newest_are_still_looked_at(
    index: SmallIndex,
) -> None:
    rows = described(range(500))
    index.put([PHOTO, *rows])
    for time in range(3):
        rev = f"3k{time}aaaaaaaaaaa"
        index.put([replace(one, rev=rev, cid=f"{one.cid}{time}") for one in rows])
    assert newest(index).sentinel.written >= 4 * 500
    assert fired(index)
    index.reopen()
    assert newest(index).sentinel.written >= 4 * 500
    assert fired(index)


def test_a_walk_goes_on_where_it_was_when_its_front_is_no_more(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next state of the index has too few of them to be looked for in some only."""
    rows = described(range(500))
    index.put([PHOTO, *rows])
    index.reader.refresh()
    pages, cursor = [], None
    for _ in range(3):
        page = index.reader.search(BOTH, limit=25, cursor=cursor)
        pages.append({json.loads(view)["uri"] for view in page.views})
        cursor = page.cursor
    monkeypatch.setattr(bands, "MANY", 10_000)
    index.put([record(9000, "another")])
    index.reader.refresh()
    rest: list[str] = []
    while cursor is not None:
        page = index.reader.search(BOTH, limit=25, cursor=cursor)
        rest += [json.loads(view)["uri"] for view in page.views]
        cursor = page.cursor
    assert 400 <= len(rest) <= 450, "75 places were shown"
