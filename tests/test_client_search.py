"""`DatasetLoader.search_datasets` asks the index, any of the tags as the design document says."""

from typing import Any

import pytest

from atdata_client import DatasetLoader, IndexClient
from tests.canned_index import CID, DID, canned_index, dataset_view, page


def view(name: str, created: str, rkey: str) -> dict[str, Any]:
    return dataset_view(rkey, name=name, createdAt=created)


OLD = view("old", "2026-01-01T00:00:00Z", "3aaaaaaaaaaaa")
NEW = view("new", "2026-01-03T00:00:00Z", "3bbbbbbbbbbbb")
BOTH = view("both", "2026-01-02T00:00:00Z", "3cccccccccccc")
FROM_THE_FUTURE = view("future", "2099-01-01T00:00:00Z", "3dddddddddddd") | {
    "indexedAt": "2026-01-02T12:00:00Z"
}


def test_a_result_is_the_record_with_where_it_is_and_whose() -> None:
    with canned_index(page(OLD)) as canned, IndexClient(canned.url) as index:
        [found] = DatasetLoader(index=index).search_datasets(query="old")
    assert found == {
        **OLD["record"],
        "uri": OLD["uri"],
        "cid": CID,
        "author": {"did": DID, "handle": "alice.example.com"},
        "schema": OLD["schema"],
    }
    assert dict(canned.asked[0].params) == {"q": "old", "limit": "100"}


def test_any_of_several_tags_matches_each_dataset_once_newest_first() -> None:
    with (
        canned_index(page(BOTH, OLD), page(NEW, FROM_THE_FUTURE, BOTH)) as canned,
        IndexClient(canned.url) as index,
    ):
        found = DatasetLoader(index=index).search_datasets(tags=["a", "b"], query="x")
    assert [record["name"] for record in found] == ["new", "future", "both", "old"]
    asked = [dict(request.params) for request in canned.asked]
    assert [(one["q"], one["tags"], one["sort"]) for one in asked] == [
        ("x", "a", "newest"),
        ("x", "b", "newest"),
    ]


def test_a_limit_bounds_the_merged_results() -> None:
    with (
        canned_index(page(BOTH, OLD), page(NEW, BOTH)) as canned,
        IndexClient(canned.url) as index,
    ):
        found = DatasetLoader(index=index).search_datasets(tags=["a", "b"], limit=2)
    assert [record["name"] for record in found] == ["new", "both"]
    assert {dict(request.params)["limit"] for request in canned.asked} == {"2"}


def test_all_of_the_tags_is_one_query() -> None:
    with canned_index(page(BOTH)) as canned, IndexClient(canned.url) as index:
        found = DatasetLoader(index=index).search_datasets(tags=["a", "b"], match="all")
    assert [record["name"] for record in found] == ["both"]
    assert [text for name, text in canned.asked[0].params if name == "tags"] == ["a", "b"]
    assert len(canned.asked) == 1


def test_without_tags_or_words_everything_is_found() -> None:
    with canned_index(page(NEW, OLD)) as canned, IndexClient(canned.url) as index:
        assert len(DatasetLoader(index=index).search_datasets()) == 2
        assert len(DatasetLoader(index=index).search_datasets(tags=[])) == 2
    assert dict(canned.asked[0].params) == {"limit": "100"}


def test_another_way_to_match_is_refused() -> None:
    match: Any = "some"
    with pytest.raises(ValueError, match="'any' or 'all', not 'some'"):
        DatasetLoader().search_datasets(tags=["a"], match=match)
