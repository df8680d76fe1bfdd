"""The real program on a disk that is slow, or stands still.

    python tests/slow_disk.py SECONDS FOLDER run

Every DuckDB transaction takes SECONDS longer, and stands still while FOLDER/hold is there. For each
that was delayed a byte is added to FOLDER/delays.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atdata_client.cli import main
from atdata_indexer.index.database import Database


class SlowDisk:
    """The faults of one program: how a test starts it, and what it sees of it."""

    def __init__(self, folder: Path, seconds: float = 0.0) -> None:
        folder.mkdir(exist_ok=True)
        self._delays = folder / "delays"
        self._hold = folder / "hold"
        self._seconds = seconds
        self.program: Sequence[str] = [sys.executable, __file__, str(seconds), str(folder)]

    @property
    def delays(self) -> int:
        """How many transactions were delayed."""
        return self._delays.stat().st_size if self._delays.exists() else 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """The disk stands still."""
        self._hold.touch()
        try:
            yield
        finally:
            self._hold.unlink()

    def wait(self) -> None:
        """Called before each COMMIT."""
        time.sleep(self._seconds)
        with self._delays.open("ab") as delays:
            delays.write(b".")
        while self._hold.exists():
            time.sleep(0.01)


def arm(disk: SlowDisk) -> None:
    """Make every transaction of this process wait for the disk."""
    real: Any = Database._transaction

    @contextmanager
    def transaction(store: Database) -> Iterator[None]:
        with real(store):
            yield
            disk.wait()

    Database._transaction = transaction  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    arm(SlowDisk(Path(sys.argv[2]), float(sys.argv[1])))
    sys.argv[1:3] = []
    main()
