"""A schema that was published from here, and where such schemas are kept: memory or a folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from atdata_client._records.lexicon import check_record
from atdata_schemas.versions import Version


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A published schema: where, the record in JSON form, and the class it came from.

    `cid` is None while the PDS has not told it; `sample_class` is `module:qualname`.
    """

    uri: str
    cid: str | None
    record: Mapping[str, Any]
    sample_class: str | None

    @property
    def name(self) -> str:
        """The name in the record."""
        return str(self.record["name"])

    @property
    def version(self) -> str:
        """The semantic version in the record."""
        return str(self.record["version"])

    @property
    def order(self) -> Version:
        """The version, as it orders among others."""
        return Version.parse(self.version)

    @property
    def author(self) -> str:
        """The DID of the repository it is in."""
        return self.uri.split("/")[2]


class Kept(Protocol):
    """Where registered schemas are kept, one for each AT-URI."""

    def all(self) -> list[RegisteredSchema]:
        """Every one of them."""

    def put(self, entry: RegisteredSchema) -> None:
        """Keep one, in place of another of its AT-URI."""

    def drop(self, uri: str) -> None:
        """Keep it no longer; one that is not there is no error."""


class Memory:
    """Kept for as long as this program runs."""

    def __init__(self) -> None:
        self._entries: dict[str, RegisteredSchema] = {}

    def all(self) -> list[RegisteredSchema]:
        """Every one of them."""
        return list(self._entries.values())

    def put(self, entry: RegisteredSchema) -> None:
        """Keep one, in place of another of its AT-URI."""
        self._entries[entry.uri] = entry

    def drop(self, uri: str) -> None:
        """Keep it no longer; one that is not there is no error."""
        self._entries.pop(uri, None)


class Folder:
    """Kept in a folder, a JSON file for each, which is whole at every moment."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder).expanduser()

    def all(self) -> list[RegisteredSchema]:
        """Every one of them. Raises ValueError for a file that holds none."""
        found = (_read(file) for file in sorted(self._folder.glob("*.json")))
        return [entry for entry in found if entry is not None]

    def put(self, entry: RegisteredSchema) -> None:
        """Keep one, in place of another of its AT-URI."""
        self._folder.mkdir(parents=True, exist_ok=True)
        words = re.sub(r"[^A-Za-z0-9]+", "-", entry.name)[:40]
        file = self._folder / f"{words}-{entry.version}-{_key(entry.uri)}.json"
        beside = file.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(asdict(entry), ensure_ascii=False, indent=2) + "\n", "utf-8")
        beside.replace(file)
        self._drop(entry.uri, but=file)

    def drop(self, uri: str) -> None:
        """Keep it no longer; one that is not there is no error."""
        self._drop(uri)

    def _drop(self, uri: str, but: Path | None = None) -> None:
        for file in self._folder.glob(f"*-{_key(uri)}.json"):
            if file != but:
                file.unlink(missing_ok=True)


def _key(uri: str) -> str:
    return sha256(uri.encode()).hexdigest()[:16]


def _read(file: Path) -> RegisteredSchema | None:
    """What a file holds, None when another program has just dropped it."""
    try:
        held = json.loads(file.read_text("utf-8"))
        entry = RegisteredSchema(**held)
        check_record(entry.record)
        return entry
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} holds no registered schema: {error}") from error
