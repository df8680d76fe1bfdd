"""Every dataset as Croissant JSON-LD, which what reads Croissant accepts."""

import json
from typing import Any

import mlcroissant
import pytest

from atdata_api.croissant import MOST_SHARDS, _ids, croissant, license_url
from atdata_api.server import AppView
from atdata_schemas.records import Dataset, Schema, parse_record
from tests import alt_records
from tests.asking import Api
from tests.builders import dataset, schema

WANTED = 100
VIEW = {
    "uri": "at://did:plc:frogs/app.bsky.atdata.dataset/3kaaaaaaaaaa2",
    "cid": "bafyreib",
    "author": {"did": "did:plc:frogs", "handle": "frogs.example"},
    "indexedAt": "2026-01-02T03:04:05Z",
}


def accepted(document: Any) -> mlcroissant.Dataset:
    """What mlcroissant reads of a document; it raises what is wrong with it."""
    read = mlcroissant.Dataset(jsonld=document)
    issues = read.metadata.ctx.issues
    assert not issues.errors, issues.report()
    # What is only recommended is what the record does not say.
    assert all("is recommended" in warning for warning in issues.warnings), issues.report()
    return read


def made(dataset_record: Any, schema_record: Any = None) -> Any:
    described = parse_record(dataset_record["$type"], "3kaaaaaaaaaa2", dataset_record)
    assert isinstance(described, Dataset)
    typed = schema_record and parse_record(schema_record["$type"], "3kaaaaaaaaaa2", schema_record)
    assert typed is None or isinstance(typed, Schema)
    return croissant(VIEW, described, typed, "https://index.example/at/frogs")


def test_mlcroissant_accepts_a_hundred_of_the_index(recorded_appview: AppView) -> None:
    with Api(recorded_appview.url) as api:
        views = api.walk("listDatasets")[:WANTED]
        for view in views:
            page = f"/at/{view['uri'].removeprefix('at://')}"
            answer = api.get(page, params={"format": "croissant"})
            assert answer.headers["content-type"] == "application/ld+json"
            document = answer.json()
            metadata = accepted(document).metadata
            assert metadata.name == view["record"]["name"]
            assert document["identifier"] == [view["uri"], view["cid"]]
            assert document["url"] == f"{recorded_appview.url}{page}"
    assert len(views) == WANTED


def test_the_fields_of_the_schema_are_its_record_set() -> None:
    document = made(dataset(), schema())
    [records] = accepted(document).metadata.record_sets
    fields = {field.name: field for field in records.fields}
    assert list(fields) == [field["name"] for field in schema()["fields"]]
    for field in schema()["fields"]:
        found = fields[field["name"]]
        assert bool(found.is_array) is (field["type"]["kind"] == "ndarray")
        if shape := field["type"].get("shape"):
            assert found.array_shape_tuple == tuple(-1 if one is None else one for one in shape)


def test_a_url_in_braces_is_named_shard_by_shard_or_by_its_pattern() -> None:
    few = made(dataset(urls=["s3://x/a-{008..011}-{0..1}.tar"]))
    names = [one["contentUrl"] for one in few["distribution"] if "contentUrl" in one]
    assert names[:3] == ["s3://x/a-008-0.tar", "s3://x/a-008-1.tar", "s3://x/a-009-0.tar"]
    assert len(names) == 8
    for braces in ("{000000..999999999999}", "{0..9}{0..9}{0..9}", f"{{0..{MOST_SHARDS}}}"):
        many = made(dataset(urls=[f"s3://x/{braces}.tar"]))
        [shards, _] = many["distribution"]
        assert "*" in shards["includes"]
        accepted(many)
    accepted(few)


@pytest.mark.parametrize(
    ("license", "said"),
    [
        ("CC-BY-4.0", "https://spdx.org/licenses/CC-BY-4.0"),
        ("mit", "https://spdx.org/licenses/MIT"),
        ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("ask me", "ask me"),
    ],
)
def test_a_license_of_the_spdx_list_is_named_by_its_page(license: str, said: str) -> None:
    assert license_url(license) == said
    assert made(dataset(license=license))["license"] == said
    accepted(made(dataset(license=license)))


def test_little_is_enough() -> None:
    bare = dataset(description="", license="", tags=[])
    for name in ("metadata", "size"):
        del bare[name]
    accepted(made(bare))
    assert json.dumps(made(bare))


STR = {"kind": "primitive", "primitive": "str"}
ODD = ["a b", "a_b", "a/b", "a-2", "..", ".", "../samples", "", "e\u0301", "é", "a%20b", "a?b#c"]
ODD += [
    "http://x.example/y",
    "_:b0",
    "@id",
    "'q'",
    '"q"',
    "a\\b",
    "]",
    "\x00",
    "a\tb\nc",
    "x" * 3000,
]


def ids_of(document: Any) -> list[str]:
    """Every @id that a document defines."""
    nodes = [*document["distribution"], *document.get("recordSet", [])]
    nodes += [field for records in document.get("recordSet", []) for field in records["field"]]
    return [node["@id"] for node in nodes]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a", "a", "b", "a"], ["a", "a-2", "b", "a-3"]),
        (["a", "a-2", "a", "a"], ["a", "a-2", "a-3", "a-4"]),
        (["a b", "a_b", "a/b", ""], ["a_b", "a_b-2", "a_b-3", "_"]),
    ],
)
def test_an_id_is_of_one_name(names: list[str], ids: list[str]) -> None:
    assert _ids("records", names) == [f"records/{one}" for one in ids]


def test_two_fields_of_one_name_are_two() -> None:
    fields = [{"name": name, "type": STR} for name in ("label", "image", "label")]
    document = made(dataset(), schema(fields=fields))
    [records] = accepted(document).metadata.record_sets
    assert [(field.name, field.id) for field in records.fields] == [
        ("label", "records/label"),
        ("image", "records/image"),
        ("label", "records/label-2"),
    ]


def test_whatever_fields_are_called_each_has_an_id_of_its_own() -> None:
    properties = {name: {"type": "string"} for name in ODD}
    inner = {"$type": "x", "properties": properties, "required": []}
    urls = ["s3://a/{0..3}.tar", "s3://a/0.tar", "s3://a/0.tar", "s3://{0..99}.tar", "@id", "a b"]
    document = made(dataset(urls=urls), alt_records.schema(schema=inner))
    [records] = accepted(document).metadata.record_sets
    assert [field.name for field in records.fields] == ODD
    ids = ids_of(document)
    assert len(set(ids)) == len(ids) == len(ODD) + 1 + 10
    assert made(dataset(urls=urls), alt_records.schema(schema=inner)) == document
