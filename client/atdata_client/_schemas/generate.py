"""Sample types made at run time from published schemas.

Arrays are annotated with a bare `NDArray`, the one form that atdata turns back into arrays.
Optional fields are keyword-only with default None, so that they may stand anywhere. What the schema
says of a field beyond that stays in its metadata, so that a class publishes as it was published.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from dataclasses import field
from typing import TYPE_CHECKING, Any

from atdata_client._extras import part
from atdata_client._schemas.linked import linked_schemas
from atdata_schemas.records import Field, NDArray, Nested, Primitive, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from atdata import PackableSample

    from atdata_client._schemas.linked import Fetch

RESERVED = frozenset({"_abc_impl", "_ensure_good", "as_wds", "from_bytes", "from_data", "packed"})
"""What every sample has already."""

_PRIMITIVES = {"str": str, "int": int, "float": float, "bool": bool, "bytes": bytes}


class SampleTypes:
    """Sample classes of published schemas, each made once for the CIDs it comes from.

    `fetch` gives the record at an AT-URI as it is now: it is asked each time, for the schema and
    each nested one, and the class stays the same for as long as their CIDs do.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._made: dict[tuple[object, ...], type[PackableSample]] = {}

    def sample_type(self, uri: str) -> type[PackableSample]:
        """The packable class of the schema at `uri`.

        Raises ValueError for a record that is no schema, contains itself, or has a field that
        cannot be an attribute; ValidationError when it breaks its lexicon; what `fetch` raises.
        """
        classes: dict[str, type[PackableSample]] = {}
        for here, found in linked_schemas(uri, self._fetch).items():
            key = (found.cid, *(classes[link] for link in found.links))
            if key not in self._made:
                self._made[key] = sample_type_of(found.schema, classes.__getitem__)
            classes[here] = self._made[key]
        return classes[uri]


def sample_type_of(
    schema: Schema, nested: Callable[[str], type[PackableSample]]
) -> type[PackableSample]:
    """A packable class with the fields of `schema`; `nested` gives the class of a schema's AT-URI.

    Raises ValueError for a field that cannot be an attribute of a sample.
    """
    atdata = part("atdata", of="atdata", for_="a class of a schema")
    annotations: dict[str, Any] = {}
    namespace: dict[str, Any] = {"__annotations__": annotations, "__module__": __name__}
    if schema.description:
        namespace["__doc__"] = readable(schema.description)
    check_names(schema, {*RESERVED, *dir(atdata.PackableSample)})
    for declared in schema.fields:
        annotation = _annotation(declared, nested)
        said = field_metadata(declared)
        if declared.optional:
            annotation = annotation | None
            namespace[declared.name] = field(default=None, kw_only=True, metadata=said)
        elif said:
            namespace[declared.name] = field(metadata=said)
        annotations[declared.name] = annotation
    made = type(class_name(schema.name), (), namespace)
    sample: type[PackableSample] = atdata.packable(made)
    return sample


def readable(text: str) -> str:
    """The text as UTF-8 can hold it: neither docstrings nor files take half a character."""
    return text.encode("utf-8", "replace").decode()


def class_name(name: str) -> str:
    """A Python class name out of a schema's name, which may be any text."""
    words = re.sub(r"\W", "_", name).strip("_") or "Sample"
    words = words if words.isidentifier() else f"_{words}"
    return f"{words}_" if keyword.iskeyword(words) else words


def check_names(schema: Schema, reserved: Collection[str] = RESERVED) -> None:
    """Whether the fields can be the attributes of a sample. Raises ValueError naming the field."""
    taken: set[str] = set()
    for name in (declared.name for declared in schema.fields):
        # Python reads names in their NFKC form, data keeps them as they are.
        plain = unicodedata.normalize("NFKC", name) == name
        if keyword.iskeyword(name) or name in reserved or name.startswith("__") or not plain:
            raise ValueError(f"field {name!r} of the schema cannot be an attribute of a sample")
        if name in taken:
            raise ValueError(f"field {name!r} of the schema is there twice")
        taken.add(name)


def field_metadata(declared: Field) -> dict[str, Any]:
    """What the annotation of a field cannot say: dtype, shape, description."""
    said: dict[str, Any] = {}
    if isinstance(declared.type, NDArray):
        said["dtype"] = declared.type.dtype
        if declared.type.shape is not None:
            said["shape"] = declared.type.shape
    return said | ({"description": declared.description} if declared.description else {})


def _annotation(declared: Field, nested: Callable[[str], type[PackableSample]]) -> Any:
    match declared.type:
        case Primitive(primitive):
            return _PRIMITIVES[primitive]
        case NDArray():
            from numpy.typing import NDArray as BareNDArray

            return BareNDArray
        case Nested(schema_ref):
            return nested(schema_ref)
