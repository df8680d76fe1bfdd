"""From the annotations of a sample class to the fields of its schema. Publishes nothing.

Array annotations: `NDArray[np.uint8]`, `NDArray[np.uint8, (None, 3)]`, `np.ndarray[shape, dtype]`,
`Annotated[NDArray, np.uint8, (None, 3)]`; and for classes whose annotation must stay a bare
`NDArray` (atdata turns only those back into arrays) the same is said beside it, with
`field(metadata={"dtype": "uint8", "shape": (None, 3)})`.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAliasType, Union, get_args, get_origin

from atdata_client._warn import warn
from atdata_client.errors import UnsupportedTypeError

PRIMITIVES: Mapping[object, str] = {
    str: "str",
    int: "int",
    float: "float",
    bool: "bool",
    bytes: "bytes",
}
DEFAULT_DTYPE = "float32"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field as its annotation describes it; `declared` is a type record, or a nested class.

    `read_field` leaves the dtype of an array None where nothing names it.
    """

    name: str
    declared: Mapping[str, Any] | type
    optional: bool
    description: str | None = None

    def record(self, refs: Mapping[type, str]) -> dict[str, Any]:
        """The field's record; `refs` has the AT-URIs of the schemas of nested classes."""
        declared = self.declared
        if isinstance(declared, type):
            try:
                declared = {"kind": "nested", "schemaRef": refs[declared]}
            except KeyError:
                why = "its own schema is not published yet"
                raise UnsupportedTypeError(declared, self.name, why) from None
        record = {"name": self.name, "type": dict(declared), "optional": self.optional}
        return record | ({"description": self.description} if self.description else {})


def field_specs(sample_type: type) -> list[FieldSpec]:
    """The fields of a dataclass, in order.

    Raises ValueError when it is not a dataclass or an annotation names nothing,
    UnsupportedTypeError for a field no schema can express. Warns (UserWarning) of each array whose
    dtype is not said.
    """
    return [
        field_spec(field.name, annotation, field.metadata)
        for field, annotation in annotated_fields(sample_type)
    ]


def annotated_fields(sample_type: type) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """The fields of a dataclass, each with its annotation as a value.

    Raises ValueError when it is not a dataclass or an annotation names nothing.
    """
    if not (isinstance(sample_type, type) and dataclasses.is_dataclass(sample_type)):
        raise ValueError(f"{sample_type} must be a dataclass")
    from typing import get_type_hints

    try:
        hints = get_type_hints(sample_type, include_extras=True)
    except NameError as error:
        raise ValueError(f"{sample_type}: an annotation cannot be resolved: {error}") from error
    return ((field, hints[field.name]) for field in dataclasses.fields(sample_type))


def field_spec(name: str, annotation: Any, said: Mapping[Any, Any] | None = None) -> FieldSpec:
    """One field; `said` is the metadata of its `dataclasses.field`: dtype, shape, description.

    Raises UnsupportedTypeError. An array whose dtype is not said is float32, with a warning.
    """
    spec = read_field(name, annotation, said)
    if isinstance(spec.declared, type) or spec.declared.get("dtype", "") is not None:
        return spec
    warn(
        f"field {name!r}: its annotation names no dtype, so the schema says {DEFAULT_DTYPE}. "
        'Say more with NDArray[np.uint8], or keep NDArray and add = field(metadata={"dtype": '
        '"uint8", "shape": (None, 3)})',
    )
    return dataclasses.replace(spec, declared={**spec.declared, "dtype": DEFAULT_DTYPE})


def read_field(name: str, annotation: Any, said: Mapping[Any, Any] | None = None) -> FieldSpec:
    """What `field_spec` gives, but an array whose dtype is not said keeps dtype None."""
    said = said or {}
    where = name or None  # a type that stands alone has no field to name
    inner, optional, extras = _unwrap(annotation, where)
    description = said.get("description")
    return FieldSpec(name, _type(inner, where, extras, said), optional, description)


def nested_first(sample_type: type) -> dict[type, list[FieldSpec]]:
    """The fields of a sample class and of all classes nested in it, every class after its parts.

    Raises what `field_specs` raises, and UnsupportedTypeError for a class that contains itself.
    """
    done: dict[type, list[FieldSpec]] = {}

    def visit(cls: type, above: tuple[type, ...]) -> None:
        specs = field_specs(cls)
        for spec in specs:
            if isinstance(spec.declared, type) and spec.declared not in done:
                if spec.declared in (*above, cls):
                    raise UnsupportedTypeError(spec.declared, spec.name, "it contains itself")
                visit(spec.declared, (*above, cls))
        done[cls] = specs

    visit(sample_type, ())
    return done


def class_description(sample_type: type) -> str | None:
    """The docstring of a sample class, None where it is the one dataclasses write.

    Only its first paragraph when it is longer than a schema's description may be.
    """
    doc = sample_type.__doc__
    if not doc or doc.startswith(f"{sample_type.__name__}("):
        return None
    text = inspect.cleandoc(doc)
    if len(text.encode()) > 1000:
        text = text.partition("\n\n")[0]
    return text if len(text.encode()) <= 1000 else None


def _unwrap(annotation: Any, name: str | None) -> tuple[Any, bool, list[Any]]:
    """What is inside aliases, Annotated and Optional; whether None is allowed; the extras."""
    optional = False
    extras: list[Any] = []
    while True:
        origin = get_origin(annotation)
        if isinstance(annotation, TypeAliasType):
            annotation = annotation.__value__
        elif isinstance(origin, TypeAliasType):
            # numpy's NDArray has one parameter, the dtype: what stands after it is a shape.
            known = len(origin.__type_params__)
            arguments = get_args(annotation)
            extras += arguments[known:]
            annotation = origin.__value__[arguments[:known]]
        elif origin is Annotated:
            annotation, *more = get_args(annotation)
            extras += more
        elif origin is Union or origin is types.UnionType:
            members = [arg for arg in get_args(annotation) if arg is not types.NoneType]
            if len(members) != 1:
                raise UnsupportedTypeError(annotation, name, "a union of several types")
            annotation, optional = members[0], True
        else:
            return annotation, optional, extras


def _type(
    python_type: Any, name: str | None, extras: list[Any], said: Mapping[Any, Any]
) -> Mapping[str, Any] | type:
    try:
        primitive = PRIMITIVES.get(python_type)
    except TypeError:  # not hashable, so none of them
        primitive = None
    if primitive is not None:
        return {"kind": "primitive", "primitive": primitive}
    origin = get_origin(python_type) or python_type
    numpy = sys.modules.get("numpy")
    if numpy is not None and origin is numpy.ndarray:
        return _array(python_type, name, extras, said)
    if _is_sample(python_type):
        nested: type = python_type
        return nested
    raise UnsupportedTypeError(python_type, name)


def _is_sample(python_type: Any) -> bool:
    # Where atdata is not loaded nothing can derive from its PackableSample.
    atdata = sys.modules.get("atdata")
    return (
        atdata is not None
        and isinstance(python_type, type)
        and dataclasses.is_dataclass(python_type)
        and issubclass(python_type, atdata.PackableSample)
    )


def _array(
    annotation: Any, name: str | None, extras: list[Any], said: Mapping[Any, Any]
) -> dict[str, Any]:
    dtype, shape = None, None
    arguments = get_args(annotation)
    if len(arguments) == 2:
        shape = _annotated_shape(arguments[0], name)
        dtype = _dtype(next(iter(get_args(arguments[1])), arguments[1]))
    for extra in extras:
        if isinstance(extra, list) or _is_shape(extra):
            shape = _annotated_shape(extra, name)
        else:
            dtype = _dtype(extra) or dtype
    if "dtype" in said:
        dtype = _dtype(said["dtype"])
        if dtype is None:
            raise UnsupportedTypeError(annotation, name, f"{said['dtype']!r} is no dtype")
    if said.get("shape") is not None:
        shape = _plain_shape(said["shape"], name)
    if dtype == "object":
        raise UnsupportedTypeError(annotation, name, "arrays of Python objects cannot be packed")
    if dtype is not None and _dtype(dtype) != dtype:
        raise UnsupportedTypeError(annotation, name, f"a dtype without a name ({dtype})")
    return {"kind": "ndarray", "dtype": dtype} | ({} if shape is None else {"shape": shape})


def _dtype(said: Any) -> str | None:
    """The name of one concrete dtype, None where `said` is none (a TypeVar, Any, np.floating)."""
    import numpy as np

    if isinstance(said, np.dtype):
        return said.name
    try:
        if isinstance(said, str):
            return np.dtype(said).name
        if isinstance(said, type) and issubclass(said, np.generic):
            dtype = np.dtype(said)
            return dtype.name if dtype.type is said else None
    except TypeError:
        pass
    return None


def _is_shape(said: Any) -> bool:
    return isinstance(said, tuple) or get_origin(said) is tuple


def _annotated_shape(shape: Any, name: str | None) -> list[int | None] | None:
    """The shape in `np.ndarray[shape, …]`: Literal[3] is 3, anything else a free dimension."""
    if isinstance(shape, tuple | list):
        return _plain_shape(shape, name)
    arguments = get_args(shape)
    if not _is_shape(shape) or Ellipsis in arguments:
        return None
    return [_dimension(argument) for argument in arguments]


def _dimension(argument: Any) -> int | None:
    values = get_args(argument) if get_origin(argument) is Literal else ()
    return values[0] if len(values) == 1 and isinstance(values[0], int) else None


def _plain_shape(shape: Any, name: str | None) -> list[int | None]:
    if not isinstance(shape, tuple | list) or not all(
        size is None or (isinstance(size, int) and size >= 0) for size in shape
    ):
        raise UnsupportedTypeError(shape, name, "a shape is a tuple of lengths, None where free")
    return list(shape)
