"""Whether a sample is what its schema says: its types, and the dtype and shape of its arrays.

The data model of the check is atdata's: a nested sample is an object or the dict atdata makes of
it, an integer stands for a float, an optional field may be None or missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from atdata_client.compatibility import FindSchema, SchemaLike, as_schema, dtype_name
from atdata_client.errors import SampleMismatch
from atdata_schemas.records import Field, NDArray, Nested, Primitive

type Check = Callable[[object], None]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "bytes": (bytes,),
}
_UNSIZED = {"str": "U", "bytes": "S"}  # dtypes that leave the length of their items open
_MISSING = object()


def validate_sample(
    schema: SchemaLike, sample: object, *, nested: FindSchema | None = None
) -> None:
    """Check one sample against a schema. Raises what `sample_check` and its check raise."""
    sample_check(schema, nested=nested)(sample)


def sample_check(schema: SchemaLike, *, nested: FindSchema | None = None) -> Check:
    """A check of samples against `schema`, made once for all of them.

    The check raises SampleMismatch, which names the first field that is wrong and the rule it
    breaks. Nested samples are looked into where `nested` knows their schemas. Raises
    ValidationError for a record that is no schema, and what `nested` raises.
    """
    return _sample(schema, nested, "", ())


def _sample(
    schema: SchemaLike, nested: FindSchema | None, prefix: str, above: tuple[str, ...]
) -> Check:
    checks = [
        (field.name, f"{prefix}{field.name}", field.optional, _field(field, nested, prefix, above))
        for field in as_schema(schema).fields
    ]

    def check(sample: object) -> None:
        held = sample if isinstance(sample, Mapping) else None
        for name, path, optional, value_check in checks:
            value = getattr(sample, name, _MISSING) if held is None else held.get(name, _MISSING)
            if value is not None and value is not _MISSING:
                value_check(value)
            elif not optional:
                said = "is None" if value is None else "is missing"
                raise SampleMismatch(path, "required", f"it {said}, and is not optional")

    return check


def _field(field: Field, nested: FindSchema | None, prefix: str, above: tuple[str, ...]) -> Check:
    path = f"{prefix}{field.name}"
    match field.type:
        case Primitive(primitive):
            return _primitive(path, primitive)
        case NDArray(dtype, shape):
            return _array(path, dtype, shape)
        case Nested(ref):
            known = None if nested is None or ref in above else nested(ref)
            if known is not None:
                return _sample(known, nested, f"{path}.", (*above, ref))
    return lambda value: None


def _primitive(path: str, primitive: str) -> Check:
    types = _TYPES[primitive]
    plain = primitive != "bool"

    def check(value: object) -> None:
        # A bool is an int to Python, and to nobody else.
        if not isinstance(value, types) or (plain and isinstance(value, bool)):
            raise SampleMismatch(path, "type", f"{_name(value)}, the schema says {primitive}")

    return check


def _array(path: str, dtype: str, shape: tuple[int | None, ...] | None) -> Check:
    import numpy as np

    name, kind = dtype_name(dtype), _UNSIZED.get(dtype_name(dtype))

    def check(value: object) -> None:
        if not isinstance(value, np.ndarray):
            hint = ": its class needs a bare NDArray there" if isinstance(value, bytes) else ""
            raise SampleMismatch(path, "type", f"{_name(value)}, not an array{hint}")
        if value.dtype.name != name and value.dtype.kind != kind:
            raise SampleMismatch(path, "dtype", f"{value.dtype.name}, the schema says {name}")
        if shape is not None and not _has_shape(value.shape, shape):
            raise SampleMismatch(path, "shape", f"{value.shape}, the schema says {_said(shape)}")

    return check


def _has_shape(held: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(held) == len(shape) and all(
        said in (None, size) for size, said in zip(held, shape, strict=True)
    )


def _said(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('*' if size is None else str(size) for size in shape)})"


def _name(value: Any) -> str:
    return type(value).__name__
