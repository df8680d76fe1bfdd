"""What records of `science.alt.dataset.*` say, in the terms of this project's own. Pure.

The shapes are those that are published: a JSON Schema flat or in an envelope, shards over HTTP, in
S3, as blobs or by URLs. What has no counterpart here (lists, other formats of arrays) keeps a kind
of its own, and is left as it was in the record.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from atdata_schemas.errors import ValidationError
from atdata_schemas.lexicon import Json

NAMESPACE = "science.alt.dataset"
SCHEMA_NSID = f"{NAMESPACE}.schema"
ENTRY_NSID = f"{NAMESPACE}.entry"
LENS_NSID = f"{NAMESPACE}.lens"
LABEL_NSID = f"{NAMESPACE}.label"
VERIFICATION_NSID = f"{NAMESPACE}.lensVerification"
INDEX_NSID = f"{NAMESPACE}.index"

NDARRAY_DEF = "#/$defs/ndarray"
"""What the reference of a field that is an array ends in, whatever the version before it."""

PRIMITIVES = {"integer": "int", "number": "float", "boolean": "bool"}
"""JSON Schema's types that say all by themselves. A string may be bytes."""

_MOST_DTYPE = 20


def fields_of(record: Mapping[str, Any]) -> list[dict[str, Json]]:
    """The fields of a schema record, as `app.bsky.atdata.schema#field` has them.

    Beside its three kinds there are `list` (with `items`, the type of what is in it, where that is
    said), `array-format` (with its name as `format`) and `other`. An array without `dtype` does not
    say it. Raises ValidationError where the JSON Schema has no properties.
    """
    if record["schemaType"] != "jsonSchema":
        return []
    properties, required, path = _properties(record["schema"])
    fields: list[dict[str, Json]] = []
    for name, declared in properties.items():
        if not isinstance(declared, dict):
            raise ValidationError(f"{path}.{name}", "type", "not an object")
        field: dict[str, Json] = {"name": name, "type": _type(declared)}
        if name not in required:
            field["optional"] = True
        if isinstance(about := declared.get("description"), str):
            field["description"] = about
        fields.append(field)
    return fields


def urls_of(storage: Mapping[str, Any]) -> Sequence[str]:
    """Where the shards of a dataset are; none where they are blobs, which only a PDS can place."""
    match storage.get("$type"):
        case "science.alt.dataset.storageHttp":
            return [shard["url"] for shard in storage["shards"]]
        case "science.alt.dataset.storageS3":
            endpoint = storage.get("endpoint")
            root = f"{endpoint.rstrip('/')}/" if endpoint else "s3://"
            return [f"{root}{storage['bucket']}/{shard['key']}" for shard in storage["shards"]]
        case "science.alt.dataset.storageExternal":
            return list(storage["urls"])
        case _:
            return []


def blobs_of(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The blobs that hold the shards of a dataset."""
    storage = record.get("storage")
    if isinstance(storage, dict) and storage.get("$type") == f"{NAMESPACE}.storageBlobs":
        for entry in storage["blobs"]:
            yield entry["blob"]


def _properties(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], Sequence[Any], str]:
    """The properties of a JSON Schema, the names of those that must be, and the path to them."""
    path = "schema"
    if "properties" not in schema and isinstance(content := schema.get("content"), dict):
        schema, path = content, "schema.content"  # version 0.4 wrote it so
    properties, required = schema.get("properties"), schema.get("required", [])
    path = f"{path}.properties"
    if not isinstance(properties, dict):
        raise ValidationError(path, "required", "missing, or not an object")
    return properties, required if isinstance(required, list) else [], path


def _type(declared: Mapping[str, Any]) -> dict[str, Json]:
    """The type of a field, as `app.bsky.atdata.schema` has it or like it."""
    reference = declared.get("$ref")
    if isinstance(reference, str):
        if reference.endswith(NDARRAY_DEF):
            return {"kind": "ndarray", **_array(declared)}
        return {"kind": "array-format", "format": reference.rpartition("/")[2]}
    kinds = declared.get("type")
    if isinstance(kinds, list):  # that it may be null is said by `required` as well
        kinds = next((kind for kind in kinds if kind != "null"), None)
    match kinds:
        case "string":
            is_bytes = declared.get("format") == "byte" or "contentEncoding" in declared
            return {"kind": "primitive", "primitive": "bytes" if is_bytes else "str"}
        case str(kind) if kind in PRIMITIVES:
            return {"kind": "primitive", "primitive": PRIMITIVES[kind]}
        case "array":
            items = declared.get("items")
            return {"kind": "list"} | ({"items": _type(items)} if isinstance(items, dict) else {})
        case _:
            return {"kind": "other"}


def _array(declared: Mapping[str, Any]) -> dict[str, Json]:
    """What version 1.1.0 says of an array, as far as it says so properly."""
    said: dict[str, Json] = {}
    dtype, shape = declared.get("dtype"), declared.get("shape")
    if isinstance(dtype, str) and 0 < len(dtype) <= _MOST_DTYPE:
        said["dtype"] = dtype
    if isinstance(shape, list) and all(_is_length(length) for length in shape):
        said["shape"] = shape
    return said


def _is_length(length: object) -> bool:
    return length is None or (type(length) is int and length >= 0)
