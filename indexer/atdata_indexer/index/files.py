"""Files that are whole or not there at all, and on the disk when they are there."""

import os
import shutil
from collections.abc import Iterable, Iterator
from hashlib import file_digest
from pathlib import Path

_LITTLE = 1 << 20
"""What may be left of a full disk: too little for what was to be written last."""


def write_atomically(path: Path, text: str) -> None:
    """Put `text` in the place of what is at `path`, if anything; readers see one or the other."""
    temporary = path.with_suffix(".new")
    write(temporary, [text.encode()])
    temporary.replace(path)
    sync_folder(path.parent)


def write(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file. A failure leaves none."""
    try:
        with path.open("wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def read(path: Path) -> Iterator[bytes]:
    """The bytes of a file, a piece at a time."""
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


def is_full(folder: Path) -> bool:
    """Whether next to nothing can be written where `folder` is."""
    return shutil.disk_usage(folder).free < _LITTLE


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
