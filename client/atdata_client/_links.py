"""Typed answers about what hangs together: ways through lenses, use of schemas, back-links."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Self

from atdata_client._types import Author, LensView, SchemaLink, SchemaView

if TYPE_CHECKING:
    from atdata_client._types import JsonObject


@dataclass(frozen=True, slots=True)
class LensPath:
    """A way from one schema to another: lenses in the order of their use."""

    lenses: tuple[LensView, ...]

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#lensPath`."""
        return cls(tuple(LensView.from_json(lens) for lens in value["lenses"]))


@dataclass(frozen=True, slots=True)
class LensPaths:
    """Ways from one schema to another, the shortest first; where `cut`, some may be missing."""

    paths: tuple[LensPath, ...]
    cut: bool

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From the answer of `app.bsky.atdata.findLensPaths`."""
        return cls(tuple(LensPath.from_json(path) for path in value["paths"]), value["cut"])


@dataclass(frozen=True, slots=True)
class SchemaUsage:
    """What refers to a schema (numbers of datasets, of lenses from and to it), and those like it.

    `newer_versions` are of the same author and name, ascending; `identical` ones have its fields.
    """

    schema: SchemaLink
    datasets: int
    lenses_from: int
    lenses_to: int
    newer_versions: tuple[SchemaView, ...]
    identical: tuple[SchemaView, ...]

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From the answer of `app.bsky.atdata.getSchemaUsage`."""
        return cls(
            SchemaLink.from_json(value["schema"]),
            value["datasets"],
            value["lensesFrom"],
            value["lensesTo"],
            tuple(SchemaView.from_json(view) for view in value["newerVersions"]),
            tuple(SchemaView.from_json(view) for view in value["identical"]),
        )


@dataclass(frozen=True, slots=True)
class Backlink:
    """A record that links to another; `sources` say where it does, as `collection:path`."""

    uri: str
    cid: str
    author: Author
    sources: tuple[str, ...]
    indexed_at: datetime

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#backlink`."""
        return cls(
            value["uri"],
            value["cid"],
            Author.from_json(value["author"]),
            tuple(value["sources"]),
            datetime.fromisoformat(value["indexedAt"]),
        )
