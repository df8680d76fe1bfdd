"""Publishing sample classes as schemas, and reading schemas back."""

import warnings
from collections.abc import Iterator
from importlib.resources import files
from typing import Any
from unittest.mock import Mock

import atdata
import numpy as np
import pytest
from atdata import packable
from lexrpc.base import Base
from numpy.typing import NDArray

from atdata_client import (
    ATProtoClient,
    SchemaLoader,
    SchemaPublisher,
    UnsupportedTypeError,
    ValidationError,
)
from atdata_schemas.records import parse_record
from tests.logged_in import logged_in
from tests.real_pds import RealPds
from tests.test_lexicon_oracle import documents, for_other

SCHEMA = "app.bsky.atdata.schema"


@packable
class Box:
    """Where something is in an image."""

    corners: NDArray[np.float32]
    label: str


@packable
class Photo:
    image: np.ndarray[tuple[int, int, Any], np.dtype[np.uint8]]
    caption: str | None
    box: Box
    other_box: Box | None


class Ring:
    """Contains itself; made packable below, when its name is known."""

    inner: "Ring"


Ring = packable(Ring)  # type: ignore[misc]  # so that its own annotation finds the packable class


@packable
class TestSample:
    __test__ = False
    field1: str
    field2: int


@pytest.fixture(scope="module")
def refused(pds: RealPds) -> Iterator[ATProtoClient]:
    """A client logged in to an account for which nothing is ever published."""
    with logged_in(pds) as client:
        yield client


def test_schema_publisher() -> None:
    """The design document's example: same calls, same assertions, its mock included."""
    # Mock client
    mock_client = Mock()
    mock_client.is_authenticated = True
    mock_client.create_record = Mock(return_value="at://did:example/app.bsky.atdata.schema/abc123")

    # Publish schema
    publisher = SchemaPublisher(mock_client)
    uri = publisher.publish_schema(TestSample, version="1.0.0")

    # Verify
    assert uri == "at://did:example/app.bsky.atdata.schema/abc123"
    mock_client.create_record.assert_called_once()

    # Check the record structure
    call_args = mock_client.create_record.call_args
    collection, record = call_args[0]
    assert collection == "app.bsky.atdata.schema"
    assert record["name"] == "TestSample"
    assert len(record["fields"]) == 2


def test_a_published_schema_is_valid_and_on_the_pds(pds: RealPds, author: ATProtoClient) -> None:
    uri = SchemaPublisher(author).publish_schema(
        TestSample, version="2.1.0", description="Two fields.", metadata={"domain": ["tests"]}
    )
    record = pds.stored(uri)["value"]
    created = record.pop("createdAt")
    assert record == {
        "$type": SCHEMA,
        "name": "TestSample",
        "version": "2.1.0",
        "description": "Two fields.",
        "fields": [
            {
                "name": "field1",
                "type": {"kind": "primitive", "primitive": "str"},
                "optional": False,
            },
            {
                "name": "field2",
                "type": {"kind": "primitive", "primitive": "int"},
                "optional": False,
            },
        ],
        "metadata": {"domain": ["tests"]},
    }
    parse_record(SCHEMA, uri.rpartition("/")[2], record | {"createdAt": created})


def test_what_is_unset_is_left_out(author: ATProtoClient) -> None:
    uri = SchemaPublisher(author).publish_schema(TestSample)
    record = author.get_record(uri)
    assert set(record) == {"$type", "name", "version", "fields", "createdAt"}
    assert record["version"] == "1.0.0"


def test_a_name_can_be_given_and_the_docstring_describes(author: ATProtoClient) -> None:
    record = author.get_record(SchemaPublisher(author).publish_schema(Box, name="Bounding box"))
    assert record["name"] == "Bounding box"
    assert record["description"] == "Where something is in an image."


def test_nested_samples_are_published_first_once_each_and_linked(author: ATProtoClient) -> None:
    uri = SchemaPublisher(author).publish_schema(Photo, version="3.0.0")
    records = {record["name"]: record for record in author.list_records(SCHEMA)}
    assert set(records) == {"Photo", "Box"}
    assert records["Photo"]["uri"] == uri
    assert records["Box"]["version"] == "3.0.0"
    types = {field["name"]: field["type"] for field in records["Photo"]["fields"]}
    link = {"kind": "nested", "schemaRef": records["Box"]["uri"]}
    assert types["box"] == types["other_box"] == link
    assert types["image"] == {"kind": "ndarray", "dtype": "uint8", "shape": [None, None, None]}


def test_a_sample_that_contains_itself_is_refused(refused: ATProtoClient) -> None:
    with pytest.raises(UnsupportedTypeError, match=r"\(field 'inner'\): it contains itself"):
        SchemaPublisher(refused).publish_schema(Ring)
    assert refused.list_records(SCHEMA) == []


@pytest.mark.parametrize(
    ("arguments", "path", "rule"),
    [
        ({"version": "1.0"}, "version", "semver"),
        ({"name": "x" * 101}, "name", "maxLength"),
        ({"description": "x" * 1001}, "description", "maxLength"),
        ({"metadata": {"rate": 0.5}}, "metadata.rate", "type"),
    ],
)
def test_a_bad_record_is_refused_by_field_and_rule_before_anything_is_published(
    refused: ATProtoClient, arguments: dict[str, Any], path: str, rule: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        SchemaPublisher(refused).publish_schema(Photo, **arguments)
    assert (caught.value.path, caught.value.rule) == (path, rule)
    assert refused.list_records(SCHEMA) == []


def test_a_bad_field_is_refused_before_its_nested_samples_are_published(
    refused: ATProtoClient,
) -> None:
    @packable
    class Album:
        box: Box
        photos: list[str]

    with pytest.raises(UnsupportedTypeError, match=r"list\[str\] \(field 'photos'\)"):
        SchemaPublisher(refused).publish_schema(Album)
    assert refused.list_records(SCHEMA) == []


def test_a_bare_array_is_published_as_float32_with_one_warning(author: ATProtoClient) -> None:
    @packable
    class MySample:
        image: NDArray  # type: ignore[type-arg]  # what is tested
        label: str

    with pytest.warns(UserWarning, match="field 'image'") as caught:
        uri = SchemaPublisher(author).publish_schema(MySample)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    declared = author.get_record(uri)["fields"][0]["type"]
    assert declared == {"kind": "ndarray", "dtype": "float32"}


def test_a_nested_sample_has_no_record_of_its_own_before_it_is_published() -> None:
    publisher = SchemaPublisher(ATProtoClient())
    with pytest.raises(UnsupportedTypeError, match="not published yet"):
        publisher._field_to_record("box", Box)


def test_publishing_needs_a_login() -> None:
    with pytest.raises(ValueError, match=r"^Client must be authenticated$"):
        SchemaPublisher(ATProtoClient()).publish_schema(TestSample)


def test_only_dataclasses_are_published(refused: ATProtoClient) -> None:
    with pytest.raises(ValueError, match=r"DictSample'> must be a dataclass$"):
        SchemaPublisher(refused).publish_schema(atdata.DictSample)


def test_a_schema_is_loaded_by_anyone(author: ATProtoClient, reader: ATProtoClient) -> None:
    uri = SchemaPublisher(author).publish_schema(TestSample)
    loader = SchemaLoader(reader)
    assert loader.get_schema(uri)["name"] == "TestSample"
    assert [record["uri"] for record in loader.list_schemas(author.did)] == [uri]
    assert SchemaLoader(author).list_schemas() == loader.list_schemas(author.did)


def test_another_record_is_no_schema(author: ATProtoClient) -> None:
    uri = author.create_record("app.bsky.atdata.dataset", {"name": "no schema"})
    with pytest.raises(ValueError, match=f"^Record at {uri} is not a schema record$"):
        SchemaLoader(author).get_schema(uri)


def test_a_nested_schema_is_published_and_its_type_made(
    author: ATProtoClient, reader: ATProtoClient
) -> None:
    uri = SchemaPublisher(author).publish_schema(Photo)
    loader = SchemaLoader(reader)
    made: Any = loader.sample_type(uri)
    box = made.__annotations__["box"]
    assert (box.__name__, box.__doc__) == ("Box", "Where something is in an image.")
    assert made.__annotations__["other_box"] == box | None
    corners = np.arange(8, dtype=np.float32).reshape(4, 2)
    again = box.from_bytes(box(corners=corners, label="a").packed)
    np.testing.assert_array_equal(again.corners, corners)
    assert loader.sample_type(uri) is made
    source = loader.generate_module(uri)
    assert source.index("class Box:") < source.index("class Photo:")
    assert "    other_box: Box | None = field(default=None, kw_only=True)\n" in source
    assert uri in source


def test_a_second_validator_agrees_with_what_is_published(author: ATProtoClient) -> None:
    SchemaPublisher(author).publish_schema(
        Photo, description="All there is.", metadata={"rate": 1, "key": b"k"}
    )
    SchemaPublisher(author).publish_schema(TestSample)
    other = Base(lexicons=list(documents(files("atdata_schemas"))))
    for record in author.list_records(SCHEMA):
        uri, _ = record.pop("uri"), record.pop("cid")
        parse_record(SCHEMA, uri.rpartition("/")[2], record)
        other.validate(SCHEMA, "record", for_other(SCHEMA, record))


def test_publishing_warns_of_nothing_when_all_is_said(author: ATProtoClient) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SchemaPublisher(author).publish_schema(Box)
