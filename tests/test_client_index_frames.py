"""What the index answers is a table for pandas and Arrow, and for the eyes in a notebook."""

import pickle
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from atdata_api.server import AppView
from atdata_client import DatasetView, IndexClient, Results
from atdata_client._index.frames import SHOWN_ROWS, Row
from atdata_client._index.links import Backlink, LensPath
from atdata_client._index.pages import FacetValue
from tests.canned_index import Canned, canned_index, dataset_view, page

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e<img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def index(recorded_appview: AppView) -> Iterator[IndexClient]:
    with IndexClient(recorded_appview.url) as index:
        yield index


def answers(index: IndexClient) -> dict[str, Any]:
    """Something of every kind that the index answers with."""
    dataset = next(index.list_datasets())
    lens = next(index.list_lenses())
    search = index.search_datasets(facets=["tags"], limit=2)
    next(search)
    return {
        "dataset": dataset,
        "datasets": index.get_datasets([dataset.uri]),
        "pages": index.search_datasets("recordings", limit=7),
        "schemas": index.list_schemas(limit=3),
        "schema": next(index.list_schemas()),
        "lens": lens,
        "lenses": index.search_lenses(limit=3),
        "tags": index.list_tags(limit=3),
        "suggestions": index.suggest("spee"),
        "similar": index.similar_datasets(dataset.uri, limit=2),
        "paths": index.find_lens_paths(lens.source.uri, lens.target.uri),
        "path": index.find_lens_paths(lens.source.uri, lens.target.uri).paths[0],
        "usage": index.schema_usage(lens.source.uri),
        "backlinks": index.backlinks(lens.source.uri, limit=3),
        "status": index.record_status(dataset.uri),
        "service": index.describe(),
        "facet": search.facets[0],
    }


class Words(HTMLParser):
    """The text of a page, and the tags it has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def test_everything_the_index_answers_is_a_table(index: IndexClient) -> None:
    arrow = {name: one.to_arrow() for name, one in answers(index).items()}
    pandas = {name: one.to_pandas() for name, one in answers(index).items()}
    assert arrow.keys() == pandas.keys()
    for name, table in arrow.items():
        assert isinstance(table, pa.Table)
        assert isinstance(pandas[name], pd.DataFrame)
        assert list(pandas[name].columns) == table.column_names
        assert len(pandas[name]) == table.num_rows > 0, name
    assert pandas["pages"]["uri"].is_unique


def test_everything_the_index_answers_shows_in_a_notebook(index: IndexClient) -> None:
    for name, one in answers(index).items():
        shown = Words(one._repr_html_())
        assert {"table", "tr", "td"} <= shown.tags, name
        assert shown.tags <= {"table", "thead", "tbody", "tr", "th", "td", "p"}, name


def test_a_cell_has_the_type_of_what_it_says() -> None:
    view = DatasetView.from_json(
        dataset_view(size={"samples": 12, "bytes": 5}, createdAt="not a moment")
    )
    table = view.to_arrow()
    [row] = table.to_pylist()
    assert row["samples"] == 12
    assert row["tags"] == ["medical", "image"]
    assert row["author_handle"] == "alice.example.com"
    assert row["schema_name"] == "XRay"
    assert row["indexed_at"] == datetime(2026, 2, 1, tzinfo=UTC)
    assert row["created_at"] is None
    assert row["license"] is None
    assert table.schema.field("created_at").type == pa.timestamp("us", "UTC")
    frame = view.to_pandas()
    assert str(frame["samples"].dtype) == "Int64"
    assert str(frame["indexed_at"].dtype) == "datetime64[us, UTC]"
    assert frame["tags"][0] == ["medical", "image"]
    assert frame["license"].isna().all()


@pytest.mark.parametrize("item", [DatasetView, Backlink, LensPath, FacetValue])
def test_a_table_without_rows_has_the_same_columns_and_types(item: type[Row]) -> None:
    nothing = Results([], item)
    assert nothing.to_arrow().num_rows == len(nothing.to_pandas()) == 0
    assert nothing.to_arrow().column_names == list(nothing.to_pandas().columns)
    if item is DatasetView:
        one = DatasetView.from_json(dataset_view(size={"samples": 1}))
        assert nothing.to_arrow().schema == one.to_arrow().schema
        assert list(nothing.to_pandas().dtypes) == list(one.to_pandas().dtypes)


def test_results_are_a_tuple_that_cannot_change() -> None:
    view = DatasetView.from_json(dataset_view())
    results = Results([view, view], DatasetView)
    assert results == (view, view)
    assert pickle.loads(pickle.dumps(results)) == results  # noqa: S301 - made here
    assert pickle.loads(pickle.dumps(results)).item is DatasetView  # noqa: S301 - made here
    with pytest.raises(AttributeError):
        view.uri = "at://other"  # type: ignore[misc]  # that it cannot is the point


def test_a_notebook_shows_what_comes_next_and_takes_nothing() -> None:
    views = [dataset_view(name=f"set {number}") for number in range(30)]
    with (
        canned_index(page(*views, total=10_000, hitsTotalIsBound=True)) as canned,
        IndexClient(canned.url) as index,
    ):
        pages = index.search_datasets()
        shown = Words(pages._repr_html_()).said
        assert pages._repr_html_()
        assert len(canned.asked) == 1
        assert next(pages).name == "set 0"
        assert Words(pages._repr_html_()).said.count("set 1") == 1
        assert len(list(pages)) == 29
        assert "10000+ in all" in shown
        assert f"set {SHOWN_ROWS - 1}" in shown
        assert f"set {SHOWN_ROWS}" not in shown
        assert Words(index.search_datasets(limit=0)._repr_html_()).said == ["nothing asked yet"]


def test_other_peoples_words_are_shown_as_text() -> None:
    view = DatasetView.from_json(dataset_view(name=HOSTILE, tags=[HOSTILE], license=HOSTILE))
    for html in (view._repr_html_(), Results([view], DatasetView)._repr_html_()):
        shown = Words(html)
        assert not shown.tags & {"script", "img"}
        assert any("<script>alert(1)</script>" in said for said in shown.said)
        assert not {"\x1b", "\u202e"} & set(html)
    long = DatasetView.from_json(dataset_view(description="x" * 5000))._repr_html_()
    assert "x" * 200 not in long
    assert "…" in long


@pytest.mark.parametrize(("method", "module"), [("to_pandas", "pandas"), ("to_arrow", "pyarrow")])
def test_what_is_not_installed_is_named_with_the_extra_that_brings_it(
    method: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    view = DatasetView.from_json(dataset_view())
    with pytest.raises(ModuleNotFoundError, match=rf"{method} needs {module}.*\[frames\]"):
        getattr(view, method)()


def test_a_record_that_is_oddly_made_has_a_row_all_the_same() -> None:
    odd = dataset_view() | {"record": {"size": [], "createdAt": 5, "tags": None}}
    schema = {name: value for name, value in odd.items() if name != "schema"}
    schema["record"] = {"fields": [None, {}, {"name": 5}], "createdAt": "2026-01-02T03:04:05Z"}
    with (
        canned_index(Canned({"dataset": odd}), Canned({"schema": schema})) as canned,
        IndexClient(canned.url) as index,
    ):
        assert index.get_dataset(odd["uri"]).to_arrow().to_pylist()[0]["samples"] is None
        [row] = index.get_schema(odd["uri"]).to_arrow().to_pylist()
    assert row["field_names"] == ["5"]
    assert row["created_at"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
