"""Signs find nothing, and words that say nothing stand in nobody's way."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from atdata_indexer.changes import Row
from atdata_indexer.index.query import Search
from tests.small_index import BOB, DATASET, SmallIndex, row, schema

PHOTO = schema()
PLAIN, WITH_THE = 30, 25


def image(number: int, name: str) -> Row:
    body = {"$type": DATASET, "name": name, "schemaRef": PHOTO.uri, "tags": ["sea"]}
    columns: dict[str, Any] = {"name": name, "schema_uri": PHOTO.uri}
    return row(BOB, DATASET, f"3k{number:011}", json.dumps(body), **columns)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path_factory.mktemp("words"))
    plain = [image(n, f"image of a street {n}") for n in range(PLAIN)]
    others = [image(100 + n, f"the image of a street {n}") for n in range(WITH_THE)]
    small.put([PHOTO, *plain, *others])
    yield small
    small.close()


@pytest.mark.parametrize("q", ["-", "*", "(((", "\u0640", "\u0e31", '"\u0640"', "\u0640 \u0e31"])
def test_signs_alone_find_nothing(index: SmallIndex, q: str) -> None:
    page = index.reader.search(Search("dataset", q), facets=["tags"])
    assert (page.total, len(page.views)) == (0, 0)


@pytest.mark.parametrize("q", ["\u0640 street", "tag:sea \u0640", "-\u0640 street"])
def test_signs_beside_others_are_left_out(index: SmallIndex, q: str) -> None:
    assert index.reader.search(Search("dataset", q)).total == PLAIN + WITH_THE


@pytest.mark.parametrize(
    "q", ['the "image of a street"', "the image of a street", 'of "street"', "the of street"]
)
@pytest.mark.parametrize("sort", ["relevance", "newest"])
def test_small_words_are_not_asked_for_beside_others(index: SmallIndex, q: str, sort: Any) -> None:
    assert index.reader.search(Search("dataset", q), sort=sort).total == PLAIN + WITH_THE


def test_alone_they_are(index: SmallIndex) -> None:
    assert index.reader.search(Search("dataset", "the")).total == WITH_THE


@pytest.mark.parametrize("q", ["stret", "street zebra"])
def test_facets_are_those_of_the_hits(index: SmallIndex, q: str) -> None:
    """By date no word may be missing, and none is searched as another."""
    page = index.reader.search(Search("dataset", q), sort="newest", facets=["tags"])
    assert page.total == 0
    assert page.facets is not None
    assert page.facets[0].values == []
    assert page.did_you_mean == ("street" if q == "stret" else None)
    loose = index.reader.search(Search("dataset", q), facets=["tags"])
    assert loose.facets is not None
    assert [(one.value, one.count) for one in loose.facets[0].values] == [("sea", loose.total)]
