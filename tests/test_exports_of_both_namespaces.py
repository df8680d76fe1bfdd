"""Exports and Croissant of records of `science.alt.dataset` beside those of our own namespace."""

import json
from collections.abc import Iterator
from pathlib import Path

import mlcroissant
import pyarrow.parquet as pq
import pytest

from atdata_api.server import AppView
from atdata_indexer.exports import Export
from tests import alt_records, builders
from tests.alt_records import ALT, Publisher, entry, external, serving
from tests.asking import NS, Api

URLS = ["s3://newts/{000000..000009}.tar", "https://newts.example/more.tar"]


@pytest.fixture(scope="module")
def ada() -> Publisher:
    ada = Publisher("ada")
    own = ada.put(builders.schema(name="Captioned"))
    odd = {name: {"type": "string"} for name in ("a b", "a_b", "..", "", "é", "'\"]")}
    inner = {"$type": f"{ALT}.schema#jsonSchemaFormat", "properties": odd, "required": []}
    alt = ada.put(alt_records.schema("Odd", schema=inner))
    ada.put(builders.dataset(name="Ours of theirs", schemaRef=alt))
    ada.put(entry(alt, name="Theirs over HTTP", tags=["Pond"]))
    ada.put(entry(own, name="Theirs by URL", storage=external(*URLS), license="MIT"))
    ada.put(alt_records.lens(alt, own))
    ada.put(builders.lens(sourceSchema=own, targetSchema=alt))
    ada.put(alt_records.label("newts", f"at://{ada.did}/{ALT}.entry/x"))
    return ada


@pytest.fixture(scope="module")
def view(ada: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppView]:
    with serving(tmp_path_factory.mktemp("both"), ada) as view:
        yield view


@pytest.fixture(scope="module")
def exported(view: AppView) -> Export:
    return view.indexer.export()


KINDS = {"datasets": ("dataset", "entry"), "schemas": ("schema",) * 2, "lenses": ("lens",) * 2}


@pytest.mark.parametrize("name", KINDS)
def test_the_files_hold_the_records_of_both(
    view: AppView, exported: Export, ada: Publisher, name: str, tmp_path: Path
) -> None:
    own, alt = KINDS[name]
    wanted = {
        uri: one
        for uri, one in ada.records.items()
        if one["$type"] in {f"{NS}.{own}", f"{ALT}.{alt}"}
    }
    assert len({one["$type"] for one in wanted.values()}) == 2
    with Api(view.url) as api:
        (tmp_path / "file").write_bytes(api.get(f"/export/{name}.parquet").content)
    rows = pq.read_table(tmp_path / "file").to_pylist()
    assert {row["uri"]: json.loads(row["record"]) for row in rows} == wanted
    for row in rows:
        said = wanted[row["uri"]]
        assert row["name"] == said["name"]
        assert row["uri"].split("/")[3] == said["$type"]
        assert row["created_at"] is not None, "its columns are filled"
        if name == "schemas" and row["name"] == "Odd":
            assert set(row["fields"]) == set(said["schema"]["properties"])
        if row["name"] == "Theirs by URL":
            assert (row["urls"], row["license"], row["schema_name"]) == (URLS, "MIT", "Captioned")
        if row["name"] == "Theirs over HTTP":
            assert row["urls"] == ["https://data.example/0.tar"]
            assert (row["tags"], row["schema_name"]) == (["Pond"], "Odd")


def test_every_dataset_of_both_is_croissant(view: AppView, ada: Publisher) -> None:
    datasets = {**ada.of("entry")} | {
        uri: one for uri, one in ada.records.items() if one["$type"] == f"{NS}.dataset"
    }
    assert len(datasets) == 3
    with Api(view.url) as api:
        for uri, record in datasets.items():
            page = f"/at/{uri.removeprefix('at://')}"
            answer = api.get(page, params={"format": "croissant"})
            assert answer.status_code == 200
            read = mlcroissant.Dataset(jsonld=answer.json())
            assert not read.metadata.ctx.issues.errors
            assert read.metadata.name == record["name"]
            [records] = read.metadata.record_sets
            schema = ada.records[record["schemaRef"]]
            if schema["$type"] == f"{ALT}.schema":
                names = list(schema["schema"]["properties"])
            else:
                names = [field["name"] for field in schema["fields"]]
            assert sorted(field.name for field in records.fields) == sorted(names)
            assert len({field.id for field in records.fields}) == len(names)
