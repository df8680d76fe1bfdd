"""The schema records of a sample class and of all nested in it, before they are published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atdata_client._records.lexicon import build_schema_record
from atdata_client._schemas.annotations import FieldSpec, class_description, nested_first

DEFAULT_VERSION = "1.0.0"


@dataclass(frozen=True, slots=True)
class Draft:
    """What there is to publish of one class."""

    cls: type
    fields: list[FieldSpec]
    name: str
    version: str
    description: str | None
    metadata: Mapping[str, Any] | None

    def record(self, refs: Mapping[type, str]) -> dict[str, Any]:
        """Its record, created now; `refs` has the AT-URIs of the schemas of nested classes."""
        return build_schema_record(
            name=self.name,
            version=self.version,
            fields=[spec.record(refs) for spec in self.fields],
            description=self.description,
            metadata=self.metadata,
        )


def draft(
    cls: type,
    fields: list[FieldSpec],
    *,
    name: str | None = None,
    version: str = DEFAULT_VERSION,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Draft:
    """The draft of one class; its name and docstring stand for what is not given."""
    if description is None:
        description = class_description(cls)
    return Draft(cls, fields, name or cls.__name__, version, description, metadata)


def drafts(
    sample_type: type,
    *,
    name: str | None = None,
    version: str = DEFAULT_VERSION,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> list[Draft]:
    """The drafts of `sample_type` and of all nested in it, which share its version; it is the last.

    Raises what reading its annotations raises: ValueError, UnsupportedTypeError.
    """
    *parts, (_, fields) = nested_first(sample_type).items()
    return [
        *(draft(cls, fields, version=version) for cls, fields in parts),
        draft(
            sample_type,
            fields,
            name=name,
            version=version,
            description=description,
            metadata=metadata,
        ),
    ]
