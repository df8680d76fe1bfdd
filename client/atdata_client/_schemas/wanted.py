"""What a type, schema or class, wants of each field of a sample. Reads annotations only."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atdata_client._schemas.annotations import annotated_fields, read_field
from atdata_client.errors import UnsupportedTypeError
from atdata_schemas.records import FieldType, NDArray, Primitive, Schema

ANY_DTYPE = ""
"""The dtype of an array that may be of any."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a field must be; of a nested sample the class stands for its schema where it is known.

    `fault` says why no sample loads whatever its value. `dtype` `ANY_DTYPE` takes any array.
    """

    name: str
    type: FieldType | type | None
    optional: bool
    needed: bool
    fault: str | None = None


def wanted_by_schema(schema: Schema) -> list[Wanted]:
    """The fields of a schema; only those that are not optional must be there."""
    return [
        Wanted(field.name, field.type, field.optional, not field.optional)
        for field in schema.fields
    ]


def wanted_by_class(cls: type) -> list[Wanted]:
    """The fields of a sample class; those without a default must be there.

    Raises ValueError when it is no dataclass.
    """
    taken = []
    for field, annotation in annotated_fields(cls):
        if not field.init:
            continue
        missing = dataclasses.MISSING
        needed = field.default is missing and field.default_factory is missing
        try:
            spec = read_field(field.name, annotation, field.metadata)
        except UnsupportedTypeError as error:
            taken.append(Wanted(field.name, None, False, needed, str(error)))
            continue
        declared, fault = _field_type(spec.declared), None
        if isinstance(declared, NDArray) and not _decodes(field.type):
            fault = (
                f"field {field.name!r} of {cls.__name__}: atdata leaves bytes where an array is "
                "not annotated with a bare NDArray; write NDArray, and what there is to say of it "
                'in field(metadata={"dtype": …, "shape": …})'
            )
        taken.append(Wanted(field.name, declared, spec.optional, needed, fault))
    return taken


def _field_type(declared: Mapping[str, Any] | type) -> FieldType | type:
    if isinstance(declared, type):
        return declared
    if declared["kind"] == "primitive":
        return Primitive(declared["primitive"])
    shape = declared.get("shape")
    return NDArray(declared["dtype"] or ANY_DTYPE, None if shape is None else tuple(shape))


def _decodes(annotation: object) -> bool:
    """Whether atdata makes an array of the bytes in a field annotated so."""
    numpy_typing = sys.modules.get("numpy.typing")
    bare = None if numpy_typing is None else numpy_typing.NDArray
    members = annotation.__args__ if isinstance(annotation, types.UnionType) else (annotation,)
    return bare is not None and any(member == bare for member in members)
