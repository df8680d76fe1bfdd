"""Frozen typed values of the records this project indexes, built from validated JSON.

`parse_record` is the only way in: lexicon first, then the rules lexicons cannot express (semantic
versions, Python identifiers, references that must name a schema). What publishers write when a
field is unset (`description: ""`, `license: ""`, `tags: []`) becomes None or (). Records of both
namespaces become the same values; what only one of them can say is left in the record.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from atdata_schemas import alt
from atdata_schemas.errors import LexiconError, ValidationError
from atdata_schemas.lexicon import Json, decode_bytes, is_object, lexicons
from atdata_schemas.syntax import is_datetime, parse_datetime
from atdata_schemas.versions import Version

NAMESPACE = "app.bsky.atdata"
SCHEMA_NSID = f"{NAMESPACE}.schema"
DATASET_NSID = f"{NAMESPACE}.dataset"
LENS_NSID = f"{NAMESPACE}.lens"

type Kind = Literal["schema", "dataset", "lens", "label", "verification", "index"]

KINDS: Mapping[str, Kind] = {SCHEMA_NSID: "schema", DATASET_NSID: "dataset", LENS_NSID: "lens"}
"""The collections of this project's own namespace, and what a record of each is."""

ALT_KINDS: Mapping[str, Kind] = {
    alt.SCHEMA_NSID: "schema",
    alt.ENTRY_NSID: "dataset",
    alt.LENS_NSID: "lens",
    alt.LABEL_NSID: "label",
    alt.VERIFICATION_NSID: "verification",
    alt.INDEX_NSID: "index",
}
"""The collections of the namespace that is in use beside it."""

NAMESPACES: Mapping[str, Mapping[str, Kind]] = {NAMESPACE: KINDS, alt.NAMESPACE: ALT_KINDS}

COLLECTIONS: Mapping[str, Kind] = {**KINDS, **ALT_KINDS}
"""Every collection that can be indexed, and what a record of each is."""

SCHEMA_COLLECTIONS = frozenset({SCHEMA_NSID, alt.SCHEMA_NSID})
"""Collections a reference to a schema may name: either namespace, whichever the record is in."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """A field of one plain value: str, int, float, bool or bytes."""

    primitive: str


@dataclass(frozen=True, slots=True)
class NDArray:
    """A field holding an array; `shape` has None for a free dimension, is None when unknown.

    `dtype` is empty when unknown, which only schemas of `science.alt.dataset` leave it.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Nested:
    """A field holding a sample of another schema."""

    schema_ref: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """A field of a kind that only `science.alt.dataset` knows: list, array-format or other.

    `detail` says of what, where the schema does.
    """

    kind: str
    detail: str = ""


type FieldType = Primitive | NDArray | Nested | Foreign


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


@dataclass(frozen=True, slots=True)
class Label:
    """A name, and perhaps a version, that points to a dataset."""

    name: str
    dataset_uri: str
    version: str | None
    description: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """A record that is kept and answered, of which nothing else is made."""

    created_at: datetime | None
    name: None = None


type Record = Schema | Dataset | Lens | Label | Kept

MAX_BYTES = 1 << 18
"""How long a record may be as JSON. A PDS may take four times as much; but indexes and exports read
two thousand records together, which must fit into memory whoever wrote them."""

_TEXT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def record_text(record: Json) -> str:
    """A record as JSON text. Raises ValidationError when that is longer than MAX_BYTES in UTF-8."""
    text = _TEXT.encode(record)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ValidationError("", "maxBytes", f"a record is at most {MAX_BYTES} bytes as JSON")
    return text


def parse_record(collection: str, rkey: str, record: Json) -> Record:
    """The typed value of a record in JSON form.

    Raises ValidationError for the first rule it breaks, LexiconError for a collection that is
    not indexed.
    """
    if collection not in COLLECTIONS:
        raise LexiconError(f"{collection} is no collection that is indexed")
    lexicons().check_record(collection, rkey, _as_the_lexicon_says(collection, record))
    match COLLECTIONS[collection]:
        case "schema":
            return _schema(record)
        case "dataset":
            return _dataset(record)
        case "lens":
            return _lens(record)
        case "label":
            return _label(record)
        case _:
            created = record.get("createdAt")
            known = isinstance(created, str) and is_datetime(created)
            return Kept(parse_datetime(created) if known else None)


def _as_the_lexicon_says(collection: str, record: Json) -> Json:
    """The record without what the network's clients write against their own lexicon."""
    is_entry = collection == alt.ENTRY_NSID and isinstance(record, dict)
    if is_entry and is_object(record.get("metadata")):
        return {name: value for name, value in record.items() if name != "metadata"}
    return record


def _schema(record: Mapping[str, Any]) -> Schema:
    Version.parse(record["version"])
    if record["$type"] == alt.SCHEMA_NSID:
        fields = [_field(field) for field in alt.fields_of(record)]
    else:
        fields = [_python_field(field, f"fields[{i}]") for i, field in enumerate(record["fields"])]
    return Schema(
        name=record["name"],
        version=record["version"],
        description=record.get("description") or None,
        fields=tuple(fields),
        created_at=parse_datetime(record["createdAt"]),
    )


def _python_field(field: Mapping[str, Any], path: str) -> Field:
    if not field["name"].isidentifier():
        raise ValidationError(f"{path}.name", "identifier", "not a Python identifier")
    return _field(field, path)


def _field(field: Mapping[str, Any], path: str = "") -> Field:
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
            return NDArray(declared.get("dtype", ""), None if shape is None else tuple(shape))
        case "nested":
            return Nested(_schema_reference(declared["schemaRef"], f"{path}.schemaRef"))
        case kind:
            items = declared.get("items", {})
            said = items.get("primitive") or items.get("kind") or declared.get("format", "")
            return Foreign(kind, said)


def _dataset(record: Mapping[str, Any]) -> Dataset:
    size = record.get("size", {})
    is_entry = record["$type"] == alt.ENTRY_NSID
    return Dataset(
        name=record["name"],
        schema_ref=_schema_reference(record["schemaRef"], "schemaRef"),
        urls=tuple(alt.urls_of(record["storage"]) if is_entry else record["urls"]),
        description=record.get("description") or None,
        tags=tuple(record.get("tags", ())),
        license=record.get("license") or None,
        samples=size.get("samples"),
        size_bytes=size.get("bytes"),
        metadata=_metadata(record.get("metadata")),
        created_at=parse_datetime(record["createdAt"]),
    )


def _metadata(metadata: Json) -> bytes | None:
    """The packed metadata; an object, as newer clients write it, stays in the record."""
    if metadata is None or is_object(metadata):
        return None
    return decode_bytes(metadata, "metadata")


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


def _label(record: Mapping[str, Any]) -> Label:
    return Label(
        name=record["name"],
        dataset_uri=record["datasetUri"],
        version=record.get("version") or None,
        description=record.get("description") or None,
        created_at=parse_datetime(record["createdAt"]),
    )


def _code(code: Mapping[str, Any] | None) -> CodeReference | CodeText | None:
    if code is None:
        return None
    if code.get("kind") == "python":
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
