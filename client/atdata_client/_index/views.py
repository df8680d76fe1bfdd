"""Typed values of what the index answers: the records it shows, and why it shows one or not.

Frozen, built by `from_json` from the JSON the lexicons of `app.bsky.atdata` describe; unknown keys
are ignored, so that an index newer than this client can be asked. `as_json` is the way back.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any, ClassVar, Self, TypedDict

from atdata_client._index.frames import Columns, Row
from atdata_client._index.highlights import Highlight
from atdata_client._index.labels import Label
from atdata_client._records.stored import JsonObject


@dataclass(frozen=True, slots=True)
class Author:
    """An account; `handle` is `handle.invalid` until it resolves both ways."""

    did: str
    handle: str

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#author`."""
        return cls(value["did"], value["handle"])


@dataclass(frozen=True, slots=True)
class SchemaLink:
    """A schema that a record refers to; `status` is `indexed`, or `missing` and nothing known."""

    uri: str
    status: str
    cid: str | None = None
    name: str | None = None
    version: str | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#schemaLink`."""
        known = (value.get(key) for key in ("cid", "name", "version"))
        return cls(value["uri"], value["status"], *known)


class _Beside(TypedDict):
    translation: dict[str, Any] | None
    labels: tuple[Label, ...] | None


class _View(Row):
    """A record in the index, and what its author calls it."""

    __slots__ = ()

    record: dict[str, Any]
    translation: dict[str, Any] | None

    @property
    def said(self) -> dict[str, Any]:
        """The record in the words of `app.bsky.atdata`, as far as it can be said in them."""
        return self.record if self.translation is None else self.translation

    @property
    def name(self) -> str:
        """The name its author gave it."""
        return str(self.said.get("name", ""))

    @property
    def description(self) -> str | None:
        """What its author says of it."""
        return self.said.get("description") or None

    @property
    def created_at(self) -> datetime | None:
        """When its author says it was made; None where that is no date."""
        return _moment(self.said.get("createdAt"))


@dataclass(frozen=True, slots=True)
class DatasetView(_View):
    """A dataset in the index; `record` is what its author wrote, in JSON form.

    A record of another namespace has a `translation` where nothing is lost by it; `labels` are what
    the labelers say that the index follows. `lens_path` (AT-URIs, none when it has that schema
    itself) is there when `viewable_as` was asked for, and `highlights` when they were.
    """

    COLUMNS: ClassVar[Columns] = {
        "uri": "text",
        "cid": "text",
        "name": "text",
        "description": "text",
        "author.did": "text",
        "author.handle": "text",
        "schema.uri": "text",
        "schema.name": "text",
        "schema.version": "text",
        "tags": "texts",
        "license": "text",
        "urls": "texts",
        "samples": "integer",
        "bytes": "integer",
        "created_at": "moment",
        "indexed_at": "moment",
        "lens_path": "texts",
    }
    SHOWN: ClassVar[tuple[str, ...]] = (
        "name",
        "author.handle",
        "schema.name",
        "tags",
        "license",
        "samples",
        "uri",
    )

    uri: str
    cid: str
    author: Author
    record: dict[str, Any]
    schema: SchemaLink
    indexed_at: datetime
    lens_path: tuple[str, ...] | None = None
    highlights: tuple[Highlight, ...] | None = None
    translation: dict[str, Any] | None = None
    labels: tuple[Label, ...] | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#datasetView`."""
        head, schema = _head(value), SchemaLink.from_json(value["schema"])
        path, highlights = value.get("lensPath"), value.get("highlights")
        return cls(
            *head,
            schema,
            datetime.fromisoformat(value["indexedAt"]),
            None if path is None else tuple(path),
            None if highlights is None else tuple(map(Highlight.from_json, highlights)),
            **_beside(value),
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags, as written."""
        return tuple(self.said.get("tags") or ())

    @property
    def urls(self) -> tuple[str, ...]:
        """Its shards, in WebDataset brace notation. Somebody else's words: look before opening."""
        return tuple(self.said.get("urls") or ())

    @property
    def license(self) -> str | None:
        """Its license, an SPDX identifier where the author kept to them."""
        return self.said.get("license") or None

    @property
    def samples(self) -> int | None:
        """How many samples its author says it has."""
        return _count(self.said.get("size"), "samples")

    @property
    def bytes(self) -> int | None:
        """How many bytes its author says its shards have."""
        return _count(self.said.get("size"), "bytes")


@dataclass(frozen=True, slots=True)
class SchemaView(_View):
    """A schema in the index; `record` is what its author wrote, in JSON form."""

    COLUMNS: ClassVar[Columns] = {
        "uri": "text",
        "cid": "text",
        "name": "text",
        "version": "text",
        "description": "text",
        "author.did": "text",
        "author.handle": "text",
        "field_names": "texts",
        "created_at": "moment",
        "indexed_at": "moment",
    }
    SHOWN: ClassVar[tuple[str, ...]] = ("name", "version", "author.handle", "field_names", "uri")

    uri: str
    cid: str
    author: Author
    record: dict[str, Any]
    indexed_at: datetime
    translation: dict[str, Any] | None = None
    labels: tuple[Label, ...] | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#schemaView`."""
        return cls(*_head(value), datetime.fromisoformat(value["indexedAt"]), **_beside(value))

    @property
    def version(self) -> str:
        """The semantic version of the schema."""
        return str(self.said.get("version", ""))

    @property
    def field_names(self) -> tuple[str, ...]:
        """The names of its fields, in order."""
        fields = self.said.get("fields")
        found = fields if isinstance(fields, list) else ()
        return tuple(str(one["name"]) for one in found if isinstance(one, dict) and "name" in one)


@dataclass(frozen=True, slots=True)
class LensView(_View):
    """A lens in the index; `record` is what its author wrote. Its code is text, never run."""

    COLUMNS: ClassVar[Columns] = {
        "uri": "text",
        "cid": "text",
        "name": "text",
        "description": "text",
        "author.did": "text",
        "author.handle": "text",
        "source.uri": "text",
        "source.name": "text",
        "source.version": "text",
        "target.uri": "text",
        "target.name": "text",
        "target.version": "text",
        "created_at": "moment",
        "indexed_at": "moment",
    }
    SHOWN: ClassVar[tuple[str, ...]] = (
        "name",
        "source.name",
        "target.name",
        "author.handle",
        "uri",
    )

    uri: str
    cid: str
    author: Author
    record: dict[str, Any]
    source: SchemaLink
    target: SchemaLink
    indexed_at: datetime
    translation: dict[str, Any] | None = None
    labels: tuple[Label, ...] | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#lensView`."""
        ends = (SchemaLink.from_json(value["source"]), SchemaLink.from_json(value["target"]))
        indexed = datetime.fromisoformat(value["indexedAt"])
        return cls(*_head(value), *ends, indexed, **_beside(value))


@dataclass(frozen=True, slots=True)
class RecordStatus(Row):
    """Why a record is, or is not, in the index.

    `status` is `indexed`, `quarantined` (`rule`, `path` and `reason` say what it breaks),
    `deferred` (`rule` and `reason` say which limit of its account it exceeds), `hidden`
    (`account_status` says why), `deleted` or `unseen`.
    """

    COLUMNS: ClassVar[Columns] = {
        "uri": "text",
        "status": "text",
        "cid": "text",
        "rev": "text",
        "rule": "text",
        "path": "text",
        "reason": "text",
        "account_status": "text",
        "indexed_at": "moment",
    }
    SHOWN: ClassVar[tuple[str, ...]] = ("status", "rule", "path", "reason", "uri")

    uri: str
    status: str
    cid: str | None = None
    rev: str | None = None
    rule: str | None = None
    path: str | None = None
    reason: str | None = None
    account_status: str | None = None
    indexed_at: datetime | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From the answer of `app.bsky.atdata.getRecordStatus`."""
        moment = value.get("indexedAt")
        return cls(
            uri=value["uri"],
            status=value["status"],
            cid=value.get("cid"),
            rev=value.get("rev"),
            rule=value.get("rule"),
            path=value.get("path"),
            reason=value.get("reason"),
            account_status=value.get("accountStatus"),
            indexed_at=None if moment is None else datetime.fromisoformat(moment),
        )


type View = DatasetView | SchemaView | LensView


def as_json(value: object) -> Any:
    """A value of this module as JSON: camelCase keys, None left out, times in UTC with `Z`."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    if is_dataclass(value):
        pairs = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {_camel(name): as_json(item) for name, item in pairs if item is not None}
    return value


def _head(value: JsonObject) -> tuple[str, str, Author, dict[str, Any]]:
    record = value["record"]
    if not isinstance(record, dict):
        raise TypeError("record is not an object")
    return value["uri"], value["cid"], Author.from_json(value["author"]), record


def _beside(value: JsonObject) -> _Beside:
    """What a view of any kind may have beside its record."""
    labels = value.get("labels")
    return {
        "translation": value.get("translation"),
        "labels": None if labels is None else tuple(map(Label.from_json, labels)),
    }


def _moment(text: object) -> datetime | None:
    from atdata_schemas.syntax import parse_datetime

    try:
        return parse_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _count(size: object, unit: str) -> int | None:
    count = size.get(unit) if isinstance(size, dict) else None
    return count if isinstance(count, int) else None


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
