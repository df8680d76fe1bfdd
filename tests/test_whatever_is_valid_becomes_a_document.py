"""A record that passes its lexicon can be indexed, whatever else its author put into it.

Were it otherwise, one stranger's record would stop the writer for good.
"""

import json
from typing import Any

import pytest
import tantivy
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_indexer.index.fields import document, schema
from atdata_indexer.index.tables import Link, Stored
from atdata_schemas.errors import ValidationError
from atdata_schemas.records import COLLECTIONS, parse_record
from tests import alt_records, builders
from tests.alt_records import ALT

URI = f"at://{builders.DID}/{ALT}.entry/x"
VALID = [
    builders.schema(),
    builders.dataset(),
    builders.lens(),
    alt_records.schema(),
    alt_records.entry(builders.SCHEMA_URI),
    alt_records.entry(builders.SCHEMA_URI, storage=alt_records.external("x")),
    alt_records.lens(builders.SCHEMA_URI, builders.SCHEMA_URI),
    alt_records.label("x", URI),
    {
        "$type": f"{ALT}.lensVerification",
        "lens": URI,
        "lensCommit": "x",
        "verificationMethod": "codeReview",
        "createdAt": alt_records.created(),
    },
    {"$type": f"{ALT}.index"},
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
WORDS = st.sampled_from(
    ["string", "array", "object", "integer", "uint8", "x#/$defs/ndarray", "x#/$defs/sparse"]
)
DECLARED = st.dictionaries(
    st.sampled_from(["type", "$ref", "items", "dtype", "shape", "description", "format"]),
    WORDS | JSON | st.lists(WORDS, max_size=2) | st.dictionaries(st.just("type"), WORDS),
)
ODD_SCHEMAS = st.builds(
    lambda properties, required: alt_records.schema(
        schema={"$type": "x", "properties": properties, "required": required}
    ),
    st.dictionaries(st.text(max_size=8), DECLARED, max_size=4),
    JSON,
)
OTHERS = ["tags", "name", "description", "size", "license", "metadata", "fields", "version", "lens"]
EXTENDED = st.builds(
    lambda record, extra: {**extra, **record},
    st.sampled_from(VALID),
    st.dictionaries(st.sampled_from(OTHERS), JSON, max_size=4),
)


@settings(max_examples=250)
@given(record=ODD_SCHEMAS | EXTENDED)
def test_whatever_passes_its_lexicon_is_made_into_a_document(record: dict[str, Any]) -> None:
    collection = record["$type"]
    try:
        parse_record(collection, "2" * 13, record)
    except ValidationError:
        return
    kind, body = COLLECTIONS[collection], json.dumps(record)
    link = Link(builders.SCHEMA_URI, "bafy", "Photo", "1.0.0", body if kind == "schema" else None)
    stored = Stored(
        uri=f"at://{builders.DID}/{collection}/x",
        did=builders.DID,
        kind=kind,
        cid="bafy",
        body=body,
        sort_created=1,
        indexed_us=1,
        handle=None,
        schema=link if kind in ("dataset", "lens") else None,
        target=link if kind == "lens" else None,
    )
    tantivy.Document.from_dict(document(stored), schema())


@pytest.mark.parametrize("record", VALID, ids=lambda record: record["$type"])
def test_the_records_it_begins_with_are_valid(record: dict[str, Any]) -> None:
    parse_record(record["$type"], "2" * 13, record)
