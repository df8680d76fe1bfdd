"""Where exports lie: one folder for each, and a manifest that names the one that is offered.

Whoever reads goes by the manifest, so all files are of one moment and each is whole. An export is
withdrawn by removing the manifest, and is gone for every process at once.
"""

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from atdata_indexer import export
from atdata_indexer.index.files import digest, sync_folder, write_atomically
from atdata_indexer.index.store import Store
from atdata_schemas.syntax import format_micros

FOLDER = "export"
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One Parquet file of an export."""

    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Export:
    """What an export holds: every change of `epoch` up to `seq`. `files` by name."""

    folder: str
    epoch: str
    seq: int
    made_at: str
    made_us: int
    files: Mapping[str, ExportedFile]


_EXPORT = TypeAdapter(Export)


class Exports:
    """The exports of a data directory. Any thread; one process makes and withdraws them."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / FOLDER

    def current(self) -> Export | None:
        """The export that is offered, if there is one."""
        try:
            text = (self._root / _MANIFEST).read_bytes()
            return _EXPORT.validate_json(text)
        except (FileNotFoundError, ValidationError):
            return None  # one of another version is made anew

    def path(self, made: Export, name: str) -> Path:
        """Where a file of an export is."""
        return self._root / made.folder / f"{name}.parquet"

    def make(self, store: Store, now_us: int) -> Export:
        """Make an export and offer it; the one before stays until the next, for its readers.

        Raises StoreError and OSError, and then offers what was offered.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        before = self.current()
        self._clear({before.folder} if before else set())
        folder = secrets.token_hex(8)
        try:
            (self._root / folder).mkdir()
            seq, rows = export.write(store, self._root / folder)
            files = {name: self._file(folder, name, count) for name, count in rows.items()}
        except BaseException:
            shutil.rmtree(self._root / folder, ignore_errors=True)
            raise
        made = Export(folder, store.epoch, seq, format_micros(now_us), now_us, files)
        write_atomically(self._root / _MANIFEST, _EXPORT.dump_json(made, indent=2).decode())
        return made

    def withdraw(self) -> None:
        """Offer none, and leave nothing of any."""
        made = self.current()
        if made is None:
            return
        (self._root / _MANIFEST).unlink(missing_ok=True)
        sync_folder(self._root)
        # Only this one: another may be in the making. What stays of it goes when the next is made.
        shutil.rmtree(self._root / made.folder, ignore_errors=True)

    def holds(self, made: Export, did: str) -> bool:
        """Whether anything of an account is in an export, as far as can be read."""
        for name in made.files.keys() - {"tags"}:
            try:
                dids = pq.read_table(self.path(made, name), columns=["did"])["did"]
            except (OSError, pa.ArrowException):
                return True  # gone or damaged: nobody knows
            if pc.index(dids, did).as_py() >= 0:
                return True
        return False

    def _file(self, folder: str, name: str, rows: int) -> ExportedFile:
        path = self._root / folder / f"{name}.parquet"
        return ExportedFile(rows, path.stat().st_size, digest(path))

    def _clear(self, kept: set[str]) -> None:
        for path in self._root.iterdir():
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path)
