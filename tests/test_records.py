"""What a record becomes: typed values, absent things absent, and the rules lexicons cannot say."""

from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_schemas.errors import LexiconError, ValidationError
from atdata_schemas.records import (
    CodeReference,
    CodeText,
    Dataset,
    Field,
    Lens,
    NDArray,
    Nested,
    Primitive,
    Record,
    Schema,
    parse_record,
)
from tests.builders import (
    DATASET,
    DID,
    LENS,
    OTHER_DID,
    RKEY,
    SCHEMA,
    SCHEMA_URI,
    dataset,
    lens,
    schema,
    without,
)
from tests.fixtures.catalogue import as_bytes
from tests.fixtures.faults import put_at

CREATED = datetime(2025, 6, 1, tzinfo=UTC)


def parse(record: dict[str, Any]) -> Record:
    return parse_record(record["$type"], RKEY, record)


def fault(record: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        parse(record)
    return caught.value.rule, caught.value.path


# --- typed values -----------------------------------------------------------------------------


def test_a_schema_becomes_fields_with_types() -> None:
    assert parse(schema()) == Schema(
        name="LabeledImage",
        version="1.0.0",
        description="An image and what is on it.",
        fields=(
            Field("image", NDArray("uint8", (None, None, 3)), False, None),
            Field("label", Primitive("str"), True, None),
            Field("source", Nested(SCHEMA_URI), False, None),
        ),
        created_at=CREATED,
    )


def test_a_dataset_becomes_its_shards_and_what_is_said_of_them() -> None:
    assert parse(dataset()) == Dataset(
        name="Frogs after rain",
        schema_ref=SCHEMA_URI,
        urls=("s3://frogs/rain-{000000..000011}.tar",),
        description="Calls recorded in the wet season.",
        tags=("frogs", "audio"),
        license="CC-BY-4.0",
        samples=4096,
        size_bytes=9_000_000,
        metadata=b"\x81\xa4site\xa4pond",
        created_at=CREATED,
    )


def test_a_lens_becomes_two_schemas_and_code_that_stays_text() -> None:
    assert parse(lens()) == Lens(
        name="crop",
        source_schema=SCHEMA_URI,
        target_schema=f"at://{OTHER_DID}/{SCHEMA}/3lhzqk2mfd22t",
        description=None,
        getter=CodeText("def get(s):\n    return s\n"),
        putter=CodeReference("https://git.example/lenses", "2f6b1f0c", "crop.py"),
        created_at=CREATED,
    )


@pytest.mark.parametrize("record", [schema(), dataset(), lens()], ids=lambda r: r["$type"])
def test_a_record_cannot_be_changed_and_holds_nothing_that_can(record: dict[str, Any]) -> None:
    value = parse(record)
    hash(value)
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, None)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({}, None),
        ({"shape": None}, None),
        ({"shape": []}, ()),
        ({"shape": [None]}, (None,)),
        ({"shape": [0, 2**53 - 1]}, (0, 2**53 - 1)),
    ],
)
def test_an_unknown_shape_differs_from_the_shape_of_a_single_value(
    declared: dict[str, Any], expected: tuple[int | None, ...] | None
) -> None:
    kind = {"kind": "ndarray", "dtype": "uint8"} | declared
    record = parse(schema(fields=[{"name": "x", "type": kind}]))
    assert isinstance(record, Schema)
    assert record.fields[0].type == NDArray("uint8", expected)


# --- what is absent ---------------------------------------------------------------------------


def test_what_publishers_write_for_nothing_counts_as_absent() -> None:
    unset = parse(dataset(description="", license="", tags=[], size={}))
    absent = parse(without(dataset(), "description", "license", "tags", "size"))
    assert unset == absent
    assert isinstance(absent, Dataset)
    assert (absent.description, absent.license, absent.tags) == (None, None, ())
    assert (absent.samples, absent.size_bytes) == (None, None)

    assert parse(schema(description="")) == parse(without(schema(), "description"))
    assert parse(lens(description="")) == parse(without(lens(), "description"))
    named = {"name": "x", "type": {"kind": "primitive", "primitive": "int"}}
    described = parse(schema(fields=[named | {"description": ""}]))
    assert described == parse(schema(fields=[named]))


def test_nothing_optional_is_needed() -> None:
    record = parse(without(dataset(), "description", "metadata", "tags", "size", "license"))
    assert isinstance(record, Dataset)
    assert record.metadata is None
    bare = parse(without(lens(), "getterCode", "putterCode"))
    assert isinstance(bare, Lens)
    assert (bare.getter, bare.putter) == (None, None)


def test_zero_and_empty_bytes_are_something() -> None:
    record = parse(dataset(size={"samples": 0, "bytes": 0}, metadata=as_bytes(b"")))
    assert isinstance(record, Dataset)
    assert (record.samples, record.size_bytes, record.metadata) == (0, 0, b"")


def test_an_empty_name_is_a_name_and_a_schema_may_have_no_fields() -> None:
    assert parse(dataset(name="")).name == ""
    record = parse(schema(fields=[]))
    assert isinstance(record, Schema)
    assert record.fields == ()


def test_null_is_not_a_way_to_leave_something_out() -> None:
    assert fault(dataset(description=None)) == ("type", "description")
    assert fault(dataset(tags=None)) == ("type", "tags")
    assert fault(dataset(size=None)) == ("type", "size")
    assert fault(lens(getterCode=None)) == ("type", "getterCode")
    assert fault(schema(metadata=None)) == ("type", "metadata")


# --- versions ---------------------------------------------------------------------------------

VERSIONS = [
    "0.0.4",
    "1.2.3",
    "10.20.30",
    "1.1.2-prerel+meta",
    "1.1.2+meta",
    "1.0.0-alpha",
    "1.0.0-alpha.beta.1",
    "1.0.0-0A.is.legal",
    "1.0.0-rc.1+build.123",
    "1.2.3----RC-SNAPSHOT",
    "1.2.3----R-S.12.9.1",
    "1.0.0+0.build.1-rc.1",
    "1.0.0-0",
]

NO_VERSIONS = [
    "",
    "1",
    "1.2",
    "v1.2.3",
    "1.2.3-",
    "1.2.3+",
    "1.2.3-0123",
    "1.2.3-0123.0123",
    "1.1.2+.123",
    "+invalid",
    "-invalid",
    "alpha",
    "alpha.beta",
    "1.2.3.DEV",
    "1.2-SNAPSHOT",
    "01.1.1",
    "1.01.1",
    "1.1.01",
    "1.2.3-a..b",
    "1.2.3-a_b",
    "1.2.3\n",
    " 1.2.3",
    "1.2.3 ",
    "1.2.3\0",
    "１.2.3",
    "1.2.٣",
    "1.0.0-é",
]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_semantic_version_is_kept_as_written(version: str) -> None:
    record = parse(schema(version=version))
    assert isinstance(record, Schema)
    assert record.version == version


@pytest.mark.parametrize("version", NO_VERSIONS)
def test_what_is_no_semantic_version_is_refused(version: str) -> None:
    assert fault(schema(version=version)) == ("semver", "version")


# --- names of fields --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x", "_", "_x1", "Größe", "寸法", "Ångström", "class_"])
def test_a_field_is_named_by_any_python_identifier(name: str) -> None:
    record = parse(put_at(schema(), "fields[1].name", name))
    assert isinstance(record, Schema)
    assert record.fields[1].name == name


@pytest.mark.parametrize(
    "name",
    ["", "3d", "a-b", "a b", "a.b", "a\n", "\na", "a\0", "½", "a\u200b", "😀", "__import__()"],
)
def test_a_field_name_python_could_not_write_is_refused(name: str) -> None:
    assert fault(put_at(schema(), "fields[1].name", name)) == ("identifier", "fields[1].name")


# --- references -------------------------------------------------------------------------------

PLACES = [
    (schema(), "fields[2].type.schemaRef"),
    (dataset(), "schemaRef"),
    (lens(), "sourceSchema"),
    (lens(), "targetSchema"),
]


@pytest.mark.parametrize(("record", "path"), PLACES)
@pytest.mark.parametrize(
    "uri",
    [
        f"at://{DID}/{SCHEMA}/3lhzqk2mfd22s",
        f"at://{DID}/science.alt.dataset.schema/3lhzqk2mfd22s",
        f"at://{DID}/science.alt.dataset.schema/any-key:1.0.0",
        f"at://alice.test/{SCHEMA}/3lhzqk2mfd22s",
    ],
)
def test_a_reference_may_name_a_schema_of_either_namespace_by_did_or_handle(
    record: dict[str, Any], path: str, uri: str
) -> None:
    assert uri in repr(parse(put_at(record, path, uri)))


@pytest.mark.parametrize(("record", "path"), PLACES)
@pytest.mark.parametrize(
    "uri",
    [
        f"at://{DID}",
        f"at://{DID}/{SCHEMA}",
        f"at://{DID}/{DATASET}/3lhzqk2mfd22s",
        f"at://{DID}/{LENS}/3lhzqk2mfd22s",
        f"at://{DID}/app.bsky.atdata.schemas/3lhzqk2mfd22s",
        f"at://{DID}/app.bsky.atdata.Schema/3lhzqk2mfd22s",
        f"at://{DID}/science.alt.dataset.entry/3lhzqk2mfd22s",
    ],
)
def test_a_reference_that_names_no_schema_record_is_refused(
    record: dict[str, Any], path: str, uri: str
) -> None:
    assert fault(put_at(record, path, uri)) == ("reference", path)


@pytest.mark.parametrize(("record", "path"), PLACES)
@pytest.mark.parametrize(
    "uri", ["", "x", "https://example.com", SCHEMA_URI + "\n", SCHEMA_URI + "/"]
)
def test_a_reference_that_is_no_at_uri_breaks_the_lexicon_first(
    record: dict[str, Any], path: str, uri: str
) -> None:
    assert fault(put_at(record, path, uri)) == ("format", path)


# --- the record as a whole --------------------------------------------------------------------


@pytest.mark.parametrize(
    "rkey", ["", "self", "3lhzqk2mfd2", "3lhzqk2mfd22s\n", "zzzzzzzzzzzzz", "."]
)
def test_a_record_key_that_is_no_tid_is_refused(rkey: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse_record(DATASET, rkey, dataset())
    assert (caught.value.rule, caught.value.path) == ("key", "")


@pytest.mark.parametrize("claimed", [SCHEMA, "", None, 5, DATASET + "#main", DATASET.upper()])
def test_a_record_must_be_of_the_type_of_its_collection(claimed: object) -> None:
    assert fault_of(DATASET, dataset() | {"$type": claimed}) == ("const", "$type")


def test_a_record_without_a_type_is_refused() -> None:
    assert fault_of(DATASET, without(dataset(), "$type")) == ("const", "$type")


def fault_of(collection: str, record: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        parse_record(collection, RKEY, record)
    return caught.value.rule, caught.value.path


@pytest.mark.parametrize("collection", ["app.bsky.feed.post", "app.bsky.atdata.getDataset", ""])
def test_a_collection_that_is_not_indexed_is_not_a_fault_of_the_record(collection: str) -> None:
    with pytest.raises(LexiconError):
        parse_record(collection, RKEY, dataset())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["primitive", "ndarray", "nested", "python", "reference", SCHEMA_URI]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["kind", "$type", "$bytes", "$link", "name", "type", "shape"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(base=st.sampled_from([schema(), dataset(), lens()]), data=st.data())
@settings(max_examples=500, deadline=None)
def test_any_json_in_place_of_a_property_is_parsed_or_refused_and_never_crashes(
    base: dict[str, Any], data: st.DataObject
) -> None:
    record: dict[str, Any] = dict(base)
    for name in data.draw(
        st.sets(st.sampled_from(sorted(base.keys() - {"$type"})), min_size=1, max_size=3)
    ):
        record[name] = data.draw(JSON)
    match outcome(record):
        case ValidationError() as error:
            assert error.rule
            assert error.path.partition(".")[0].partition("[")[0] in record
        case value:
            assert value.name == record["name"]


def outcome(record: dict[str, Any]) -> Record | ValidationError:
    try:
        return parse(record)
    except ValidationError as error:
        return error
