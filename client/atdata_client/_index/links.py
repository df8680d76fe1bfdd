"""Typed answers about what hangs together: ways through lenses, use of schemas, back-links."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Self

from atdata_client._index.frames import Columns, Results, Row
from atdata_client._index.views import Author, LensView, SchemaLink, SchemaView
from atdata_client._records.stored import JsonObject

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class LensPath(Row):
    """A way from one schema to another: lenses in the order of their use."""

    COLUMNS: ClassVar[Columns] = {
        "length": "integer",
        "lenses": "uris",
    }
    SHOWN: ClassVar[tuple[str, ...]] = ("length", "lenses")

    lenses: tuple[LensView, ...]

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#lensPath`."""
        return cls(tuple(LensView.from_json(lens) for lens in value["lenses"]))

    @property
    def length(self) -> int:
        """How many lenses it takes; none where both schemas are the same."""
        return len(self.lenses)


@dataclass(frozen=True, slots=True)
class LensPaths:
    """Ways from one schema to another, the shortest first; where `cut`, some may be missing."""

    paths: Results[LensPath]
    cut: bool

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From the answer of `app.bsky.atdata.findLensPaths`."""
        return cls(Results(map(LensPath.from_json, value["paths"]), LensPath), value["cut"])

    def to_pandas(self) -> pd.DataFrame:
        """The ways, one a row. Raises ModuleNotFoundError without pandas."""
        return self.paths.to_pandas()

    def to_arrow(self) -> pa.Table:
        """The ways, one a row. Raises ModuleNotFoundError without pyarrow."""
        return self.paths.to_arrow()

    def _repr_html_(self) -> str:
        return self.paths._repr_html_()


@dataclass(frozen=True, slots=True)
class SchemaUsage(Row):
    """What refers to a schema (numbers of datasets, of lenses from and to it), and those like it.

    `newer_versions` are of the same author and name, ascending; `identical` ones have its fields.
    """

    COLUMNS: ClassVar[Columns] = {
        "schema.uri": "text",
        "schema.name": "text",
        "schema.version": "text",
        "datasets": "integer",
        "lenses_from": "integer",
        "lenses_to": "integer",
        "newer_versions": "uris",
        "identical": "uris",
    }
    SHOWN: ClassVar[tuple[str, ...]] = (
        "schema.name",
        "schema.version",
        "datasets",
        "lenses_from",
        "lenses_to",
    )

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
class Backlink(Row):
    """A record that links to another; `sources` say where it does, as `collection:path`."""

    COLUMNS: ClassVar[Columns] = {
        "uri": "text",
        "cid": "text",
        "author.did": "text",
        "author.handle": "text",
        "sources": "texts",
        "indexed_at": "moment",
    }
    SHOWN: ClassVar[tuple[str, ...]] = ("uri", "author.handle", "sources")

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
