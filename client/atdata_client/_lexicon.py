"""Builders of the records this package publishes, and the check before they leave.

Records are built with Python `bytes` where the lexicon says bytes; `to_json` gives the JSON form
in which they travel. What is unset or empty is left out: absent, not "" and not [].
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from atdata_schemas.errors import ValidationError
from atdata_schemas.lexicon import MAX_INTEGER, decode_bytes
from atdata_schemas.records import DATASET_NSID, LENS_NSID, SCHEMA_NSID, parse_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from atdata_schemas.records import Record

__all__ = ["DATASET_NSID", "LENS_NSID", "SCHEMA_NSID"]

# The PDS chooses the key, always a TID; the check needs one to be complete.
_ANY_TID = "2222222222222"


def build_schema_record(
    *,
    name: str,
    version: str,
    fields: Sequence[Mapping[str, Any]],
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A record of `app.bsky.atdata.schema`, created now."""
    return _record(
        SCHEMA_NSID,
        {"name": name, "version": version, "fields": list(fields)},
        {"description": description, "metadata": metadata},
    )


def build_dataset_record(
    *,
    name: str,
    schema_uri: str,
    urls: Sequence[str],
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Sequence[str] | None = None,
    license: str | None = None,
) -> dict[str, Any]:
    """A record of `app.bsky.atdata.dataset`, created now; `metadata` is packed with msgpack.

    Raises ValidationError when `metadata` is not what msgpack can hold.
    """
    return _record(
        DATASET_NSID,
        {"name": name, "schemaRef": schema_uri, "urls": list(urls)},
        {
            "description": description,
            "metadata": pack_metadata(metadata),
            "tags": list(tags or ()),
            "license": license,
        },
    )


def build_lens_record(
    *,
    name: str,
    source_schema_uri: str,
    target_schema_uri: str,
    getter_code: Mapping[str, str],
    putter_code: Mapping[str, str],
    description: str | None = None,
) -> dict[str, Any]:
    """A record of `app.bsky.atdata.lens`, created now."""
    return _record(
        LENS_NSID,
        {
            "name": name,
            "sourceSchema": source_schema_uri,
            "targetSchema": target_schema_uri,
            "getterCode": dict(getter_code),
            "putterCode": dict(putter_code),
        },
        {"description": description},
    )


def code_reference(function: Callable[..., Any], repository: str, commit: str) -> dict[str, str]:
    """Where the code of `function` can be read: repository, commit, and path `module:qualname`.

    Raises ValueError for a callable that has no name of its own (a partial, an instance).
    """
    module, qualname = (getattr(function, key, None) for key in ("__module__", "__qualname__"))
    if not isinstance(module, str) or not isinstance(qualname, str):
        raise ValueError(f"not a named function, so nothing to refer to: {function!r}")
    path = f"{module}:{qualname}"
    return {"kind": "reference", "repository": repository, "commit": commit, "path": path}


def check_record(record: Mapping[str, Any]) -> Record:
    """The typed value of a record about to be published.

    Raises ValidationError, which names the field and the rule it breaks.
    """
    return parse_record(record["$type"], _ANY_TID, to_json(record))


def to_json(value: Any, path: str = "") -> Any:
    """The JSON form of a value of the AT Protocol data model (spec: data-model).

    Python bytes become `{"$bytes": unpadded base64}`, tuples lists; the JSON form stays as it is.
    Raises ValidationError for what the data model has no place for: floats, integers beyond
    ±(2**53 - 1), keys that are not strings, other types.
    """
    from base64 import b64encode

    match value:
        case None | bool() | str():
            return value
        case int():
            if abs(value) > MAX_INTEGER:
                raise ValidationError(path, "type", f"integer beyond ±{MAX_INTEGER}")
            return value
        case bytes() | bytearray():
            return {"$bytes": b64encode(value).decode("ascii").rstrip("=")}
        case list() | tuple():
            return [to_json(item, f"{path}[{index}]") for index, item in enumerate(value)]
        case dict():
            return {_key(key, path): to_json(item, _join(path, key)) for key, item in value.items()}
        case float():
            raise ValidationError(path, "type", "the AT Protocol data model has no floats")
    raise ValidationError(path, "type", f"no value of the data model: {type(value).__name__}")


def pack_metadata(metadata: Mapping[str, Any] | None) -> bytes | None:
    """A dataset's metadata as the record carries it: a msgpack map, None when there is none."""
    import msgpack

    if not metadata:
        return None
    try:
        packed: bytes = msgpack.packb(dict(metadata))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValidationError("metadata", "type", f"not a msgpack map: {error}") from error
    return packed


def unpack_metadata(record: Mapping[str, Any]) -> dict[Any, Any] | None:
    """The metadata of a dataset record in JSON form (or with Python bytes), None when absent.

    Raises ValidationError when it is not a msgpack map.
    """
    import msgpack

    held = record.get("metadata")
    if held is None:
        return None
    packed = held if isinstance(held, bytes) else decode_bytes(held, "metadata")
    try:
        value = msgpack.unpackb(packed, strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise ValidationError("metadata", "type", f"not msgpack: {error}") from error
    if not isinstance(value, dict):
        raise ValidationError("metadata", "type", "not a msgpack map")
    return value


def _record(nsid: str, required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    record = {"$type": nsid, **required}
    record |= {key: value for key, value in optional.items() if value}
    return record | {"createdAt": datetime.now(UTC).isoformat().replace("+00:00", "Z")}


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise ValidationError(path, "type", f"key {key!r} is not a string")
    return key


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
