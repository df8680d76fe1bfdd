"""Builders of the records this package publishes, and the check before they leave.

Records are built with Python `bytes` where the lexicon says bytes; `to_json` gives the JSON form
in which they travel. What is unset or empty is left out: absent, not "" and not [].
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atdata_client._records.license import warn_unless_spdx
from atdata_client._warn import warn
from atdata_schemas.errors import ValidationError
from atdata_schemas.lexicon import MAX_INTEGER, decode_bytes
from atdata_schemas.records import (
    COLLECTIONS,
    DATASET_NSID,
    KINDS,
    LENS_NSID,
    SCHEMA_NSID,
    parse_record,
    record_text,
)
from atdata_schemas.translation import from_alt

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
    size: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """A record of `app.bsky.atdata.dataset`, created now; `metadata` is packed with msgpack.

    `size` has `samples` and `bytes`, or one of them. Raises ValidationError when `metadata` is not
    what msgpack can hold, for one text in place of a list of tags, and for other parts of a size.
    """
    if isinstance(tags, str):  # which is a list too, of its letters
        raise ValidationError("tags", "type", f"a list of texts, not one text: [{tags!r}]")
    for odd in (size or {}).keys() - {"samples", "bytes"}:
        raise ValidationError(f"size.{odd}", "unknown", "a size has samples and bytes")
    return _record(
        DATASET_NSID,
        {"name": name, "schemaRef": schema_uri, "urls": list(urls)},
        {
            "description": description,
            "metadata": pack_metadata(metadata),
            "tags": list(tags or ()),
            "size": dict(size or {}),
            "license": license,
        },
    )


def build_lens_record(
    *,
    name: str,
    source_schema_uri: str,
    target_schema_uri: str,
    getter_code: Mapping[str, str],
    putter_code: Mapping[str, str] | None = None,
    description: str | None = None,
) -> dict[str, Any]:
    """A record of `app.bsky.atdata.lens`, created now; without `putter_code` it is read-only."""
    return _record(
        LENS_NSID,
        {
            "name": name,
            "sourceSchema": source_schema_uri,
            "targetSchema": target_schema_uri,
            "getterCode": dict(getter_code),
        },
        {"putterCode": dict(putter_code or {}), "description": description},
    )


def code_reference(function: Callable[..., Any], repository: str, commit: str) -> dict[str, str]:
    """Where the code of `function` can be read: repository, commit, and path `module:qualname`.

    Raises ValueError for a callable that has no name of its own (a partial, an instance, a lambda).
    """
    module, qualname = (getattr(function, key, None) for key in ("__module__", "__qualname__"))
    nameless = not isinstance(qualname, str) or qualname.endswith("<lambda>")
    if not isinstance(module, str) or nameless:
        raise ValueError(f"not a named function, so nothing to refer to: {function!r}")
    path = f"{_known_as(module)}:{qualname}"
    return {"kind": "reference", "repository": repository, "commit": commit, "path": path}


def changed_record(record: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`record` with new values for some fields, without those whose value is None.

    A dataset's `metadata` may be a mapping, which is packed. Raises ValidationError when the record
    is one of this project's and breaks its lexicon thereby, ValueError for another `$type`. Warns
    (UserWarning) of a new license that is not on the SPDX list.
    """
    new = dict(changes)
    nsid = record.get("$type")
    if new.get("$type", nsid) != nsid:
        raise ValueError(f"a record of {nsid} stays one: its $type cannot change")
    metadata = new.get("metadata")
    if nsid == DATASET_NSID and isinstance(metadata, dict) and set(metadata) != {"$bytes"}:
        new["metadata"] = pack_metadata(metadata)
    changed = {key: value for key, value in {**record, **new}.items() if value is not None}
    if nsid in KINDS:
        check_record(changed)
    if nsid == DATASET_NSID:
        warn_unless_spdx(new.get("license"))
    return changed


def check_record(record: Mapping[str, Any]) -> Record:
    """The typed value of a record about to be published.

    Raises ValidationError, which names the field and the rule it breaks.
    """
    value = to_json(record)
    checked = parse_record(record["$type"], _ANY_TID, value)
    record_text(value)
    return checked


def own_words(uri: str, record: dict[str, Any], nsid: str) -> dict[str, Any]:
    """A record as one of `nsid`, those of `science.alt.dataset` in this project's words.

    Raises ValueError when it is of another kind, or something would be lost.
    """
    if record.get("$type") == nsid:
        return record
    kind = nsid.rpartition(".")[2]
    if COLLECTIONS.get(str(record.get("$type"))) != kind:
        raise ValueError(f"Record at {uri} is not a {kind} record")
    translated = from_alt(record)
    if translated is None:
        raise ValueError(f"the {kind} at {uri} says what {nsid} has no words for")
    return dict(translated)


def warn_of_handles(record: Mapping[str, Any]) -> None:
    """Warn (UserWarning) of links by handle: it may become another's, and no index follows them."""
    for field in ("schemaRef", "sourceSchema", "targetSchema"):
        uri = str(record.get(field, "at://did:"))
        if not uri.startswith("at://did:"):
            warn(
                f"{field} names an account by its handle, which may change: give the DID ({uri})",
            )


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


def _known_as(module: str) -> str:
    """The name others import a module by, where it is the program that runs here."""
    main = sys.modules.get("__main__")
    if module != "__main__" or main is None:
        return module
    if main.__spec__ is not None:  # python -m package.module
        return main.__spec__.name.removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return module if file is None else Path(file).stem


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
