"""The index client asks a real index, and its typed answers say what plain HTTP says."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from atdata_api.server import AppView
from atdata_client import IndexClient, InvalidRequest, NotFound
from atdata_client._index.views import as_json
from tests.asking import NS, Api


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


@pytest.fixture(scope="module")
def index(recorded_appview: AppView) -> Iterator[IndexClient]:
    with IndexClient(recorded_appview.url) as index:
        yield index


def test_filters_facets_and_highlights_come_typed(api: Api, index: IndexClient) -> None:
    pages = index.search_datasets(
        "recordings",
        tags=["audio", "speech"],
        match="any",
        field=[":ndarray:float32"],
        created_after=datetime(2025, 1, 1, tzinfo=UTC),
        samples_min=1,
        sort="relevance",
        facets=["tags", "author"],
        facet_size=3,
        highlight=True,
    )
    views = list(pages)
    plain = api.walk(
        "searchDatasets",
        q="recordings",
        tags=["audio", "speech"],
        tagMatch="any",
        field=":ndarray:float32",
        createdAfter="2025-01-01T00:00:00Z",
        samplesMin=1,
        highlight="true",
    )
    assert [view.uri for view in views] == [view["uri"] for view in plain]
    assert pages.total == len(views) > 3
    assert not pages.total_is_bound
    assert [facet.facet for facet in pages.facets] == ["tags", "author"]
    assert all(len(facet.values) <= 3 for facet in pages.facets)
    for view, other in zip(views, plain, strict=True):
        assert view.highlights is not None
        assert as_json(view.highlights) == other["highlights"]


def test_what_can_be_viewed_as_a_schema_says_through_which_lenses(index: IndexClient) -> None:
    target = next(index.list_lenses()).target.uri
    views = list(index.search_datasets(viewable_as=target))
    assert views
    for view in views:
        found = index.find_lens_paths(view.schema.uri, target)
        assert view.lens_path in {tuple(lens.uri for lens in path.lenses) for path in found.paths}


def test_links_and_likes_come_typed(api: Api, index: IndexClient) -> None:
    schema = next(index.search_datasets(sort="name")).schema.uri
    usage = index.schema_usage(schema)
    assert usage.schema.uri == schema
    links = index.backlinks(schema, source=f"{NS}.dataset:schemaRef")
    assert len(list(links)) == links.total == usage.datasets
    dataset = next(index.search_datasets(schema=schema))
    assert [view.uri for view in index.similar_datasets(dataset.uri, limit=3)] == [
        view["uri"] for view in api.ask("getSimilarDatasets", uri=dataset.uri, limit=3)["datasets"]
    ]
    assert next(index.search_lenses(source_schema=None, sort="oldest")).record["name"]
    assert all(one.tag.startswith("s") for one in index.list_tags("s", limit=5))
    assert index.suggest("spee", limit=3)


def test_refusals_name_the_parameter(index: IndexClient) -> None:
    with pytest.raises(InvalidRequest, match="field"):
        next(index.search_datasets(field=["a:b:c:d:e"]))
    with pytest.raises(InvalidRequest, match="samplesMin"):
        next(index.search_datasets(samples_min=5, samples_max=4))
    with pytest.raises(NotFound):
        index.schema_usage(
            "at://did:plc:abcdefghijklmnopqrstuvwx/app.bsky.atdata.schema/3lhzqk2mfd22s"
        )
