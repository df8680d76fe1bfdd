"""A search for one kind of record finds no other, whatever is typed and however it is sorted."""

import json
from collections.abc import Iterator
from typing import get_args

import pytest

from atdata_indexer.index.query import Search
from atdata_indexer.index.searching import Sort
from tests.small_index import LENS, SmallIndex, dataset, row, schema

WHALE = schema(name="Whale")
BODY = {"$type": LENS, "name": "whales", "sourceSchema": WHALE.uri, "targetSchema": WHALE.uri}
ROWS = {
    "dataset": dataset(WHALE.uri),
    "schema": WHALE,
    "lens": row(
        WHALE.did,
        LENS,
        "3klensaaaaaaa",
        json.dumps(BODY),
        name="whales",
        schema_uri=WHALE.uri,
        target_uri=WHALE.uri,
    ),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path_factory.mktemp("kinds"))
    small.put(ROWS.values())
    yield small
    small.close()


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("sort", get_args(Sort.__value__))
@pytest.mark.parametrize("q", ["whal*", "whal* whale", "whal* tide", "whale", "whael", '"whale"'])
def test_only_records_of_the_kind_are_found(
    index: SmallIndex, kind: str, sort: Sort, q: str
) -> None:
    page = index.reader.search(Search(kind, q), sort=sort)
    strict = sort != "relevance" and q in ("whal* tide", "whael")
    expected = [] if strict else [ROWS[kind].uri]
    assert [json.loads(view)["uri"] for view in page.views] == expected
    assert page.total == len(expected)


@pytest.mark.parametrize("q", ["-whal*", "-whale"])
def test_what_is_excluded_may_be_the_beginning_of_a_word(index: SmallIndex, q: str) -> None:
    assert index.reader.search(Search("dataset", q)).total == 0
    assert index.reader.search(Search("dataset", "-tide*")).total == 1
