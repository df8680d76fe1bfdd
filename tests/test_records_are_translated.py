"""A record is put in the words of the other namespace only where nothing is lost by it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_schemas.records import Dataset, Lens, Record, Schema, parse_record
from atdata_schemas.translation import from_alt, to_alt
from tests import alt_records, builders
from tests.alt_records import ALT, NDARRAY, entry, external
from tests.builders import SCHEMA_URI, without
from tests.fixtures.catalogue import as_bytes

type Json = dict[str, Any]

REFERENCE = {"kind": "reference", "repository": "https://a.b", "commit": "1", "path": "x.py"}
PLAIN: list[Json] = [
    {"name": "image", "type": {"kind": "ndarray", "dtype": "uint8", "shape": [None, 3]}},
    {"name": "label", "type": {"kind": "primitive", "primitive": "str"}, "optional": True},
]


def value(record: Json | None) -> Record:
    assert record is not None
    return parse_record(record["$type"], "2" * 13, record)


names = st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
shapes = st.lists(st.none() | st.integers(0, 2**53 - 1), max_size=4)
types = st.sampled_from(["str", "int", "float", "bool", "bytes"]).map(
    lambda name: {"kind": "primitive", "primitive": name}
) | st.fixed_dictionaries(
    {"kind": st.just("ndarray"), "dtype": st.from_regex(r"[a-z]{1,4}[0-9]{1,2}", fullmatch=True)},
    optional={"shape": st.none() | shapes},
)
fields = st.lists(
    st.fixed_dictionaries(
        {"name": names, "type": types},
        optional={"optional": st.booleans(), "description": texts},
    ),
    unique_by=lambda field: field["name"],
    max_size=6,
)
schemas = st.builds(
    lambda found, about: builders.schema(fields=found, description=about), fields, texts
)
datasets = st.builds(
    lambda **more: builders.dataset(**more),
    urls=st.lists(texts, min_size=1, max_size=4),
    tags=st.lists(texts.filter(lambda tag: len(tag.encode()) <= 50), max_size=4),
    license=texts,
    size=st.fixed_dictionaries(
        {}, optional={"samples": st.integers(0, 9), "bytes": st.integers(0, 9)}
    ),
    metadata=st.binary(max_size=20).map(as_bytes),
)
lenses = st.builds(
    lambda getter, putter: builders.lens(getterCode=getter, putterCode=putter),
    st.fixed_dictionaries({name: st.just(one) for name, one in REFERENCE.items()}),
    texts.map(lambda path: {**REFERENCE, "path": path}),
)


@settings(max_examples=150)
@given(record=schemas | datasets | lenses)
def test_there_and_back_nothing_is_lost(record: Json) -> None:
    there = to_alt(record)
    assert there is not None
    back = from_alt(there)
    assert value(back) == value(record)
    assert to_alt(back or {}) == there
    shared = value(there), value(record)
    match shared:
        case Dataset(), Dataset():
            assert shared[0] == shared[1]
        case Schema() as theirs, Schema() as ours:
            assert theirs.fields == ours.fields
        case Lens() as theirs, Lens() as ours:
            assert (theirs.getter, theirs.putter) == (ours.getter, ours.putter)
        case _:
            raise AssertionError(shared)


@pytest.mark.parametrize(
    "record",
    [
        builders.schema(),  # one of its fields is a sample of another schema
        builders.schema(fields=[PLAIN[0], PLAIN[0]]),
        builders.schema(fields=[PLAIN[0] | {"unit": "m"}]),
        builders.schema(fields=PLAIN, schemaType="x"),
        builders.lens(),  # code as text
        without(builders.lens(getterCode=REFERENCE), "putterCode"),
        builders.dataset(storage={}),
        builders.dataset(size={"samples": 1, "shards": 2}),
        builders.dataset(contentMetadata={"iso": 100}),
        alt_records.schema(),
        {"$type": "app.bsky.feed.post"},
        {},
    ],
)
def test_what_the_wider_network_cannot_say_is_not_translated(record: Json) -> None:
    assert to_alt(record) is None


def external_entry(**changes: Any) -> Json:
    return entry(SCHEMA_URI, storage=external("s3://x.tar")) | changes


def json_schema(declared: Json, **more: Any) -> Json:
    inner = {"$type": f"{ALT}.schema#jsonSchemaFormat", "properties": {"x": declared}, **more}
    return alt_records.schema(schema=inner)


@pytest.mark.parametrize(
    "record",
    [
        entry(SCHEMA_URI),  # checksums
        external_entry(metadata={"split": "train"}),
        external_entry(contentMetadata={}),
        external_entry(metadataSchemaRef=SCHEMA_URI),
        external_entry(manifests=[]),
        external_entry(size={"shards": 3}),
        external_entry(tags=["x" * 51]),
        external_entry(tags=["x"] * 21),
        external_entry(license="x" * 101),
        external_entry(urls=["https://elsewhere.example"]),
        external_entry(storage=external("x") | {"region": "eu"}),
        json_schema({"$ref": f"{NDARRAY}/1.0.0#/$defs/ndarray"}),  # an array of nothing known
        json_schema({"type": "array", "items": {"type": "string"}}),
        json_schema({"type": "string", "maxLength": 5}),
        json_schema({"type": ["string", "null"]}),
        json_schema({"type": "string"}, additionalProperties=False),
        json_schema({"type": "string"}) | {"version": "1.0.0-" + "a" * 30},
        json_schema({"type": "string"}) | {"atdataSchemaVersion": 2},
        json_schema({"type": "string"}) | {"schemaType": "avro"},
        alt_records.schema(schema={"draft": "7", "content": {"properties": {}}}),
        alt_records.lens(SCHEMA_URI, SCHEMA_URI),  # a language
        alt_records.label("x", SCHEMA_URI),
        builders.dataset(),
        {},
    ],
)
def test_what_this_namespace_cannot_say_is_not_translated(record: Json) -> None:
    assert from_alt(record) is None


@pytest.mark.parametrize(
    ("translate", "record"),
    [(to_alt, builders.dataset()), (from_alt, external_entry())],
    ids=["to_alt", "from_alt"],
)
def test_what_neither_lexicon_knows_is_carried_along(
    translate: Callable[[Json], Json | None], record: Json
) -> None:
    translated = translate(record | {"homepage": {"at": "https://a.b"}})
    assert translated is not None
    assert translated["homepage"] == {"at": "https://a.b"}
