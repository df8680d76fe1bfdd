"""Frozen typed values of the records this project indexes, built from validated JSON.

`parse_record` is the only way in: lexicon first, then the rules lexicons cannot express (semantic
versions, Python identifiers, references that must name a schema). What publishers write when a
field is unset (`description: ""`, `license: ""`, `tags: []`) becomes None or ().
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from atdata_schemas.errors import ValidationError
from atdata_schemas.lexicon import Json, decode_bytes, lexicons
from atdata_schemas.syntax import parse_datetime
from atdata_schemas.versions import Version

SCHEMA_NSID = "app.bsky.atdata.schema"
DATASET_NSID = "app.bsky.atdata.dataset"
LENS_NSID = "app.bsky.atdata.lens"

type Kind = Literal["schema", "dataset", "lens"]

KINDS: Mapping[str, Kind] = {SCHEMA_NSID: "schema", DATASET_NSID: "dataset", LENS_NSID: "lens"}
"""The indexed collections, and what a record of each is."""

SCHEMA_COLLECTIONS = frozenset({SCHEMA_NSID, "science.alt.dataset.schema"})
"""Collections a reference to a schema may name: either namespace, whichever the record is in."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """A field of one plain value: str, int, float, bool or bytes."""

    primitive: str


@dataclass(frozen=True, slots=True)
class NDArray:
    """A field holding an array; `shape` has None for a free dimension, is None when unknown."""

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Nested:
    """A field holding a sample of another schema."""

    schema_ref: str


type FieldType = Primitive | NDArray | Nested


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a schema."""

    name: str
    type: FieldType
    optional: bool
    description: str | None


@dataclass(frozen=True, slots=True)
class Schema:
    """The type of one sample of a dataset."""

    name: str
    version: str
    description: str | None
    fields: tuple[Field, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset: its shards, its schema and what its author says about it."""

    name: str
    schema_ref: str
    urls: tuple[str, ...]
    description: str | None
    tags: tuple[str, ...]
    license: str | None
    samples: int | None
    size_bytes: int | None
    metadata: bytes | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CodeReference:
    """Where the code of a lens can be read. Never fetched, imported or run."""

    repository: str
    commit: str
    path: str


@dataclass(frozen=True, slots=True)
class CodeText:
    """The code of a lens as text. Never compiled or run."""

    source: str


@dataclass(frozen=True, slots=True)
class Lens:
    """A statement that data of `source_schema` can be viewed as `target_schema`."""

    name: str
    source_schema: str
    target_schema: str
    description: str | None
    getter: CodeReference | CodeText | None
    putter: CodeReference | CodeText | None
    created_at: datetime


type Record = Schema | Dataset | Lens


def parse_record(collection: str, rkey: str, record: Json) -> Record:
    """The typed value of a record in JSON form.

    Raises ValidationError for the first rule it breaks, LexiconError for a collection that is
    not indexed.
    """
    lexicons().check_record(collection, rkey, record)
    match KINDS[collection]:
        case "schema":
            return _schema(record)
        case "dataset":
            return _dataset(record)
        case "lens":
            return _lens(record)


def _schema(record: Mapping[str, Any]) -> Schema:
    Version.parse(record["version"])
    return Schema(
        name=record["name"],
        version=record["version"],
        description=record.get("description") or None,
        fields=tuple(_field(field, f"fields[{i}]") for i, field in enumerate(record["fields"])),
        created_at=parse_datetime(record["createdAt"]),
    )


def _field(field: Mapping[str, Any], path: str) -> Field:
    if not field["name"].isidentifier():
        raise ValidationError(f"{path}.name", "identifier", "not a Python identifier")
    return Field(
        name=field["name"],
        type=_field_type(field["type"], f"{path}.type"),
        optional=field.get("optional", False),
        description=field.get("description") or None,
    )


def _field_type(declared: Mapping[str, Any], path: str) -> FieldType:
    match declared["kind"]:
        case "primitive":
            return Primitive(declared["primitive"])
        case "ndarray":
            shape = declared.get("shape")
            return NDArray(declared["dtype"], None if shape is None else tuple(shape))
        case _:
            return Nested(_schema_reference(declared["schemaRef"], f"{path}.schemaRef"))


def _dataset(record: Mapping[str, Any]) -> Dataset:
    size = record.get("size", {})
    metadata = record.get("metadata")
    return Dataset(
        name=record["name"],
        schema_ref=_schema_reference(record["schemaRef"], "schemaRef"),
        urls=tuple(record["urls"]),
        description=record.get("description") or None,
        tags=tuple(record.get("tags", ())),
        license=record.get("license") or None,
        samples=size.get("samples"),
        size_bytes=size.get("bytes"),
        metadata=None if metadata is None else decode_bytes(metadata, "metadata"),
        created_at=parse_datetime(record["createdAt"]),
    )


def _lens(record: Mapping[str, Any]) -> Lens:
    return Lens(
        name=record["name"],
        source_schema=_schema_reference(record["sourceSchema"], "sourceSchema"),
        target_schema=_schema_reference(record["targetSchema"], "targetSchema"),
        description=record.get("description") or None,
        getter=_code(record.get("getterCode")),
        putter=_code(record.get("putterCode")),
        created_at=parse_datetime(record["createdAt"]),
    )


def _code(code: Mapping[str, Any] | None) -> CodeReference | CodeText | None:
    if code is None:
        return None
    if code["kind"] == "python":
        return CodeText(code["source"])
    return CodeReference(code["repository"], code["commit"], code["path"])


def _schema_reference(uri: str, path: str) -> str:
    """`uri` again, which the lexicon has found to be an AT-URI."""
    parts = uri.split("/")
    if len(parts) != 5:  # at://authority/collection/rkey
        raise ValidationError(path, "reference", "not the AT-URI of a record")
    if parts[3] not in SCHEMA_COLLECTIONS:
        raise ValidationError(path, "reference", f"names a {parts[3]}, not a schema")
    return uri
