"""The DuckDB file itself: opening, layouts, transactions, bulk statements, copies.

Knows tables by name only; what they mean is `store`'s. Statements are those of `tables`, or end in
`IN` and are given their keys as parameters: none is built from input.
"""

import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from atdata_indexer.errors import StoreError
from atdata_indexer.index import files, tables


class Database:
    """One DuckDB file, shut off from other files and from changes of its settings.

    `head` is the newest outbox seq, `epoch` what everything derived from this database carries.
    Raises StoreError when the file is in use, damaged or of a layout this version does not know.
    """

    def __init__(self, path: Path, *, memory_limit: str = "2GB", threads: int = 2) -> None:
        self._path = path
        self._file: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._root = duckdb.connect(
                str(path),
                config={
                    "memory_limit": memory_limit,
                    "threads": threads,
                    "enable_external_access": False,
                    "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False,
                    "lock_configuration": True,
                },
            )
        except (duckdb.Error, OSError) as error:
            raise StoreError(f"cannot open {path}: {error}") from error
        self._lock = threading.Lock()
        self._db = self._root.cursor()
        self.head = 0
        try:
            self._open()
            self.epoch = self._meta("epoch")
            self.head = self._value("SELECT max(seq) FROM outbox") or int(self._meta("head"))
        except duckdb.Error as error:
            self.close()
            raise StoreError(f"cannot read {path}: {error}") from error
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        self._db.close()
        self._root.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def copy_to(self, path: Path) -> None:
        """Copy the file, and the log of what is not in it yet, while nothing writes.

        DuckDB could copy a database itself, but only if it may reach files, which is shut off here.
        """
        with suppress(duckdb.TransactionException):  # somebody still reads what has been deleted
            self._db.execute("CHECKPOINT")
        files.write(path, self._file_bytes())
        log = Path(f"{self._path}.wal")
        if log.exists():
            files.write(Path(f"{path}.wal"), files.read(log))

    def renew_epoch(self) -> None:
        """Begin a new epoch: what was derived from this database before no longer fits it."""
        epoch = secrets.token_hex(8)
        with self._transaction():
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", [epoch])
        self.epoch = epoch

    def _file_bytes(self, size: int = 1 << 20) -> Iterator[bytes]:
        if self._file is None:
            # Kept open to the end: a process that closes any descriptor of a file gives up all
            # its locks on it (POSIX), and with them DuckDB's.
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        at = 0
        while chunk := os.pread(self._file, size, at):
            at += len(chunk)
            yield chunk

    # Inside

    def _open(self) -> None:
        if self._value("SELECT count(*) FROM duckdb_tables()") == 0:
            with self._transaction():
                self._db.execute(tables.DDL)
                meta = {"layout": str(tables.LAYOUT), "epoch": secrets.token_hex(8), "head": "0"}
                for key, value in meta.items():
                    self._db.execute("INSERT INTO meta VALUES (?, ?)", [key, value])
        layout = int(self._meta("layout"))
        while migration := tables.MIGRATIONS.get(layout):
            layout += 1
            with self._transaction():
                self._db.execute(migration)
                self._db.execute("UPDATE meta SET value = ? WHERE key = 'layout'", [str(layout)])
        if layout != tables.LAYOUT:
            raise StoreError(
                f"the database has layout {layout}, this version knows {tables.LAYOUT}: install the"
                " version that wrote it, or start with an empty data directory"
            )

    def _replace(self, table: str, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
        if rows:
            self._in(f"{tables.DELETE[table]} IN", [row["uri"] for row in rows])
            self._insert(table, schema, rows)

    def _insert(self, table: str, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
        # Arrow, because rows given one by one cost a hundred times as much.
        self._db.register("incoming", pa.Table.from_pylist(rows, schema))
        self._db.execute(tables.INSERT[table])
        self._db.unregister("incoming")

    def _upsert(self, sql: str, rows: list[dict[str, Any]]) -> None:
        """Run `sql`, which reads rows of `repos` from `incoming`."""
        if rows:
            self._db.register("incoming", pa.Table.from_pylist(rows, tables.repo_columns(rows[0])))
            self._db.execute(sql)
            self._db.unregister("incoming")

    def _in(self, sql: str, keys: Iterable[Any]) -> list[Any]:
        """Run `sql`, which ends in IN, for `keys`, in slices that are planned as point look-ups."""
        keys = list(keys)
        rows: list[Any] = []
        for at in range(0, len(keys), 500):
            some = keys[at : at + 500]
            marks = ", ".join("?" * len(some))
            rows += self._db.execute(f"{sql} ({marks})", some).fetchall()
        return rows

    def _all(self, sql: str, params: Sequence[Any] = ()) -> list[Any]:
        return self._db.execute(sql, list(params)).fetchall()

    def _value(self, sql: str, params: Sequence[Any] = ()) -> Any:
        row = self._db.execute(sql, list(params)).fetchone()
        return None if row is None else row[0]

    def _meta(self, key: str) -> str:
        value = self._value("SELECT value FROM meta WHERE key = ?", [key])
        if not isinstance(value, str):
            raise StoreError(f"the database has no {key}: not a file of this program, or damaged")
        return value

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        head = getattr(self, "head", 0)
        self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            self.head = head
            with suppress(duckdb.Error):  # a failed COMMIT has already rolled back
                self._db.execute("ROLLBACK")
            if isinstance(error, duckdb.Error):
                raise StoreError(f"the database cannot be written: {error}") from error
            raise

    @contextmanager
    def reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own for reading, on a consistent snapshot; any thread."""
        with self._lock:
            db = self._root.cursor()
        try:
            yield db
        except duckdb.Error as error:
            raise StoreError(f"the database cannot be read: {error}") from error
        finally:
            db.close()
