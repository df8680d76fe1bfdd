"""`DatasetLoader.search_datasets` is one query to the index: any of the tags, all of the words.

What the index finds is tested with the index; here, what it is asked and how its answer is given.
"""

from typing import Any

import pytest

from atdata_client import DatasetLoader, IndexClient, LensLoader
from tests.canned_index import CID, DID, Asked, canned_index, dataset_view, page

OLD = dataset_view("3aaaaaaaaaaaa", name="old")
NEW = dataset_view("3bbbbbbbbbbbb", name="new")


def asked_for(request: Asked, name: str) -> list[str]:
    return [text for key, text in request.params if key == name]


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


def test_any_of_several_tags_is_one_query() -> None:
    with canned_index(page(NEW, OLD)) as canned, IndexClient(canned.url) as index:
        found = DatasetLoader(index=index).search_datasets(["a", "b"], "x", limit=2)
    assert [record["name"] for record in found] == ["new", "old"]
    [request] = canned.asked
    assert asked_for(request, "tags") == ["a", "b"]
    assert dict(request.params) == {"q": "x", "tags": "b", "tagMatch": "any", "limit": "2"}


def test_all_of_the_tags_is_one_query() -> None:
    with canned_index(page(NEW)) as canned, IndexClient(canned.url) as index:
        DatasetLoader(index=index).search_datasets(tags=["a", "b"], match="all")
    [request] = canned.asked
    assert asked_for(request, "tags") == ["a", "b"]
    assert asked_for(request, "tagMatch") == []


def test_without_tags_or_words_everything_is_found() -> None:
    with canned_index(page(NEW, OLD)) as canned, IndexClient(canned.url) as index:
        assert len(DatasetLoader(index=index).search_datasets()) == 2
        assert len(DatasetLoader(index=index).search_datasets(tags=[])) == 2
    assert [dict(request.params) for request in canned.asked] == 2 * [{"limit": "100"}]


def test_the_filters_of_the_index_are_passed_on() -> None:
    schema = f"at://{DID}/app.bsky.atdata.schema/3bbbbbbbbbbbb"
    path = {"lensPath": ["at://x/y/z"]}
    with canned_index(page(NEW | path)) as canned, IndexClient(canned.url) as index:
        [found] = DatasetLoader(index=index).search_datasets(
            viewable_as=schema, field=["image:ndarray"], samples_min=10
        )
    assert found["lensPath"] == ["at://x/y/z"]
    expected = {"viewableAs": schema, "field": "image:ndarray", "samplesMin": "10", "limit": "100"}
    assert dict(canned.asked[0].params) == expected


def test_results_stream_page_by_page() -> None:
    first, second = page(NEW, cursor="next"), page(OLD)
    with canned_index(first, second) as canned, IndexClient(canned.url) as index:
        found = DatasetLoader(index=index).iter_datasets(query="x")
        assert canned.asked == []
        assert next(found)["name"] == "new"
        assert len(canned.asked) == 1
        assert [record["name"] for record in found] == ["old"]
        assert len(canned.asked) == 2


def test_another_way_to_match_is_refused() -> None:
    match: Any = "some"
    with pytest.raises(ValueError, match="'any' or 'all', not 'some'"):
        DatasetLoader().search_datasets(tags=["a"], match=match)


def test_no_words_are_no_words_and_the_order_can_be_told() -> None:
    with canned_index(page(NEW)) as canned, IndexClient(canned.url) as index:
        DatasetLoader(index=index).search_datasets(["a"], "", sort="oldest")
    [request] = canned.asked
    assert dict(request.params) == {"tags": "a", "sort": "oldest", "limit": "100"}


@pytest.mark.parametrize("kind", [DatasetLoader, LensLoader])
def test_a_loader_closes_the_index_client_that_is_its_own_and_no_other(
    kind: type[DatasetLoader | LensLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[IndexClient] = []
    close = IndexClient.close

    def closing(index: IndexClient) -> None:
        closed.append(index)
        close(index)

    monkeypatch.setattr(IndexClient, "close", closing)
    with kind() as loader:
        pass
    assert closed == [loader.index]
    given = IndexClient()
    with kind(index=given):
        pass
    assert closed == [loader.index]
