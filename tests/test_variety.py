"""One author cannot fill what everybody sees first, and making room for others loses nothing."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.changes import Row
from atdata_indexer.index.query import Search
from atdata_indexer.index.ranking import LEAD, MOST
from tests.small_index import ALICE, BOB, DATASET, SmallIndex, row, schema

PHOTO = schema()
OTHERS = [f"did:plc:{n:024}" for n in range(40)]
PROLIFIC = 500
IMAGE = Search("dataset", "image")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    yield small
    small.close()


def image(did: str, number: int, more: str = "") -> Row:
    """A dataset that the word `image` finds, the sooner the shorter its name is."""
    name = f"Image {number} {more}".strip()
    body = {"$type": DATASET, "name": name, "schemaRef": PHOTO.uri}
    columns: dict[str, Any] = {"name": name, "schema_uri": PHOTO.uri}
    return row(did, DATASET, f"3k{number:011}", json.dumps(body), **columns)


def walk(small: SmallIndex, search: Search, limit: int) -> list[list[dict[str, Any]]]:
    """Every page by relevance."""
    small.reader.refresh()
    pages, cursor = [], None
    while True:
        page = small.reader.search(search, limit=limit, cursor=cursor)
        pages.append([json.loads(view) for view in page.views])
        cursor = page.cursor
        if cursor is None:
            return pages


def authors(views: list[dict[str, Any]]) -> Counter[str]:
    return Counter(view["author"]["did"] for view in views)


@pytest.mark.parametrize("limit", [10, 25, 100])
def test_an_author_of_five_hundred_records_of_a_word_has_five_places_in_front(
    index: SmallIndex, limit: int
) -> None:
    """All of hers are better hits than anybody else's."""
    hers = [image(ALICE, n) for n in range(PROLIFIC)]
    others = [image(did, n, "of many other things") for n, did in enumerate(OTHERS)]
    index.put([PHOTO, *hers, *others])
    pages = walk(index, IMAGE, limit)
    places = [view for page in pages for view in page]
    front = places[: MOST + len(OTHERS)]
    assert authors(front) == Counter(OTHERS) + Counter({ALICE: MOST})
    assert places[0]["author"]["did"] == ALICE, "the best hit stays the first"
    assert sorted(view["uri"] for view in places) == sorted(one.uri for one in hers + others)
    assert all(len(page) == limit for page in pages[:-1])


def test_authors_who_are_many_do_not_hide_one_another(index: SmallIndex) -> None:
    """Each author's records are better hits than the next one's, and enough to fill the front."""
    crowd = [
        image(did, n, "and " * rank) for rank, did in enumerate(OTHERS[:6]) for n in range(120)
    ]
    others = [image(did, n, "and " * 30) for n, did in enumerate(OTHERS[6:])]
    index.put([PHOTO, *crowd, *others])
    places = [view for page in walk(index, IMAGE, 100) for view in page]
    front = authors(places[: 6 * MOST + len(others)])
    assert max(front.values()) == MOST
    assert set(front) == set(OTHERS)
    assert len({view["uri"] for view in places}) == len(places) == len(crowd) + len(others)


def test_no_hit_with_some_of_the_words_takes_the_place_of_one_with_them_all(
    index: SmallIndex,
) -> None:
    """Few enough have them all to be no flood, whoever wrote them."""
    hers = [image(ALICE, n, "of whales") for n in range(15)]
    others = [image(did, n) for did in OTHERS for n in range(9)]
    index.put([PHOTO, *hers, *others])
    search = Search("dataset", "image whales")
    places = [view["uri"] for page in walk(index, search, 25) for view in page]
    assert set(places[: len(hers)]) == {one.uri for one in hers}
    assert sorted(places) == sorted(one.uri for one in hers + others)


def test_with_nobody_else_an_author_has_every_place(index: SmallIndex) -> None:
    index.put([PHOTO, *(image(ALICE, n) for n in range(LEAD + 20))])
    assert authors(walk(index, IMAGE, LEAD)[0]) == Counter({ALICE: LEAD})


def test_who_asks_for_an_author_is_shown_that_author(index: SmallIndex) -> None:
    hers = [image(ALICE, n) for n in range(60)]
    index.put([PHOTO, *hers, *(image(BOB, n) for n in range(60))])
    for search in (
        Search("dataset", "image", author=ALICE),
        Search("dataset", f"image author:{ALICE}"),
    ):
        pages = walk(index, search, 25)
        assert authors([view for page in pages for view in page]) == Counter({ALICE: 60})


def test_a_walk_while_the_index_stands_still_gives_each_match_once_whatever_the_page_size(
    index: SmallIndex,
) -> None:
    rows = [image(did, n) for did in (ALICE, BOB, OTHERS[0]) for n in range(90)]
    index.put([PHOTO, *rows])
    expected = [view["uri"] for view in walk(index, IMAGE, 100)[0]]
    for limit in (1, 7, 33, 99):
        uris = [view["uri"] for page in walk(index, IMAGE, limit) for view in page]
        assert sorted(uris) == sorted(one.uri for one in rows)
        assert uris[:100] == expected


def test_a_dataset_whose_schema_is_missing_says_so_and_is_found_all_the_same(
    index: SmallIndex,
) -> None:
    index.put([image(ALICE, 1), image(BOB, 2)])
    for page in walk(index, IMAGE, 25):
        assert len(page) == 2
        for view in page:
            assert view["schema"] == {"uri": PHOTO.uri, "status": "missing"}
    index.put([PHOTO])
    (page,) = walk(index, IMAGE, 25)
    assert {view["schema"]["status"] for view in page} == {"indexed"}
