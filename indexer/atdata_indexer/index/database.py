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

_DAMAGE = ("orrupt", "checksum", "not a valid DuckDB", "Could not read enough", "WAL file")
"""What DuckDB's words for a damaged file have in common. It has no error of its own for that."""

CLOSING_S = 30.0
"""How long readers may take when the file is closed."""
SCANNED = 100_000
"""Up to so many outbox entries, hence rows, a scan is cheaper than 500 look-ups by key."""


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
            raise StoreError(f"cannot open {path}: {error}{_way_back(error)}") from error
        self._readers = 0
        self._reading = threading.Condition()
        self._db = self._root.cursor()
        self.head = 0
        try:
            self._open()
            self.epoch = self._meta("epoch")
            self.head = self._value("SELECT max(seq) FROM outbox") or int(self._meta("head"))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        self._db.close()
        with self._reading:
            # DuckDB refuses to close while another thread still reads; most do so for moments.
            self._reading.wait_for(lambda: not self._readers, CLOSING_S)
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

    def _in(
        self,
        sql: str,
        keys: Iterable[Any],
        rest: str = "",
        db: duckdb.DuckDBPyConnection | None = None,
    ) -> list[Any]:
        """Run `sql`, which ends in IN, for `keys`; on `db`, a connection of `reader`, if given.

        While the tables are small they are scanned, which costs less than planning a look-up for
        each key; from then on the keys go in slices that are planned as point look-ups, unless
        there are as many of them as it would take.
        """
        keys = list(keys)
        if keys and (self.head < SCANNED or len(keys) >= SCANNED):
            return self._all(f"{sql} (SELECT unnest(?)){rest}", [keys], db)
        rows: list[Any] = []
        for at in range(0, len(keys), 500):
            some = keys[at : at + 500]
            marks = ", ".join("?" * len(some))
            rows += self._all(f"{sql} ({marks}){rest}", some, db)
        return rows

    def _all(
        self, sql: str, params: Sequence[Any] = (), db: duckdb.DuckDBPyConnection | None = None
    ) -> list[Any]:
        with self._told("used"):
            return (self._db if db is None else db).execute(sql, list(params)).fetchall()

    def _value(self, sql: str, params: Sequence[Any] = ()) -> Any:
        rows = self._all(sql, params)
        return rows[0][0] if rows else None

    def _meta(self, key: str) -> str:
        value = self._value("SELECT value FROM meta WHERE key = ?", [key])
        if not isinstance(value, str):
            raise StoreError(f"the database has no {key}: not a file of this program, or damaged")
        return value

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        head = getattr(self, "head", 0)
        with self._told("written"):
            self._db.execute("BEGIN")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self.head = head
                with suppress(duckdb.Error):  # a failed COMMIT has already rolled back
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn what DuckDB raises into a StoreError: the database cannot be `what`."""
        try:
            yield
        except duckdb.Error as error:
            why = f"{error}{_way_back(error)}"
            raise StoreError(f"the database cannot be {what}: {why}") from error

    def look_up(self, sql: str, keys: Iterable[Any], db: duckdb.DuckDBPyConnection) -> list[Any]:
        """Run `sql`, which ends in IN, for `keys` on a connection of `reader`; any thread."""
        return self._in(sql, keys, db=db)

    @contextmanager
    def reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own for reading, on a consistent snapshot; any thread."""
        with self._told("read"), self._reading:
            db = self._root.cursor()
            self._readers += 1
        try:
            with self._told("read"):
                yield db
        finally:
            db.close()
            with self._reading:
                self._readers -= 1
                self._reading.notify_all()


def _way_back(error: Exception) -> str:
    """What an operator can do about a file that cannot be read, if its damage may be the reason."""
    said = str(error)
    if "No space left" in said or not any(sign in said for sign in _DAMAGE):
        return ""
    return (
        "\nThe file is damaged. `atdata-appview restore --replace DIR` puts a backup in its place;"
        " without one, `atdata-appview rebuild --from-network` puts it aside, and everything in it"
        " is fetched again."
    )
