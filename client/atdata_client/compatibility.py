"""Whether the samples of one type are samples of another, and if not, why.

Compatible means: every sample that was valid stays valid, and loads. So a field may be added when
it is optional, become optional, or allow more (int → float, a free dimension); anything else
breaks. Names, descriptions and metadata may change freely. Nothing here asks the network: schemas
of nested samples come from `nested`, and where it does not know them links that differ break.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from atdata_client._records.lexicon import check_record
from atdata_client._schemas.wanted import ANY_DTYPE, Wanted, wanted_by_class, wanted_by_schema
from atdata_schemas.records import Field, FieldType, NDArray, Nested, Primitive, Schema

type SchemaLike = Schema | Mapping[str, Any]
"""A schema as a value, or as the record it is published as."""

type FindSchema = Callable[[str], SchemaLike | None]
"""Gives the schema at an AT-URI, None where it is not known."""


@dataclass(frozen=True, slots=True)
class Compatibility:
    """What a comparison found; true when compatible.

    `reasons` say why not, one difference each; `changes` are the differences that do no harm.
    `str()` is one line: `breaking: field 'x' was removed`.
    """

    compatible: bool
    reasons: tuple[str, ...]
    changes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.compatible

    def __str__(self) -> str:
        verdict, words = ("compatible", self.changes) if self else ("breaking", self.reasons)
        return f"{verdict}: {'; '.join(words)}" if words else verdict


def compare(old: SchemaLike, new: SchemaLike, *, nested: FindSchema | None = None) -> Compatibility:
    """Whether samples written as `old` can be read as `new`: two versions of one schema, say.

    Raises ValidationError for a record that is no schema, and what `nested` raises.
    """
    before, after = as_schema(old), as_schema(new)
    found = list(_fields(before.fields, wanted_by_schema(after), _CHANGED, nested, frozenset()))
    told = [
        _Difference(False, f"the {what} changed")
        for what in ("name", "description")
        if getattr(before, what) != getattr(after, what)
    ]
    if isinstance(old, Mapping) and isinstance(new, Mapping) and _metadata(old) != _metadata(new):
        told.append(_Difference(False, "the metadata changed"))
    return _verdict(found + told)


def check(schema: SchemaLike, cls: type, *, nested: FindSchema | None = None) -> Compatibility:
    """Whether samples of `schema` load as `cls`, a sample class.

    A field that `cls` has and the schema has not needs a default, for it is never in the data. An
    array needs the bare annotation `NDArray` (or `NDArray | None`): atdata leaves bytes elsewhere.
    Raises ValueError when `cls` is no dataclass or the record no schema, and what `nested` raises.
    """
    words = _words_of(cls)
    return _verdict(
        _fields(as_schema(schema).fields, wanted_by_class(cls), words, nested, frozenset())
    )


def as_schema(schema: SchemaLike) -> Schema:
    """The schema of a record. Raises ValidationError when it is none."""
    if isinstance(schema, Schema):
        return schema
    read = check_record(schema)
    if not isinstance(read, Schema):
        raise ValueError(f"the record is a {schema['$type']}, not a schema")
    return read


class _Difference(NamedTuple):
    breaks: bool
    words: str


class _Words(NamedTuple):
    """How differences are told: between two versions, or a schema and a class."""

    differs: str
    gone: str
    needed: str
    spare: str


_CHANGED = _Words(
    differs="field {0!r} was {1}, now is {2}",
    gone="field {0!r} was removed",
    needed="field {0!r} was added and is not optional",
    spare="field {0!r} was added and is optional",
)


def _words_of(cls: type) -> _Words:
    name = cls.__name__.replace("{", "{{").replace("}", "}}")
    return _Words(
        differs=f"field {{0!r}} is {{1}} in the schema, {{2}} in {name}",
        gone=f"field {{0!r}} of the schema is not in {name}",
        needed=f"field {{0!r}} of {name} has no default and is not in the schema",
        spare=f"field {{0!r}} of {name} is not in the schema and keeps its default",
    )


def _verdict(found: Iterator[_Difference] | list[_Difference]) -> Compatibility:
    found = list(found)
    reasons = tuple(words for breaks, words in found if breaks)
    changes = tuple(words for breaks, words in found if not breaks)
    return Compatibility(not reasons, reasons, changes)


def _fields(
    fields: tuple[Field, ...],
    wanted: list[Wanted],
    words: _Words,
    nested: FindSchema | None,
    above: frozenset[object],
) -> Iterator[_Difference]:
    by_name = {want.name: want for want in wanted}
    for field in fields:
        want = by_name.pop(field.name, None)
        if want is None:
            yield _Difference(True, words.gone.format(field.name))
        elif want.fault is not None:
            yield _Difference(True, want.fault)
        else:
            yield from _field(field, want, words, nested, above)
    for want in by_name.values():
        said = words.needed if want.needed else words.spare
        yield _Difference(want.needed, said.format(want.name))


def _field(
    field: Field,
    want: Wanted,
    words: _Words,
    nested: FindSchema | None,
    above: frozenset[object],
) -> Iterator[_Difference]:
    assert want.type is not None
    if isinstance(field.type, Nested) and isinstance(want.type, Nested | type):
        yield from _nested(field, field.type.schema_ref, want.type, words, nested, above)
    elif not _same(field.type, want.type):
        said = words.differs.format(field.name, _text(field.type), _text(want.type))
        yield _Difference(not _allows(field.type, want.type), said)
    if field.optional != want.optional:
        states = ("optional", "required") if field.optional else ("required", "optional")
        yield _Difference(field.optional, words.differs.format(field.name, *states))


def _nested(
    field: Field,
    ref: str,
    want: Nested | type,
    words: _Words,
    nested: FindSchema | None,
    above: frozenset[object],
) -> Iterator[_Difference]:
    outer, key = words, (ref, want)
    if (isinstance(want, Nested) and want.schema_ref == ref) or key in above:
        return
    known = None if nested is None else nested(ref)
    if isinstance(want, Nested):
        new = None if nested is None else nested(want.schema_ref)
        inner = None if new is None else wanted_by_schema(as_schema(new))
    else:
        words, inner = _words_of(want), wanted_by_class(want)
    if known is None or inner is None:
        yield _Difference(True, outer.differs.format(field.name, _text(field.type), _text(want)))
        return
    for breaks, said in _fields(as_schema(known).fields, inner, words, nested, above | {key}):
        yield _Difference(breaks, f"in {field.name!r}: {said}")


def _same(was: FieldType, now: FieldType | type) -> bool:
    if isinstance(was, NDArray) and isinstance(now, NDArray):
        # A class that says nothing of an array says nothing else of it either.
        unsaid = now.dtype == ANY_DTYPE and now.shape is None
        return unsaid or (_same_dtype(was.dtype, now.dtype) and was.shape == now.shape)
    return was == now


def _allows(was: FieldType, now: FieldType | type) -> bool:
    """Whether every value of the one is a value of the other, which is not the same."""
    match was, now:
        case Primitive("int"), Primitive("float"):
            return True
        case NDArray(dtype, shape), NDArray(other, wanted):
            return _same_dtype(dtype, other) and _fits(shape, wanted)
    return False


def _fits(shape: tuple[int | None, ...] | None, wanted: tuple[int | None, ...] | None) -> bool:
    if wanted is None:
        return True
    return (
        shape is not None
        and len(shape) == len(wanted)
        and all(need in (None, size) for size, need in zip(shape, wanted, strict=True))
    )


def _same_dtype(one: str, other: str) -> bool:
    return other in (ANY_DTYPE, one) or dtype_name(one) == dtype_name(other)


def dtype_name(dtype: str) -> str:
    """The name NumPy has for a dtype (`float32` for `<f4`); the text as it is where it has none."""
    try:
        import numpy as np

        return np.dtype(dtype).name
    except (ImportError, TypeError):  # the thin install has no NumPy
        return dtype


def _text(declared: FieldType | type | None) -> str:
    match declared:
        case Primitive(primitive):
            return primitive
        case NDArray(dtype, shape):
            sizes = "" if shape is None else f" ({', '.join(_size(size) for size in shape)})"
            return f"an array of {dtype or 'any dtype'}{sizes}"
        case Nested(schema_ref):
            return f"a sample of {schema_ref}"
    return f"a sample of {getattr(declared, '__name__', declared)}"


def _size(size: int | None) -> str:
    return "*" if size is None else str(size)


def _metadata(record: Mapping[str, Any]) -> object:
    return record.get("metadata") or None
