"""Schemas by their structure: what a field is found under, and when two schemas are alike. Pure.

Schemas of both namespaces have the same structure where they have the same fields.

A field is found under its parts, any of them left open: `image`, `image:ndarray`,
`image:ndarray:uint8:3`, `:ndarray:uint8`. Each way of leaving parts open is a term of its own, so
that a search by structure is a look-up.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from atdata_schemas import alt
from atdata_schemas.errors import ValidationError

PRIMITIVES = frozenset({"str", "int", "float", "bool", "bytes"})
KINDS = PRIMITIVES | {"primitive", "ndarray", "nested", "list", "array-format"}

MAX_FIELDS = 128
"""So many fields of a schema are searchable; a schema of an honest author has a few dozen."""

_CACHED_CHARACTERS = 8192
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Structure:
    """What a schema's fields are found by.

    `terms` answer `field=`, `kinds` are counted as facets, `names` are searched as words, `shape`
    is equal for schemas of the same fields, whatever their order; `nested` are the schemas that
    fields refer to, with their paths in the record.
    """

    terms: Sequence[str] = ()
    kinds: Sequence[str] = ()
    names: Sequence[str] = ()
    shape: str = ""
    nested: Sequence[tuple[str, str]] = ()


NOTHING = Structure()


def structure(body: str) -> Structure:
    """The structure of a schema record in JSON text."""
    return _cached(body) if len(body) <= _CACHED_CHARACTERS else _long(body)


def pattern_term(asked: str, name: str = "field") -> str:
    """The term that `name[:kind[:dtype[:ndim]]]` asks for; an empty part or `*` is any.

    Raises ValidationError, in which the parameter is called `name`.
    """
    parts = [part.strip().casefold() for part in asked.split(":")]
    parts = ["" if part == "*" else part for part in parts]
    if len(parts) > 4:
        raise ValidationError(name, "pattern", "has more parts than name:kind:dtype:ndim")
    field, kind, dtype, ndim = parts + [""] * (4 - len(parts))
    if kind == "primitive" and dtype in PRIMITIVES:
        kind, dtype = dtype, ""
    if not kind and (dtype or ndim):
        kind = "ndarray"
    if kind and kind not in KINDS:
        said = ", ".join(sorted(KINDS))
        raise ValidationError(name, "pattern", f"{kind[:50]} is no kind of field: {said}")
    if (dtype or ndim) and kind != "ndarray":
        raise ValidationError(name, "pattern", "only an ndarray has a dtype and dimensions")
    if ndim and not (ndim.isascii() and ndim.isdecimal() and len(ndim) <= 3):
        raise ValidationError(name, "pattern", "ndim is not a number of dimensions")
    if not any((field, kind)):
        raise ValidationError(name, "pattern", "asks for no name and no kind of field")
    return ":".join((field, kind, dtype, str(int(ndim)) if ndim else ""))


def _of(body: str) -> Structure:
    fields = _fields(json.loads(body))
    shape = sorted(json.dumps(list(_shape(field))) for field in fields)
    return Structure(
        terms=sorted({term for field in fields[:MAX_FIELDS] for term in _terms(field)}),
        kinds=sorted({_kind(field["type"]) for field in fields[:MAX_FIELDS]}),
        names=[field["name"] for field in fields[:MAX_FIELDS]],
        shape=blake2b("\n".join(shape).encode(), digest_size=16).hexdigest(),
        nested=[
            (f"fields[{number}].type.schemaRef", field["type"]["schemaRef"])
            for number, field in enumerate(fields)
            if field["type"]["kind"] == "nested"
        ],
    )


_cached = lru_cache(maxsize=4096)(_of)
_long = lru_cache(maxsize=16)(_of)
"""A long schema takes milliseconds, and may have thousands of datasets that are made one by one."""


def _fields(record: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """The fields of a schema; what is too long to be asked for is left out."""
    if record.get("$type") != alt.SCHEMA_NSID:
        return record.get("fields", ())  # type: ignore[no-any-return]  # as the lexicon has it
    return [field for field in alt.fields_of(record) if len(field["name"]) <= _LONGEST_NAME]


def _shape(field: dict[str, Any]) -> Iterator[Any]:
    """What two fields must share to be the same; a description does not count."""
    declared = field["type"]
    yield field["name"]
    yield bool(field.get("optional"))
    for part in ("kind", "primitive", "dtype", "shape", "schemaRef"):
        yield declared.get(part)
    yield from (declared[part] for part in ("items", "format") if part in declared)


def _kind(declared: dict[str, Any]) -> str:
    """The kind of field that facets count: `str`, `ndarray:uint8`, `nested`."""
    match declared["kind"]:
        case "primitive":
            return str(declared["primitive"])
        case "ndarray":
            dtype = declared.get("dtype", "").casefold()
            return f"ndarray:{dtype}" if dtype else "ndarray"
        case kind:
            return str(kind)


def _terms(field: dict[str, Any]) -> Iterator[str]:
    name, declared = field["name"].casefold(), field["type"]
    kinds = [declared["kind"]]
    rests = ["::"]
    match declared["kind"]:
        case "primitive":
            kinds.append(declared["primitive"])
        case "ndarray":
            dtype, shape = declared.get("dtype", "").casefold(), declared.get("shape")
            if dtype:
                rests.append(f":{dtype}:")
            if shape is not None:
                rests.append(f"::{len(shape)}")
            if dtype and shape is not None:
                rests.append(f":{dtype}:{len(shape)}")
    yield f"{name}:::"
    for kind in kinds:
        for rest in rests:
            yield f"{name}:{kind}{rest}"
            yield f":{kind}{rest}"
