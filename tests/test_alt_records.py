"""What records of `science.alt.dataset` are read as, and which are refused, where and why."""

from typing import Any

import pytest

from atdata_schemas import alt
from atdata_schemas.errors import ValidationError
from atdata_schemas.records import (
    COLLECTIONS,
    Dataset,
    Foreign,
    Kept,
    Label,
    Lens,
    NDArray,
    Primitive,
    Record,
    Schema,
    parse_record,
)
from tests.alt_records import ALT, BLOB, CHECKSUM, NDARRAY, entry, external, label, lens, schema
from tests.builders import SCHEMA_URI, without
from tests.fixtures.catalogue import as_bytes

ALT_SCHEMA = f"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/{ALT}.schema/org.example.photo-1.0.0"


def parsed(record: dict[str, Any], rkey: str = "any.key~at_all") -> Record:
    return parse_record(record["$type"], rkey, record)


def fault(record: dict[str, Any], rkey: str = "2222222222222") -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        parsed(record, rkey)
    return caught.value.rule, caught.value.path


def with_properties(properties: Any, **more: Any) -> dict[str, Any]:
    return schema(
        schema={"$type": f"{ALT}.schema#jsonSchemaFormat", "properties": properties} | more
    )


@pytest.mark.parametrize(
    ("declared", "wanted"),
    [
        ({"type": "string"}, Primitive("str")),
        ({"type": "integer"}, Primitive("int")),
        ({"type": "number"}, Primitive("float")),
        ({"type": "boolean"}, Primitive("bool")),
        ({"type": ["null", "integer"]}, Primitive("int")),
        (
            {"type": "string", "format": "byte", "contentEncoding": "base64"},
            Primitive("bytes"),
        ),
        ({"$ref": f"{NDARRAY}/1.0.0#/$defs/ndarray"}, NDArray("", None)),
        (
            {"$ref": f"{NDARRAY}/1.1.0#/$defs/ndarray", "dtype": "uint8", "shape": [None, 3]},
            NDArray("uint8", (None, 3)),
        ),
        ({"$ref": "#/$defs/ndarray", "dtype": 8, "shape": [True, -1]}, NDArray("", None)),
        ({"type": "array", "items": {"type": "string"}}, Foreign("list", "str")),
        ({"type": "array", "items": {"type": "array"}}, Foreign("list", "list")),
        ({"type": "array"}, Foreign("list")),
        (
            {"$ref": "https://alt.science/schemas/atdata-sparse-bytes/1.0.0#/$defs/sparse"},
            Foreign("array-format", "sparse"),
        ),
        ({"type": "object"}, Foreign("other")),
        ({}, Foreign("other")),
    ],
)
def test_every_shape_of_a_field_has_a_type(declared: Any, wanted: object) -> None:
    found = parsed(with_properties({"x": declared}))
    assert isinstance(found, Schema)
    assert [field.type for field in found.fields] == [wanted]


def test_the_flat_shape_and_the_envelope_say_the_same() -> None:
    flat = schema()
    inner = without(flat["schema"], "$type", "arrayFormatVersions")
    envelope = {"draft": "draft-07", "content": inner}
    first, second = parsed(flat), parsed(schema(schema=envelope))
    assert first == second
    assert isinstance(first, Schema)
    assert [(field.name, field.optional) for field in first.fields] == [
        ("image", False),
        ("label", True),
    ]


def test_a_schema_of_another_format_is_kept_without_fields() -> None:
    found = parsed(schema(schemaType="avro", schema={"type": "record"}))
    assert isinstance(found, Schema)
    assert found.fields == ()


@pytest.mark.parametrize(
    ("storage", "urls"),
    [
        (external("s3://x/{000000..000009}.tar"), ("s3://x/{000000..000009}.tar",)),
        (entry(ALT_SCHEMA, 7)["storage"], ("https://data.example/7.tar",)),
        (
            {
                "$type": f"{ALT}.storageS3",
                "bucket": "b",
                "shards": [{"key": "k", "checksum": CHECKSUM}],
            },
            ("s3://b/k",),
        ),
        (
            {
                "$type": f"{ALT}.storageS3",
                "bucket": "b",
                "endpoint": "https://r2.example/",
                "shards": [{"key": "k", "checksum": CHECKSUM}],
            },
            ("https://r2.example/b/k",),
        ),
        ({"$type": f"{ALT}.storageBlobs", "blobs": [{"blob": BLOB}]}, ()),
        ({"$type": "org.example.storageTape", "reel": 5}, ()),
    ],
)
def test_every_kind_of_storage_has_its_urls(storage: Any, urls: tuple[str, ...]) -> None:
    found = parsed(entry(ALT_SCHEMA, storage=storage))
    assert isinstance(found, Dataset)
    assert found.urls == urls


def test_blobs_are_told_from_other_storage() -> None:
    held = entry(ALT_SCHEMA, storage={"$type": f"{ALT}.storageBlobs", "blobs": [{"blob": BLOB}]})
    assert list(alt.blobs_of(held)) == [BLOB]
    assert list(alt.blobs_of(entry(ALT_SCHEMA))) == []
    assert list(alt.blobs_of({"storage": "odd"})) == []


def test_metadata_may_be_packed_or_an_object() -> None:
    packed = parsed(entry(ALT_SCHEMA, metadata=as_bytes(b"\x81\xa1a\x01")))
    plain = parsed(entry(ALT_SCHEMA, metadata={"split": "train"}))
    assert isinstance(packed, Dataset)
    assert isinstance(plain, Dataset)
    assert (packed.metadata, plain.metadata) == (b"\x81\xa1a\x01", None)


def test_references_may_go_from_one_namespace_to_the_other() -> None:
    found = parsed(lens(ALT_SCHEMA, SCHEMA_URI))
    assert isinstance(found, Lens)
    assert (found.source_schema, found.target_schema) == (ALT_SCHEMA, SCHEMA_URI)


def test_labels_are_read_and_what_is_only_kept_may_be_anything() -> None:
    found = parsed(label("wrens", ALT_SCHEMA.replace(".schema/", ".entry/"), version="1"))
    assert isinstance(found, Label)
    assert (found.name, found.version) == ("wrens", "1")
    for odd in ({}, {"name": 5, "createdAt": "soon"}, {"tags": 5}):
        assert parsed({"$type": f"{ALT}.index", **odd}) == Kept(None)


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        (schema(version="1.0"), ("semver", "version")),
        (schema(schema={"$type": "x"}), ("required", "schema.properties")),
        (schema(schema={"content": {}}), ("required", "schema.content.properties")),
        (with_properties([]), ("required", "schema.properties")),
        (with_properties({"x": 5}), ("type", "schema.properties.x")),
        (without(schema(), "schemaType"), ("required", "schemaType")),
        (without(entry(ALT_SCHEMA), "storage"), ("required", "storage")),
        (entry(ALT_SCHEMA, storage={"shards": []}), ("union", "storage")),
        (entry(ALT_SCHEMA, storage=external()), ("minLength", "storage.urls")),
        (entry(ALT_SCHEMA, metadata={"$bytes": "!"}), ("type", "metadata")),
        (entry(ALT_SCHEMA, metadata=[5]), ("type", "metadata")),
        (entry(ALT_SCHEMA, tags=["x"] * 31), ("maxLength", "tags")),
        (entry(f"at://did:plc:a/{ALT}.entry/x"), ("reference", "schemaRef")),
        (without(lens(ALT_SCHEMA, ALT_SCHEMA), "putterCode"), ("required", "putterCode")),
        (label("x", "https://data.example"), ("format", "datasetUri")),
        ({"$type": f"{ALT}.lensVerification"}, ("required", "lens")),
    ],
)
def test_what_breaks_a_rule_is_refused_with_its_place(
    record: dict[str, Any], wanted: tuple[str, str]
) -> None:
    assert fault(record) == wanted


def test_a_record_key_must_be_one_that_a_pds_takes() -> None:
    assert fault(schema(), "org.example.photo@1.0.0") == ("key", "")


def test_every_collection_has_a_lexicon_and_a_kind() -> None:
    assert len(COLLECTIONS) == 9
    assert len(set(COLLECTIONS.items())) == 9
