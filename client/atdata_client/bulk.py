"""Publishing many schemas, datasets and lenses in a few commits."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atdata_client._records.lexicon import (
    DATASET_NSID,
    LENS_NSID,
    SCHEMA_NSID,
    check_record,
    to_json,
    warn_of_handles,
)
from atdata_client._records.plan import Plan, Write, carry_out
from atdata_client._records.tid import Tids
from atdata_client._schemas.drafts import DEFAULT_VERSION, drafts
from atdata_client.dataset import dataset_record, sample_type_of
from atdata_client.lens import lens_record
from atdata_client.schema import ANY_SCHEMA_URI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike

    from atdata import Dataset

    from atdata_client._records.plan import Progress, Written
    from atdata_client._schemas.drafts import Draft
    from atdata_client.client import ATProtoClient
    from atdata_client.lens import LensCode
    from atdata_client.registry import SchemaRegistry

__all__ = ["DatasetItem", "Item", "LensItem", "Plan", "SchemaItem", "publish_many"]

type SchemaOf = str | type
"""A schema: its AT-URI, or a sample class, whose schema is published along with the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaItem:
    """A schema to publish; the rest is as in `SchemaPublisher.publish_schema`."""

    sample_type: type
    name: str | None = None
    version: str = DEFAULT_VERSION
    description: str | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetItem:
    """A dataset to publish; `schema` is by default its sample type. The rest is as in
    `DatasetPublisher.publish_dataset`.
    """

    dataset: Dataset[Any]
    name: str
    schema: SchemaOf | None = None
    description: str | None = None
    tags: Sequence[str] | None = None
    license: str | None = None
    metadata: Mapping[str, Any] | None = None
    size: Mapping[str, int] | None = None
    count_size: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LensItem:
    """A lens to publish; `source` and `target` are by default the classes of an `atdata.Lens`. The
    rest is as in `LensPublisher.publish_lens`.
    """

    getter: LensCode
    putter: Callable[..., Any] | None = None
    name: str
    source: SchemaOf | None = None
    target: SchemaOf | None = None
    description: str | None = None
    code_repository: str | None = None
    code_commit: str | None = None


type Item = SchemaItem | DatasetItem | LensItem


def publish_many(
    client: ATProtoClient,
    items: Iterable[Item] | Plan,
    *,
    registry: SchemaRegistry | None = None,
    journal: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Publish schemas, datasets and lenses; returns their AT-URIs, in the order of `items`.

    Records go out at most 200 to a commit, each of which is done wholly or not at all. Schemas are
    published first, once for each class, those of nested classes and of the datasets' and lenses'
    classes too; with a `registry` only those that are new. Everything is checked before anything is
    published.

    When a commit fails, PublishInterrupted has a plan, with which the same call goes on where it
    stopped. `journal` is a file that keeps it while there is something left to do: the same call
    after a crash goes on, and publishes nothing twice. `progress` is called after each commit with
    the number of records published and of all.

    Raises TypeError for an item of another kind; ValueError when the client is not logged in, a
    class is there twice, or the journal is of other items or another account; what publishing one
    of them alone raises, of what it is given; PublishInterrupted.
    """
    if not client.is_authenticated:
        raise ValueError("Client must be authenticated")
    if isinstance(items, Plan):
        return carry_out(
            client, items, begun=True, written=_registering(registry, {}), progress=progress
        )
    batch = _Batch(items)
    path = None if journal is None else Path(journal)
    if path is not None and path.exists():
        plan, begun = Plan.load(path), True
        if plan.fingerprint != batch.fingerprint:
            raise ValueError(f"the journal {path} is of other items: finish those, or remove it")
    else:
        known = registry.plan(list(batch.schemas.values()), client.did) if registry else {}
        refs = {cls: entry.uri for cls, entry in known.items()}
        plan, begun = batch.plan(client.did, refs), False
        if path is not None:
            plan.save(path)
    written = _registering(registry, batch.classes)
    answers = carry_out(client, plan, begun=begun, written=written, progress=progress)
    if path is not None:
        path.unlink()
    return answers


class _Batch:
    """What was asked for, with sample classes in place of the AT-URIs of their schemas."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.schemas: dict[type, Draft] = {}
        self._others: list[_Other] = []
        wanted = list(items)
        said = [item for item in wanted if isinstance(item, SchemaItem)]
        for item in said:
            if sum(other.sample_type is item.sample_type for other in said) > 1:
                raise ValueError(f"{item.sample_type.__name__} is there twice")
            # First of all, so that what is said of a class counts wherever else it is used.
            self._add(item.sample_type, item)
        self._asked = [self._taken(item) for item in wanted]
        self.fingerprint = self._fingerprint()

    @property
    def classes(self) -> dict[tuple[str, str], type]:
        """The sample classes by name and version of their schemas."""
        return {(part.name, part.version): cls for cls, part in self.schemas.items()}

    def plan(self, did: str, known: Mapping[type, str]) -> Plan:
        """What to write; `known` has the AT-URIs of schemas that are published already.

        Raises ValidationError naming field and rule.
        """
        tids = Tids()
        new = [cls for cls in self.schemas if cls not in known]
        refs = {**known, **{cls: f"at://{did}/{SCHEMA_NSID}/{tids.next()}" for cls in new}}
        uris = {id(other): f"at://{did}/{other.nsid}/{tids.next()}" for other in self._others}
        writes = [(refs[cls], self.schemas[cls].record(refs)) for cls in new]
        writes += [(uris[id(other)], other.with_refs(refs)) for other in self._others]
        for _, record in writes:
            check_record(record)
            warn_of_handles(record)
        answers = [
            refs[asked] if isinstance(asked, type) else uris[id(asked)] for asked in self._asked
        ]
        ready = tuple(Write(uri, to_json(record)) for uri, record in writes)
        return Plan(did, ready, tuple(answers), self.fingerprint)

    def _add(self, cls: type, item: SchemaItem | None = None) -> None:
        """Add a class with all nested in it; what an item says of it comes before what none says.

        Parts stay before what they are parts of.
        """
        said = item or SchemaItem(sample_type=cls)
        *parts, own = drafts(
            cls,
            name=said.name,
            version=said.version,
            description=said.description,
            metadata=said.metadata,
        )
        for part in parts:
            self.schemas.setdefault(part.cls, part)
        if item is not None or cls not in self.schemas:
            self.schemas[cls] = own

    def _taken(self, item: Item) -> type | _Other:
        """What of the batch answers an item."""
        if isinstance(item, SchemaItem):
            return item.sample_type
        if not isinstance(item, DatasetItem | LensItem):
            raise TypeError(f"neither SchemaItem, DatasetItem nor LensItem: {type(item).__name__}")
        other = _dataset(item) if isinstance(item, DatasetItem) else _lens(item)
        for ref in other.refs.values():
            if isinstance(ref, type) and ref not in self.schemas:
                self._add(ref)
        self._others.append(other)
        return other

    def _fingerprint(self) -> str:
        """The same for the same items: without their dates, and without keys."""
        refs = {cls: f"#{index}" for index, cls in enumerate(self.schemas)}
        records = [part.record(refs) for part in self.schemas.values()]
        records += [other.with_refs(refs) for other in self._others]
        undated = [to_json(record | {"createdAt": ""}) for record in records]
        return sha256(json.dumps(undated, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Other:
    """A dataset or lens, with what stands in which of its fields for a schema."""

    nsid: str
    record: dict[str, Any]
    refs: dict[str, SchemaOf] = field(default_factory=dict)

    def with_refs(self, uris: Mapping[type, str]) -> dict[str, Any]:
        """The record, with the AT-URIs of its schemas."""
        named = {key: uris[ref] if isinstance(ref, type) else ref for key, ref in self.refs.items()}
        return self.record | named


def _dataset(item: DatasetItem) -> _Other:
    record = dataset_record(
        item.dataset,
        name=item.name,
        schema_uri=ANY_SCHEMA_URI,
        description=item.description,
        tags=item.tags,
        license=item.license,
        metadata=item.metadata,
        size=item.size,
        count_size=item.count_size,
    )
    schema = item.schema if item.schema is not None else sample_type_of(item.dataset)
    return _Other(DATASET_NSID, record, {"schemaRef": schema})


def _lens(item: LensItem) -> _Other:
    record = lens_record(
        item.getter,
        item.putter,
        name=item.name,
        source_schema_uri=ANY_SCHEMA_URI,
        target_schema_uri=ANY_SCHEMA_URI,
        description=item.description,
        code_repository=item.code_repository,
        code_commit=item.code_commit,
    )
    source = item.source or getattr(item.getter, "source_type", None)
    target = item.target or getattr(item.getter, "view_type", None)
    if source is None or target is None:
        raise ValueError(f"lens {item.name!r} needs source and target, or to be an atdata.Lens")
    return _Other(LENS_NSID, record, {"sourceSchema": source, "targetSchema": target})


def _registering(
    registry: SchemaRegistry | None, classes: Mapping[tuple[str, str], type]
) -> Written | None:
    """Keeps the schemas that are published in the registry."""
    if registry is None:
        return None

    def written(uri: str, cid: str, record: dict[str, Any]) -> None:
        if record["$type"] == SCHEMA_NSID:
            cls = classes.get((record["name"], record["version"]))
            registry.register(uri, record, cid=cid, sample_type=cls)

    return written
