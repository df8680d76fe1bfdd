"""Copies of the database, and the way back from one.

A backup is a folder with the database file and a manifest. The manifest is written last, so a
folder without one is half made; it holds the file's SHA-256, so damage shows before it is restored.
A restored database begins a new epoch: its outbox seqs may have stood for other changes meanwhile,
so nothing derived from it, the index first of all, may go on.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from atdata_indexer.errors import StoreError
from atdata_indexer.index.files import digest, read, sync_folder, write, write_atomically
from atdata_indexer.index.store import Store

DATABASE = "appview.duckdb"
MANIFEST = "backup.json"
_WAL = f"{DATABASE}.wal"
_INCOMING = f"{DATABASE}.restoring"
_REPLACED = ".replaced"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is of."""

    version: str
    epoch: str
    head: int
    made_at: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a restore: the epoch before and after, and where the old database is now."""

    manifest: Manifest
    epoch: str
    replaced: str | None


def prepare(folder: Path) -> None:
    """Make the folder of a backup. Raises StoreError when there is something in it."""
    with _told(f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StoreError(f"{folder} is not empty: name a new folder for each backup")
        folder.chmod(0o700)


def copy(store: Store, folder: Path) -> tuple[str, int]:
    """Copy an open store; nothing may write meanwhile. The epoch and head of what was copied."""
    with _told(f"cannot write to {folder}"):
        store.copy_to(folder / DATABASE)
    return store.epoch, store.head


def finish(folder: Path, copied: tuple[str, int], made_at: str, memory_limit: str) -> Manifest:
    """Open the copy to see that it is one, which also folds its log in; write the manifest."""
    path = folder / DATABASE
    held = Store(path, memory_limit=memory_limit)
    found = held.epoch, held.head
    held.close()
    if found != copied or Path(f"{path}.wal").exists():
        raise StoreError(f"the copy in {folder} is not what was copied: do not keep it")
    with _told(f"cannot write to {folder}"):
        manifest = Manifest(
            version("atdata-appview"), *found, made_at, path.stat().st_size, digest(path)
        )
        write_atomically(folder / MANIFEST, json.dumps(asdict(manifest), indent=2) + "\n")
    return manifest


def restore(folder: Path, data_dir: Path, *, replace: bool, memory_limit: str) -> Restored:
    """Put the database of a backup in the place of the one in `data_dir`, under a new epoch.

    A database that is there is kept beside it, and only with `replace`. Raises StoreError, and has
    then changed nothing, when the backup is damaged or the data directory is in use.
    """
    manifest = _manifest(folder)
    target, incoming = data_dir / DATABASE, data_dir / _INCOMING
    with _told(f"cannot restore to {data_dir}"):
        data_dir.mkdir(parents=True, exist_ok=True)
        if target.exists() and not replace:
            raise StoreError(f"{target} exists: to put it aside, say --replace")
        _refuse_if_open(target)
        Path(f"{incoming}.wal").unlink(missing_ok=True)  # of an attempt that was cut off
        write(incoming, read(folder / DATABASE))
        if digest(incoming) != manifest.sha256:
            incoming.unlink()
            raise StoreError(f"{folder / DATABASE} is damaged: it is not what {MANIFEST} says")
        store = Store(incoming, memory_limit=memory_limit)
        store.renew_epoch()
        epoch = store.epoch
        store.close()
        replaced = _put_aside(data_dir)
        incoming.replace(target)
        sync_folder(data_dir)
    return Restored(manifest, epoch, replaced)


def put_aside(data_dir: Path) -> str | None:
    """Move a database away, however damaged, so that the next start begins an empty one.

    Gives where it is now. Raises StoreError when it is in use.
    """
    with _told(f"cannot move the database of {data_dir} away"):
        _refuse_if_open(data_dir / DATABASE)
        aside = _put_aside(data_dir)
        sync_folder(data_dir)
    return aside


def _put_aside(data_dir: Path) -> str | None:
    aside = None
    for old in (data_dir / DATABASE, data_dir / _WAL):  # the log too: it fits no other database
        if old.exists():
            old.replace(old.with_name(old.name + _REPLACED))
            aside = str(data_dir / DATABASE) + _REPLACED
    return aside


def _manifest(folder: Path) -> Manifest:
    try:
        return Manifest(**json.loads((folder / MANIFEST).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{folder} is not a complete backup: {error}") from error


def _refuse_if_open(path: Path) -> None:
    """Raise StoreError while another process has the database open: it holds a lock on it."""
    try:
        with path.open("rb+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return
    except BlockingIOError as error:
        raise StoreError(f"{path} is in use: stop the indexer first") from error


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn a failure of the file system into a StoreError that says `what`."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what}: {error}") from error
