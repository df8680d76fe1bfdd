"""What has been published of one's own sample classes: class ↔ AT-URI ↔ CID, on this machine only.

With a registry a publisher publishes an unchanged schema once, and a changed one only as another
version, told how it differs. Nothing here asks the network, and no code is imported by a name that
is kept here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from atdata_client._records.lexicon import SCHEMA_NSID, check_record, to_json
from atdata_client._schemas.drafts import DEFAULT_VERSION, Draft, drafts
from atdata_client._schemas.registered import Folder, Kept, Memory, RegisteredSchema
from atdata_client._warn import warn
from atdata_client.compatibility import Compatibility, compare
from atdata_client.errors import SchemaChanged
from atdata_schemas.versions import Version

__all__ = ["RegisteredSchema", "SchemaRegistry"]

_NO_AUTHOR = f"did:plc:{'2' * 24}"


class SchemaRegistry:
    """The schemas that were published from here, in memory, or in a folder of JSON files.

    The folder is made when there is something to keep, and read for each question, so that several
    programs may share it. Schemas that nobody registered are unknown here: `register` takes those
    published elsewhere. Raises ValueError for a file in it that is none of its own.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._kept: Kept = Memory() if folder is None else Folder(folder)
        self._classes: dict[str, type] = {}

    def schemas(
        self, name: str | None = None, *, author: str | None = None
    ) -> list[RegisteredSchema]:
        """All of them, or those of a name, of an author (a DID): by name, oldest version first."""
        found = [
            entry
            for entry in self._kept.all()
            if name in (None, entry.name) and author in (None, entry.author)
        ]
        return sorted(found, key=lambda entry: (entry.name, entry.order, entry.uri))

    def of_class(self, sample_type: type) -> RegisteredSchema | None:
        """The highest version published of a class, by its module and name; it may have changed."""
        path = _path(sample_type)
        found = [entry for entry in self._kept.all() if entry.sample_class == path]
        return max(found, key=lambda entry: (entry.order, entry.uri), default=None)

    def of_uri(self, uri: str) -> RegisteredSchema | None:
        """The schema published at an AT-URI."""
        return next((entry for entry in self._kept.all() if entry.uri == uri), None)

    def of_cid(self, cid: str) -> RegisteredSchema | None:
        """The schema whose record has this CID."""
        return next((entry for entry in self._kept.all() if entry.cid == cid), None)

    def class_of(self, uri: str) -> type | None:
        """The class whose schema is at an AT-URI, None when its module is not loaded."""
        entry = self.of_uri(uri)
        if entry is None or entry.sample_class is None:
            return None
        if uri in self._classes:
            return self._classes[uri]
        module, _, qualname = entry.sample_class.partition(":")
        found: Any = sys.modules.get(module)
        for part in qualname.split("."):
            found = getattr(found, part, None)
        return found if isinstance(found, type) else None

    def register(
        self,
        uri: str,
        record: Mapping[str, Any],
        *,
        cid: str | None = None,
        sample_type: type | None = None,
    ) -> RegisteredSchema:
        """Keep what is published at `uri`, in place of what was kept of it.

        Raises ValidationError when the record is no schema.
        """
        held = {"$type": SCHEMA_NSID, **to_json(dict(record))}
        check_record(held)
        name = None if sample_type is None else _path(sample_type)
        entry = RegisteredSchema(uri, cid, held, name)
        self._kept.put(entry)
        if sample_type is not None:
            self._classes[uri] = sample_type
        return entry

    def forget(self, uri: str) -> None:
        """No longer know of the schema at `uri`: it was deleted, say."""
        self._kept.drop(uri)
        self._classes.pop(uri, None)

    def history(
        self, name: str, *, author: str | None = None
    ) -> list[tuple[RegisteredSchema, Compatibility | None]]:
        """The versions of a schema, oldest first, each with how it differs from the one before."""
        versions = self.schemas(name, author=author)
        return [
            (entry, compare(before.record, entry.record, nested=self._record) if before else None)
            for before, entry in zip([None, *versions], versions, strict=False)
        ]

    def compatibility(
        self, sample_type: type, *, name: str | None = None, author: str | None = None
    ) -> Compatibility | None:
        """How a class differs from the highest version registered of its schema, None without one.

        Raises ValueError and UnsupportedTypeError for a class no schema can express.
        """
        planned = self._planned(drafts(sample_type, name=name), author)
        latest = next(reversed(self.schemas(name or sample_type.__name__, author=author)), None)
        return None if latest is None else self._compared(latest, planned[-1][2], planned)

    def plan(self, parts: Sequence[Draft], author: str) -> dict[type, RegisteredSchema]:
        """Which of these classes are published already, unchanged; nested ones come first.

        Raises SchemaChanged when another differs from what its version was published as. Warns
        (UserWarning) when a version does not say that it breaks, and when the last of them, asked
        for by a version of its own, is not published again.
        """
        planned = self._planned(parts, author)
        for part, known, record in planned:
            if known is None:
                self._check_version(part, record, author, planned)
        part, known, _ = planned[-1]
        if known is not None and part.version not in (known.version, DEFAULT_VERSION):
            warn(f"{part.name} has not changed since {known.version}: it is not published again")
        return {part.cls: known for part, known, _ in planned if known is not None}

    def _planned(self, parts: Sequence[Draft], author: str | None) -> list[_Planned]:
        """Each class with its record, where links to what is not published yet are made up."""
        refs: dict[type, str] = {}
        planned: list[_Planned] = []
        for index, part in enumerate(parts):
            record = to_json(part.record(refs))
            known = self._unchanged(part, record, author)
            made_up = f"at://{_NO_AUTHOR}/{SCHEMA_NSID}/{index}"
            refs[part.cls] = made_up if known is None else known.uri
            planned.append((part, known, record))
        return planned

    def _unchanged(
        self, part: Draft, record: Mapping[str, Any], author: str | None
    ) -> RegisteredSchema | None:
        same = [
            entry
            for entry in self.schemas(part.name, author=author)
            if _content(entry.record) == _content(record)
        ]
        return next((entry for entry in same if entry.version == part.version), None) or (
            same[-1] if same else None
        )

    def _check_version(
        self, part: Draft, record: dict[str, Any], author: str, planned: list[_Planned]
    ) -> None:
        versions = self.schemas(part.name, author=author)
        if not versions:
            return
        wanted, latest = Version.parse(part.version), versions[-1]
        for entry in versions:
            if entry.order == wanted:
                found = self._compared(entry, record, planned)
                better = _next_version(latest.order, self._compared(latest, record, planned))
                raise SchemaChanged(part.name, entry.version, entry.uri, found, better)
        before = [entry for entry in versions if entry.order < wanted]
        if not before:
            return
        found, fitting = self._compared(before[-1], record, planned), before[-1].order
        if not found and wanted < Version.parse(_next_version(fitting, found)):
            warn(
                f"{part.name} {part.version} does not say that it breaks {before[-1].version}, as "
                f"{_next_version(fitting, found)} would ({'; '.join(found.reasons)})"
            )

    def _compared(
        self, entry: RegisteredSchema, record: Mapping[str, Any], planned: list[_Planned]
    ) -> Compatibility:
        def nested(uri: str) -> Mapping[str, Any] | None:
            made_up, _, index = uri.rpartition("/")
            if made_up == f"at://{_NO_AUTHOR}/{SCHEMA_NSID}":
                return planned[int(index)][2]
            return self._record(uri)

        return compare(entry.record, record, nested=nested)

    def _record(self, uri: str) -> Mapping[str, Any] | None:
        entry = self.of_uri(uri)
        return None if entry is None else entry.record


type _Planned = tuple[Draft, RegisteredSchema | None, dict[str, Any]]


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _content(record: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a schema another one: all but its version and date."""
    return {key: value for key, value in record.items() if key not in ("version", "createdAt")}


def _next_version(latest: Version, found: Compatibility) -> str:
    """Semantic versioning; below 1.0.0 the numbers each stand one place further."""
    major, minor, patch = latest.triple
    match bool(found), major:
        case False, 0:
            return f"0.{minor + 1}.0"
        case False, _:
            return f"{major + 1}.0.0"
        case True, 0:
            return f"0.{minor}.{patch + 1}"
        case _:
            return f"{major}.{minor + 1}.0"
