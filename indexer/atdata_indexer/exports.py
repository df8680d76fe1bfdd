"""Where exports lie: one folder for each, and a manifest that names the one that is offered.

Whoever reads goes by the manifest, so all files are of one moment and each is whole. An export is
withdrawn by removing the manifest, and is gone for every process at once.
"""

import fcntl
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from atdata_indexer import export
from atdata_indexer.index.files import digest, sync_folder, write_atomically
from atdata_indexer.index.store import Store
from atdata_schemas.syntax import format_micros

FOLDER = "export"
_MANIFEST = "manifest.json"
_LOCK = "making.lock"


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
        """Make an export and offer it, where nothing can be hidden meanwhile.

        Raises StoreError and OSError, and then offers what was offered.
        """
        with self.written(store, now_us) as made:
            self.offer(made)
        return made

    @contextmanager
    def written(self, store: Store, now_us: int) -> Iterator[Export]:
        """A new export, which is on the disk and gone after the block if that did not offer it.

        What is offered stays, and the one before goes, which had stayed for its readers. One is
        made at a time: others wait. Raises StoreError and OSError.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        with self._alone():
            before = self.current()
            self._clear({before.folder} if before else set())
            folder = secrets.token_hex(8)
            try:
                (self._root / folder).mkdir()
                seq, rows = export.write(store, self._root / folder)
                files = {name: self._file(folder, name, count) for name, count in rows.items()}
                sync_folder(self._root)
                yield Export(folder, store.epoch, seq, format_micros(now_us), now_us, files)
            finally:
                now = self.current()
                if now is None or now.folder != folder:
                    self._drop(folder)

    def offer(self, made: Export) -> None:
        """Offer an export in the place of what is offered."""
        write_atomically(self._root / _MANIFEST, _EXPORT.dump_json(made, indent=2).decode())

    def withdraw(self) -> None:
        """Offer none, and leave nothing of any."""
        made = self.current()
        if made is None:
            return
        (self._root / _MANIFEST).unlink(missing_ok=True)
        sync_folder(self._root)
        # Only this one: another may be in the making. What stays of it goes when the next is made.
        self._drop(made.folder)

    def rows(self, made: Export) -> Iterator[pa.RecordBatch]:
        """`uri`, `cid` and `did` of all records in an export. Raises OSError and ArrowException."""
        for name in made.files.keys() - {"tags"}:
            with pq.ParquetFile(self.path(made, name)) as file:
                yield from file.iter_batches(columns=["uri", "cid", "did"])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until nobody else writes an export here, this process or another."""
        with (self._root / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _drop(self, folder: str) -> None:
        shutil.rmtree(self._root / folder, ignore_errors=True)

    def _file(self, folder: str, name: str, rows: int) -> ExportedFile:
        path = self._root / folder / f"{name}.parquet"
        return ExportedFile(rows, path.stat().st_size, digest(path))

    def _clear(self, kept: set[str]) -> None:
        for path in self._root.iterdir():
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)  # another may be at it
