"""Typed values at the edges of this package: what the index answers, what a PDS holds.

Frozen, built by `from_json` from the JSON the lexicons of `app.bsky.atdata` describe; unknown keys
are ignored, so that an index newer than this client can be asked. `as_json` is the way back.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

type JsonObject = Mapping[str, Any]
"""A JSON object of the data model: bytes as `{"$bytes": …}`, links as `{"$link": …}`."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as its PDS holds it: AT-URI, CID, and the value in JSON form."""

    uri: str
    cid: str
    value: dict[str, Any]


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


@dataclass(frozen=True, slots=True)
class ByteSlice:
    """A part of a text, counted in bytes of UTF-8; its end is not included."""

    byte_start: int
    byte_end: int

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#byteSlice`."""
        return cls(value["byteStart"], value["byteEnd"])


@dataclass(frozen=True, slots=True)
class Highlight:
    """The name of a dataset (`field` is `name`) or an excerpt of its description, and what of it
    was searched for.
    """

    field: str
    text: str
    slices: tuple[ByteSlice, ...]

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#highlight`."""
        slices = tuple(ByteSlice.from_json(one) for one in value["slices"])
        return cls(value["field"], value["text"], slices)

    @property
    def parts(self) -> tuple[tuple[str, bool], ...]:
        """The text in parts, each with whether it was searched for."""
        whole, at, parts = self.text.encode(), 0, []
        for one in self.slices:
            parts.append((whole[at : one.byte_start], False))
            parts.append((whole[one.byte_start : one.byte_end], True))
            at = one.byte_end
        parts.append((whole[at:], False))
        return tuple((part.decode(errors="replace"), found) for part, found in parts if part)


@dataclass(frozen=True, slots=True)
class DatasetView:
    """A dataset in the index; `record` is what its author wrote, in JSON form.

    `lens_path` (AT-URIs, none when it has that schema itself) is there when `viewable_as` was
    asked for, and `highlights` when they were.
    """

    uri: str
    cid: str
    author: Author
    record: dict[str, Any]
    schema: SchemaLink
    indexed_at: datetime
    lens_path: tuple[str, ...] | None = None
    highlights: tuple[Highlight, ...] | None = None

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
        )

    @property
    def name(self) -> str:
        """The name its author gave it."""
        return str(self.record.get("name", ""))

    @property
    def description(self) -> str | None:
        """What its author says about it, None when nothing."""
        return self.record.get("description") or None

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags, as written."""
        return tuple(self.record.get("tags") or ())

    @property
    def urls(self) -> tuple[str, ...]:
        """Its shards, in WebDataset brace notation. Somebody else's words: look before opening."""
        return tuple(self.record.get("urls") or ())

    @property
    def license(self) -> str | None:
        """Its license, an SPDX identifier where the author kept to them."""
        return self.record.get("license") or None


@dataclass(frozen=True, slots=True)
class SchemaView:
    """A schema in the index; `record` is what its author wrote, in JSON form."""

    uri: str
    cid: str
    author: Author
    record: dict[str, Any]
    indexed_at: datetime

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#schemaView`."""
        return cls(*_head(value), datetime.fromisoformat(value["indexedAt"]))

    @property
    def name(self) -> str:
        """The name of the sample type."""
        return str(self.record.get("name", ""))

    @property
    def version(self) -> str:
        """The semantic version of the schema."""
        return str(self.record.get("version", ""))

    @property
    def description(self) -> str | None:
        """What its author says about it, None when nothing."""
        return self.record.get("description") or None


@dataclass(frozen=True, slots=True)
class LensView:
    """A lens in the index; `record` is what its author wrote. Its code is text, never run."""

    uri: str
    cid: str
    author: Author
    record: dict[str, Any]
    source: SchemaLink
    target: SchemaLink
    indexed_at: datetime

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#lensView`."""
        ends = (SchemaLink.from_json(value["source"]), SchemaLink.from_json(value["target"]))
        return cls(*_head(value), *ends, datetime.fromisoformat(value["indexedAt"]))

    @property
    def name(self) -> str:
        """The name its author gave it."""
        return str(self.record.get("name", ""))

    @property
    def description(self) -> str | None:
        """What its author says about it, None when nothing."""
        return self.record.get("description") or None


@dataclass(frozen=True, slots=True)
class TagCount:
    """A tag, and how many datasets carry it."""

    tag: str
    count: int

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#tagCount`."""
        return cls(value["tag"], value["count"])


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Something to search for: a `dataset`, `tag`, `author` or `schema` (`kind`).

    `text` is for people; `value` an AT-URI, a tag or a DID; `count` how many datasets it leads to.
    """

    kind: str
    text: str
    value: str
    count: int | None = None

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#suggestion`."""
        return cls(value["kind"], value["text"], value["value"], value.get("count"))


@dataclass(frozen=True, slots=True)
class RecordStatus:
    """Why a record is, or is not, in the index.

    `status` is `indexed`, `quarantined` (`rule`, `path` and `reason` say what it breaks),
    `deferred` (`rule` and `reason` say which limit of its account it exceeds), `hidden`
    (`account_status` says why), `deleted` or `unseen`.
    """

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
class ServiceDescription:
    """What an index holds and how far it has read; `pending` changes are not yet searchable."""

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


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
