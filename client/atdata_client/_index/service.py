"""Typed answers about an index as a whole: its tags, what a search may go on to, how far it is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Self

from atdata_client._index.frames import Columns, Row
from atdata_client._records.stored import JsonObject


@dataclass(frozen=True, slots=True)
class TagCount(Row):
    """A tag, and how many datasets carry it."""

    COLUMNS: ClassVar[Columns] = {
        "tag": "text",
        "count": "integer",
    }
    SHOWN: ClassVar[tuple[str, ...]] = ("tag", "count")

    tag: str
    count: int

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#tagCount`."""
        return cls(value["tag"], value["count"])


@dataclass(frozen=True, slots=True)
class Suggestion(Row):
    """Something to search for: a `dataset`, `tag`, `author` or `schema` (`kind`).

    `text` is for people; `value` an AT-URI, a tag or a DID; `count` how many datasets it leads to.
    """

    COLUMNS: ClassVar[Columns] = {
        "kind": "text",
        "text": "text",
        "value": "text",
        "count": "integer",
    }
    SHOWN: ClassVar[tuple[str, ...]] = ("kind", "text", "count", "value")

    kind: str
    text: str
    value: str
    count: int | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#suggestion`."""
        return cls(value["kind"], value["text"], value["value"], value.get("count"))


@dataclass(frozen=True, slots=True)
class Counts:
    """How many records and accounts an index holds, and how many records it set aside."""

    datasets: int
    schemas: int
    lenses: int
    accounts: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Source:
    """A stream an index reads; `lag_ms` is the age of the newest event when it was read."""

    name: str
    connected: bool
    cursor: int | None = None
    lag_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceDescription(Row):
    """What an index holds and how far it has read; `pending` changes are not yet searchable."""

    COLUMNS: ClassVar[Columns] = {
        "version": "text",
        "collections": "texts",
        "counts.datasets": "integer",
        "counts.schemas": "integer",
        "counts.lenses": "integer",
        "counts.accounts": "integer",
        "counts.quarantined": "integer",
        "seq": "integer",
        "pending": "integer",
    }
    SHOWN: ClassVar[tuple[str, ...]] = ("version", "seq", "pending")

    version: str
    collections: tuple[str, ...]
    counts: Counts
    sources: tuple[Source, ...]
    seq: int
    pending: int

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From the answer of `app.bsky.atdata.describeService`."""
        return cls(
            version=value["version"],
            collections=tuple(value["collections"]),
            counts=Counts(**{field.name: value["counts"][field.name] for field in fields(Counts)}),
            sources=tuple(
                Source(item["name"], item["connected"], item.get("cursor"), item.get("lagMs"))
                for item in value["sources"]
            ),
            seq=value["index"]["seq"],
            pending=value["index"]["pending"],
        )
