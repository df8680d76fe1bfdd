"""What the index client sends, and what it makes of the answers."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import Any

import pytest

from atdata_client import IndexClient, Results, UnexpectedResponse
from atdata_client._index.highlights import ByteSlice, Highlight
from atdata_client._index.links import Backlink, LensPaths, SchemaUsage
from atdata_client._index.pages import Facet, FacetValue
from atdata_client._index.requests import query_pairs
from atdata_client._index.service import Counts, ServiceDescription, Source
from atdata_client._index.views import (
    Author,
    DatasetView,
    LensView,
    RecordStatus,
    SchemaLink,
    SchemaView,
    as_json,
)
from atdata_schemas.lexicon import lexicons
from tests.canned_index import CID, DID, Canned, canned_index, dataset_view, page

SCHEMA_URI = f"at://{DID}/app.bsky.atdata.schema/3bbbbbbbbbbbb"


def schema_view() -> dict[str, Any]:
    view = dataset_view()
    del view["schema"]
    record = {"$type": "app.bsky.atdata.schema", "name": "XRay", "version": "1.2.0", "fields": []}
    return view | {"uri": SCHEMA_URI, "record": record}


def lens_view() -> dict[str, Any]:
    view = dataset_view()
    link = view.pop("schema")
    missing = {"uri": SCHEMA_URI, "status": "missing"}
    record = {"$type": "app.bsky.atdata.lens", "name": "To grey"}
    uri = f"at://{DID}/app.bsky.atdata.lens/3cccccccccccc"
    return view | {"uri": uri, "record": record, "source": link, "target": missing}


def status() -> dict[str, Any]:
    return {
        "uri": SCHEMA_URI,
        "status": "quarantined",
        "cid": CID,
        "rule": "maxLength",
        "path": "fields[2].type.dtype",
        "reason": "longer than 20",
    }


def description() -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "collections": ["app.bsky.atdata.dataset"],
        "counts": {"datasets": 1, "schemas": 2, "lenses": 3, "accounts": 4, "quarantined": 5},
        "sources": [{"name": "relay", "connected": True, "cursor": 7, "lagMs": 12}],
        "index": {"seq": 9, "pending": 1},
    }


def paths() -> dict[str, Any]:
    return {"paths": [{"lenses": []}, {"lenses": [lens_view()]}], "cut": True}


def usage() -> dict[str, Any]:
    return {
        "schema": {"uri": SCHEMA_URI, "status": "missing"},
        "datasets": 3,
        "lensesFrom": 2,
        "lensesTo": 1,
        "newerVersions": [schema_view()],
        "identical": [],
    }


def backlink() -> dict[str, Any]:
    head = {name: value for name, value in lens_view().items() if name in ("uri", "cid", "author")}
    sources = ["app.bsky.atdata.lens:sourceSchema"]
    return head | {"sources": sources, "indexedAt": "2026-02-01T00:00:00.000000Z"}


def test_the_canned_answers_of_these_tests_are_ones_an_index_may_give() -> None:
    check = lexicons().check_output
    view = dataset_view()
    found = {"hitsTotal": 1, "hitsTotalIsBound": False, "datasets": [view]}
    check("app.bsky.atdata.searchDatasets", found)
    check("app.bsky.atdata.findLensPaths", paths())
    check("app.bsky.atdata.getSchemaUsage", usage())
    check("app.bsky.atdata.getBacklinks", {"backlinks": [backlink()], "total": 1})
    check("app.bsky.atdata.getSchema", {"schema": schema_view()})
    check("app.bsky.atdata.getLens", {"lens": lens_view()})
    check("app.bsky.atdata.getRecordStatus", status())
    check("app.bsky.atdata.describeService", description())


def test_parameters_that_are_none_or_empty_are_left_out() -> None:
    assert query_pairs({"q": None, "tags": (), "limit": 5, "schema": ""}) == [
        ("limit", "5"),
        ("schema", ""),
    ]


def test_one_tag_may_be_given_as_a_string() -> None:
    assert query_pairs({"tags": "image"}) == [("tags", "image")]


def test_moments_are_told_in_utc_and_must_have_a_time_zone() -> None:
    moment = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1)))
    assert query_pairs({"createdAfter": moment}) == [("createdAfter", "2026-01-02T02:00:00Z")]
    with pytest.raises(ValueError, match="createdAfter has no time zone"):
        query_pairs({"createdAfter": datetime(2026, 1, 2)})  # noqa: DTZ001 - none is the point


def test_truth_is_told_in_the_letters_of_lexicons() -> None:
    assert query_pairs({"highlight": True, "x": False}) == [("highlight", "true"), ("x", "false")]


def test_another_namespace_is_asked_where_one_is_set() -> None:
    with (
        canned_index(Canned({"tags": []})) as canned,
        IndexClient(canned.url, namespace="org.example.data") as index,
    ):
        assert index.list_tags() == ()
    assert canned.asked[0].path == "/xrpc/org.example.data.listTags"


def test_the_address_is_the_argument_then_the_environment_then_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ATDATA_APPVIEW_URL", raising=False)
    assert IndexClient().url == "http://127.0.0.1:8900"
    monkeypatch.setenv("ATDATA_APPVIEW_URL", "https://index.example.com/")
    assert IndexClient().url == "https://index.example.com"
    assert IndexClient("https://other.example.com").url == "https://other.example.com"


def test_a_dataset_is_a_typed_value() -> None:
    assert DatasetView.from_json(dataset_view()) == DatasetView(
        uri=f"at://{DID}/app.bsky.atdata.dataset/3aaaaaaaaaaaa",
        cid=CID,
        author=Author(DID, "alice.example.com"),
        record=dataset_view()["record"],
        schema=SchemaLink(SCHEMA_URI, "indexed", CID, "XRay", "1.2.0"),
        indexed_at=datetime(2026, 2, 1, tzinfo=UTC),
    )
    view = DatasetView.from_json(dataset_view(description="", license="MIT"))
    assert (view.name, view.description, view.license) == ("Chest x-rays", None, "MIT")
    assert view.tags == ("medical", "image")
    assert view.urls == ("https://data.example.com/x-{000000..000004}.tar",)


def test_the_other_answers_are_typed_values() -> None:
    assert LensView.from_json(lens_view()).target == SchemaLink(SCHEMA_URI, "missing")
    assert RecordStatus.from_json(status()).path == "fields[2].type.dtype"
    hidden = {"uri": SCHEMA_URI, "status": "hidden", "accountStatus": "takendown"}
    assert RecordStatus.from_json(hidden).account_status == "takendown"
    assert ServiceDescription.from_json(description()) == ServiceDescription(
        version="0.1.0",
        collections=("app.bsky.atdata.dataset",),
        counts=Counts(datasets=1, schemas=2, lenses=3, accounts=4, quarantined=5),
        sources=(Source("relay", connected=True, cursor=7, lag_ms=12),),
        seq=9,
        pending=1,
    )


def test_what_a_search_adds_to_a_dataset_is_typed_too() -> None:
    view = DatasetView.from_json(dataset_view())
    assert (view.lens_path, view.highlights) == (None, None)
    view = DatasetView.from_json(dataset_view() | ADDED)
    assert view.lens_path == (SCHEMA_URI,)
    assert view.highlights == (
        Highlight("name", "Brust-Röntgen, Röntgen", (ByteSlice(6, 14), ByteSlice(16, 24))),
    )
    assert view.highlights[0].parts == (
        ("Brust-", False),
        ("Röntgen", True),
        (", ", False),
        ("Röntgen", True),
    )
    hostile = Highlight("name", "ö", (ByteSlice(1, 99), ByteSlice(-5, 0)))
    assert "".join(text for text, _ in hostile.parts).count("\ufffd") > 0


ADDED = {
    "lensPath": [SCHEMA_URI],
    "highlights": [
        {
            "field": "name",
            "text": "Brust-Röntgen, Röntgen",
            "slices": [{"byteStart": 6, "byteEnd": 14}, {"byteStart": 16, "byteEnd": 24}],
        }
    ],
}


def test_what_hangs_together_is_told_as_typed_values() -> None:
    found = LensPaths.from_json(paths())
    assert found.cut
    assert [len(path.lenses) for path in found.paths] == [0, 1]
    assert found.paths[1].lenses == (LensView.from_json(lens_view()),)
    assert SchemaUsage.from_json(usage()) == SchemaUsage(
        schema=SchemaLink(SCHEMA_URI, "missing"),
        datasets=3,
        lenses_from=2,
        lenses_to=1,
        newer_versions=(SchemaView.from_json(schema_view()),),
        identical=(),
    )
    [link] = [Backlink.from_json(backlink())]
    assert link.sources == ("app.bsky.atdata.lens:sourceSchema",)
    assert (link.uri, link.author.handle) == (lens_view()["uri"], "alice.example.com")


def test_views_go_back_to_json_as_they_came() -> None:
    for parse, value in (
        (DatasetView.from_json, dataset_view()),
        (DatasetView.from_json, dataset_view() | ADDED),
        (LensPaths.from_json, {"paths": [{"lenses": []}], "cut": False}),
        (SchemaView.from_json, schema_view()),
        (LensView.from_json, lens_view()),
        (RecordStatus.from_json, status()),
    ):
        again = as_json(parse(value))
        if "indexedAt" in value:
            again["indexedAt"] = value["indexedAt"]  # the same moment, fewer zeros
        assert again == value


def test_nothing_is_asked_before_the_first_result_is() -> None:
    with canned_index(page(dataset_view())) as canned, IndexClient(canned.url) as index:
        pages = index.search_datasets()
        assert (pages.total, canned.asked) == (None, [])
        assert next(pages).name == "Chest x-rays"
        assert pages.total == 1


def test_pages_are_followed_to_the_end() -> None:
    views = [dataset_view(name=str(number)) for number in range(5)]
    with (
        canned_index(
            page(*views[:2], total=5, cursor="a"),
            page(total=5, cursor="b"),  # an empty page is not the last
            page(*views[2:], total=5),
        ) as canned,
        IndexClient(canned.url) as index,
    ):
        pages = index.search_datasets("x")
        assert [view.name for view in pages] == ["0", "1", "2", "3", "4"]
        assert pages.total == 5
        assert list(pages) == []
    asked = [dict(request.params) for request in canned.asked]
    assert [one.get("cursor") for one in asked] == [None, "a", "b"]
    assert {one["limit"] for one in asked} == {"100"}


def test_the_first_page_tells_what_there_is_besides_its_results() -> None:
    facet = {"facet": "tags", "values": [{"value": "sea", "count": 7}], "estimated": True}
    told = {"facets": [facet], "didYouMean": "whale", "hitsTotalIsBound": True}
    with (
        canned_index(
            page(dataset_view(), total=10_000, cursor="a", viewableAsCut=True, **told),
            page(dataset_view(), total=3, approximate=True),
        ) as canned,
        IndexClient(canned.url) as index,
    ):
        pages = index.search_datasets("wale", facets=["tags", "author"], facet_size=7)
        assert (pages.facets, pages.did_you_mean, pages.total_is_bound) == ((), None, False)
        next(pages)
        assert not pages.approximate
        next(pages)
    assert (pages.total, pages.total_is_bound, pages.did_you_mean) == (10_000, True, "whale")
    assert pages.facets == (
        Facet("tags", Results([FacetValue("sea", 7)], FacetValue), estimated=True),
    )
    assert pages.viewable_as_cut
    assert pages.approximate
    first, second = (request.params for request in canned.asked)
    assert [pair for pair in first if pair[0].startswith("facet")] == [
        ("facets", "tags"),
        ("facets", "author"),
        ("facetSize", "7"),
    ]
    assert not any(name.startswith("facet") for name, _ in second), "once is enough"


def test_only_the_pages_needed_are_asked_for() -> None:
    views = [dataset_view(name=str(number)) for number in range(100)]
    with (
        canned_index(page(*views, cursor="a"), page(*views[:50], cursor="b")) as canned,
        IndexClient(canned.url) as index,
    ):
        assert len(list(islice(index.search_datasets(), 100))) == 100
        assert len(canned.asked) == 1
    with (
        canned_index(page(*views, cursor="a"), page(*views, cursor="b")) as canned,
        IndexClient(canned.url) as index,
    ):
        assert len(list(index.search_datasets(limit=150))) == 150
        assert [dict(request.params)["limit"] for request in canned.asked] == ["100", "50"]


def test_a_limit_of_none_is_all_and_of_zero_asks_nothing() -> None:
    with canned_index(page(dataset_view())) as canned, IndexClient(canned.url) as index:
        assert list(index.search_datasets(limit=0)) == []
        assert canned.asked == []
        assert len(list(index.search_datasets(limit=None))) == 1
        with pytest.raises(ValueError, match="negative"):
            index.search_datasets(limit=-1)


def test_a_cursor_that_comes_again_ends_the_pages() -> None:
    with (
        canned_index(page(dataset_view(), cursor="same")) as canned,
        IndexClient(canned.url) as index,
    ):
        assert len(list(index.search_datasets())) == 2


def test_many_uris_are_asked_for_in_batches() -> None:
    uris = [f"{SCHEMA_URI}{number}" for number in range(30)]
    with (
        canned_index(Canned({"datasets": [dataset_view()]})) as canned,
        IndexClient(canned.url) as index,
    ):
        assert len(index.get_datasets(uris)) == 2
        assert index.get_datasets([]) == ()
    assert [len(request.params) for request in canned.asked] == [25, 5]


@pytest.mark.parametrize(
    "answer",
    [{}, {"dataset": None}, {"dataset": {}}, {"dataset": dataset_view() | {"record": []}}],
)
def test_an_answer_of_another_shape_is_unexpected(answer: dict[str, Any]) -> None:
    with (
        canned_index(Canned(answer)) as canned,
        IndexClient(canned.url) as index,
        pytest.raises(UnexpectedResponse, match="not the answer of getDataset"),
    ):
        index.get_dataset(SCHEMA_URI)


@pytest.mark.parametrize(
    "more", [{"facets": [{}]}, {"facets": ["tags"]}, {"facets": 1}, {"facets": {"values": []}}]
)
def test_facets_of_another_shape_are_unexpected(more: dict[str, Any]) -> None:
    with (
        canned_index(page(dataset_view(), **more)) as canned,
        IndexClient(canned.url) as index,
        pytest.raises(UnexpectedResponse, match="not the answer of searchDatasets"),
    ):
        next(index.search_datasets(facets=["tags"]))
