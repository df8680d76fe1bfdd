"""A record of one namespace in the words of the other, where nothing is lost. Pure.

What comes out passes the other lexicon and means the same: put back, it gives the same values. A
record that says anything the other namespace has no word for is not translated at all.
"""

from collections.abc import Callable, Container, Mapping
from functools import cache
from typing import Any

from atdata_schemas import alt
from atdata_schemas.errors import ValidationError
from atdata_schemas.lexicon import Json, lexicons
from atdata_schemas.records import DATASET_NSID, LENS_NSID, SCHEMA_NSID, parse_record

type _Members = dict[str, Json]

_ANY_TID = "2" * 13
_DRAFT = "http://json-schema.org/draft-07/schema#"
_EXTERNAL = f"{alt.NAMESPACE}.storageExternal"
_JSON_SCHEMA = f"{alt.SCHEMA_NSID}#jsonSchemaFormat"
_NDARRAY = f"https://alt.science/schemas/atdata-ndarray-bytes/1.1.0{alt.NDARRAY_DEF}"
_PRIMITIVES: Mapping[str, Mapping[str, Json]] = {
    "str": {"type": "string"},
    "bytes": {"type": "string", "format": "byte", "contentEncoding": "base64"},
    **{name: {"type": kind} for kind, name in alt.PRIMITIVES.items()},
}

_SIZE = {"samples", "bytes"}
_CODE = {"repository", "commit", "path"}
_CODES = ("getterCode", "putterCode")


def to_alt(record: Mapping[str, Any]) -> _Members | None:
    """A record of `app.bsky.atdata` as one of `science.alt.dataset`; None where it cannot be."""
    return _translated(
        record, {DATASET_NSID: _entry, SCHEMA_NSID: _alt_schema, LENS_NSID: _alt_lens}
    )


def from_alt(record: Mapping[str, Any]) -> _Members | None:
    """A record of `science.alt.dataset` as one of `app.bsky.atdata`; None where it cannot be."""
    return _translated(
        record, {alt.ENTRY_NSID: _dataset, alt.SCHEMA_NSID: _schema, alt.LENS_NSID: _lens}
    )


class _Untranslatable(Exception):
    """The other namespace has no word for something."""


def _translated(
    record: Mapping[str, Any], translations: Mapping[str, Callable[[Mapping[str, Any]], _Members]]
) -> _Members | None:
    try:
        found = translations[record["$type"]](record)
        parse_record(found["$type"], _ANY_TID, found)
    except (_Untranslatable, KeyError, ValidationError):
        return None
    return found


def _entry(record: Mapping[str, Any]) -> _Members:
    same = _carried(record, "urls")
    _known(record.get("size", {}), _SIZE)
    storage = {"$type": _EXTERNAL, "urls": record["urls"]}
    return {"$type": alt.ENTRY_NSID, **same, "storage": storage}


def _dataset(record: Mapping[str, Any]) -> _Members:
    same = _carried(record, "storage")
    _known(record.get("size", {}), _SIZE)
    if record["storage"]["$type"] != _EXTERNAL:
        raise _Untranslatable
    _known(record["storage"], {"$type", "urls"})
    return {"$type": DATASET_NSID, **same, "urls": record["storage"]["urls"]}


def _alt_schema(record: Mapping[str, Any]) -> _Members:
    same = _carried(record, "fields")
    names = [field["name"] for field in record["fields"]]
    if len(set(names)) < len(names):
        raise _Untranslatable
    schema: _Members = {"$type": _JSON_SCHEMA, "$schema": _DRAFT, "type": "object"}
    schema["properties"] = {field["name"]: _property(field) for field in record["fields"]}
    required = [field["name"] for field in record["fields"] if not field.get("optional", False)]
    if required:
        schema["required"] = required
    if any(field["type"]["kind"] == "ndarray" for field in record["fields"]):
        schema["arrayFormatVersions"] = {"ndarrayBytes": "1.1.0"}
    return {"$type": alt.SCHEMA_NSID, **same, "schemaType": "jsonSchema", "schema": schema}


def _property(field: Mapping[str, Any]) -> _Members:
    _known(field, {"name", "type", "optional", "description"})
    about = {"description": field["description"]} if "description" in field else {}
    declared = field["type"]
    match declared["kind"]:
        case "primitive":
            _known(declared, {"$type", "kind", "primitive"})
            return {**_PRIMITIVES[declared["primitive"]], **about}
        case "ndarray":
            _known(declared, {"$type", "kind", "dtype", "shape"})
            shape = declared.get("shape")
            said = {"dtype": declared["dtype"]} | ({} if shape is None else {"shape": shape})
            return {"$ref": _NDARRAY, **said, **about}
        case _:
            raise _Untranslatable


def _schema(record: Mapping[str, Any]) -> _Members:
    same = _carried(record, "schemaType", "schema", "atdataSchemaVersion")
    if record["schemaType"] != "jsonSchema" or record.get("atdataSchemaVersion", 1) != 1:
        raise _Untranslatable
    schema = record["schema"]
    _known(schema, {"$type", "$schema", "type", "properties", "required", "arrayFormatVersions"})
    fields = alt.fields_of({"$type": alt.SCHEMA_NSID, **record})
    for field in fields:
        # The version of the array format apart, it must be what this field would be written as.
        declared = schema["properties"][field["name"]]
        if declared != _property(field) | (
            {"$ref": declared["$ref"]} if "$ref" in declared else {}
        ):
            raise _Untranslatable
    return {"$type": SCHEMA_NSID, **same, "fields": fields}


def _alt_lens(record: Mapping[str, Any]) -> _Members:
    same = _carried(record, *_CODES)
    codes: _Members = {}
    for name in _CODES:
        code = dict(record[name])
        if code.pop("kind") != "reference":
            raise _Untranslatable
        codes[name] = _known(code, _CODE)
    return {"$type": alt.LENS_NSID, **same, **codes}


def _lens(record: Mapping[str, Any]) -> _Members:
    same = _carried(record, *_CODES)
    codes = {name: {"kind": "reference", **_known(record[name], _CODE)} for name in _CODES}
    return {"$type": LENS_NSID, **same, **codes}


def _carried(record: Mapping[str, Any], *translated: str) -> _Members:
    """The members that are taken over: those of one meaning in both lexicons, and those of none."""
    rest = {name: one for name, one in record.items() if name not in {"$type", *translated}}
    if rest.keys() & _unshared(record["$type"]):
        raise _Untranslatable
    return rest


@cache
def _unshared(nsid: str) -> frozenset[str]:
    """The members of a record that only its own or only the other's lexicon knows."""
    pairs = ({DATASET_NSID, alt.ENTRY_NSID}, {SCHEMA_NSID, alt.SCHEMA_NSID})
    pair = next((pair for pair in pairs if nsid in pair), {LENS_NSID, alt.LENS_NSID})
    known = [lexicons().document(one)["defs"]["main"]["record"]["properties"] for one in pair]
    return frozenset(known[0].keys() ^ known[1].keys())


def _known(members: Mapping[str, Any], names: Container[str]) -> _Members:
    """The members again, of which none may have another name."""
    if any(name not in names for name in members):
        raise _Untranslatable
    return dict(members)
