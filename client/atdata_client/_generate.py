"""Sample types made at run time from published schemas.

Arrays are annotated with a bare `NDArray`, the one form that atdata turns back into arrays.
Optional fields are keyword-only with default None, so that they may stand anywhere.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import field
from typing import TYPE_CHECKING, Any

from atdata_schemas.records import Field, NDArray, Nested, Primitive, Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from atdata import PackableSample

_PRIMITIVES = {"str": str, "int": int, "float": float, "bool": bool, "bytes": bytes}


def sample_type_of(
    schema: Schema, nested: Callable[[str], type[PackableSample]]
) -> type[PackableSample]:
    """A packable class with the fields of `schema`; `nested` gives the class of a schema's AT-URI.

    Raises ValueError for a field that cannot be an attribute of a sample.
    """
    import atdata

    annotations: dict[str, Any] = {}
    namespace: dict[str, Any] = {"__annotations__": annotations, "__doc__": schema.description}
    namespace["__module__"] = __name__
    for declared in schema.fields:
        _check_name(declared.name, atdata.PackableSample, annotations)
        annotation = _annotation(declared, nested)
        if declared.optional:
            annotation = annotation | None
            namespace[declared.name] = field(default=None, kw_only=True)
        annotations[declared.name] = annotation
    made = type(class_name(schema.name), (), namespace)
    sample: type[PackableSample] = atdata.packable(made)
    return sample


def class_name(name: str) -> str:
    """A Python class name out of a schema's name, which may be any text."""
    words = re.sub(r"\W", "_", name).strip("_") or "Sample"
    words = words if words.isidentifier() else f"_{words}"
    return f"{words}_" if keyword.iskeyword(words) else words


def _check_name(name: str, base: type, taken: dict[str, Any]) -> None:
    if keyword.iskeyword(name) or hasattr(base, name) or name.startswith("__"):
        raise ValueError(f"field {name!r} of the schema cannot be an attribute of a sample")
    if name in taken:
        raise ValueError(f"field {name!r} of the schema is there twice")


def _annotation(declared: Field, nested: Callable[[str], type[PackableSample]]) -> Any:
    match declared.type:
        case Primitive(primitive):
            return _PRIMITIVES[primitive]
        case NDArray():
            from numpy.typing import NDArray as BareNDArray

            return BareNDArray
        case Nested(schema_ref):
            return nested(schema_ref)
