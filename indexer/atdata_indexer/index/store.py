"""The DuckDB file: rows, repo state, cursors, outbox and quarantine. One writer, one transaction.

Everything a run of events changes is committed together with the cursor that covers it, so what is
acknowledged is durable and the cursor is never ahead of it. Methods that write must be called from
one thread; those that only read (`status`, `counts`) may be called from any.
"""

import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from atdata_indexer.errors import StoreError
from atdata_indexer.fold import Changes, Repo, SyncState
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index import files, tables
from atdata_indexer.index.sortkeys import unique_keys
from atdata_indexer.index.tables import Link, RecordStatus, Stored
from atdata_indexer.snapshot import Held

KEPT_OUTBOX = 1_000_000
"""How many outbox entries are kept for followers and for catching up."""


class Store:
    """The database of one AppView.

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

    # What the fold needs to know

    def rows(self, uris: Iterable[str]) -> dict[str, tuple[str, int]]:
        """The (rev, op index) of those of `uris` that have a row, tombstones included."""
        found = self._in("SELECT uri, rev, op_index FROM records WHERE uri IN", uris)
        return {uri: (rev, op_index) for uri, rev, op_index in found}

    def repos(self, dids: Iterable[str]) -> dict[str, Repo]:
        """What is known of those of `dids` that are tracked."""
        sql = "SELECT did, rev, status, sync, data, signing_key FROM repos WHERE did IN"
        found = self._in(sql, dids)
        return {row[0]: Repo(*row) for row in found}

    def held(self, did: str) -> dict[str, Held]:
        """All rows of a repo by URI, tombstones included."""
        rows = self._all(
            "SELECT uri, collection, rkey, cid, rev, op_index, state FROM records WHERE did = ?",
            [did],
        )
        return {row[0]: Held(row[1], row[2], row[3], (row[4], row[5]), row[6]) for row in rows}

    def tracked(self) -> set[str]:
        """Every tracked DID."""
        return {did for (did,) in self._all("SELECT did FROM repos")}

    def cursor(self, source: str) -> int | None:
        """The last seq of `source` whose effect is stored."""
        seq: int | None = self._value("SELECT seq FROM cursors WHERE source = ?", [source])
        return seq

    # What writes

    def commit(self, changes: Changes, source: str, seq: int | None, now_us: int) -> None:
        """Store a run of changes, its outbox entries and the cursor that covers it.

        Without `seq` the cursor stays: the changes came from elsewhere than the stream.
        """
        with self._transaction():
            rows = self._records(changes, now_us)
            self._replace("records", tables.RECORD, rows)
            self._replace("quarantine", tables.QUARANTINE, self._faults(changes, now_us))
            healed = [row["uri"] for row in rows if row["uri"] not in changes.faults]
            self._in("DELETE FROM quarantine WHERE uri IN", healed)
            for did in changes.healed:
                self._db.execute(tables.SETTLE, [did, did])
            in_step = [f"at://{r.did}" for r in changes.repos.values() if r.sync == "active"]
            self._in(
                "DELETE FROM quarantine WHERE uri IN",
                [uri for uri in in_step if uri not in changes.faults],
            )
            self._upsert(tables.REPO, [_repo_row(repo) for repo in changes.repos.values()])
            self._append((c.uri, c.did, c.cid, c.rev, c.op) for c in changes.outbox)
            self._refresh_dependents(
                uri for uri, row in changes.rows.items() if row.kind == "schema"
            )
            self._save_cursor(source, seq, now_us)

    def save_cursor(self, source: str, seq: int, now_us: int) -> None:
        """Move the cursor over events that concern nothing we keep."""
        with self._transaction():
            self._save_cursor(source, seq, now_us)

    def set_account(
        self, did: str, active: bool, status: str | None, source: str, seq: int | None, now_us: int
    ) -> None:
        """Hide, purge or show again all records of an account (spec: account hosting status).

        Any inactive status hides at once; `deleted` also removes every body from the database.
        """
        new = "active" if active else status if status not in (None, "", "active") else "inactive"
        with self._transaction():
            old = self._value("SELECT status FROM repos WHERE did = ?", [did])
            if old is not None and old != new:
                self._db.execute("UPDATE repos SET status = ? WHERE did = ?", [new, did])
                live = self._in(tables.LIVE_OF, [did])
                op = "show" if active else "hide"
                if (old == "active") != active:
                    self._append((*row[:4], op) for row in live)
                    self._refresh_dependents(row[0] for row in live if row[4] == "schema")
                if old == "deleted":
                    # Nothing was kept: what is there now must be fetched.
                    self._db.execute("UPDATE repos SET sync = 'backfilling' WHERE did = ?", [did])
                if new == "deleted":
                    self._db.execute("DELETE FROM records WHERE did = ?", [did])
                    self._db.execute("DELETE FROM quarantine WHERE did = ?", [did])
            self._save_cursor(source, seq, now_us)

    def add_repos(self, dids: Iterable[str]) -> None:
        """Begin to track repos of which nothing is known but that they have records of ours."""
        with self._transaction():
            new = [_repo_row(Repo(did, sync="backfilling")) for did in dict.fromkeys(dids)]
            self._upsert(tables.NEW_REPO, new)

    def set_sync_state(self, did: str, sync: SyncState) -> None:
        """Note how it stands with a repo that was to be fetched."""
        with self._transaction():
            self._db.execute("UPDATE repos SET sync = ? WHERE did = ?", [sync, did])

    def set_sync(self, did: str, rev: str, source: str, seq: int | None, now_us: int) -> None:
        """Note a `#sync`: a repo whose rev is not the one stored is desynchronised."""
        with self._transaction():
            self._db.execute(
                "UPDATE repos SET sync = 'desynchronised' WHERE did = ? AND rev IS DISTINCT FROM ?",
                [did, rev],
            )
            self._save_cursor(source, seq, now_us)

    def set_identity_due(self, did: str, source: str, seq: int | None, now_us: int) -> None:
        """Note that a DID document must be read again."""
        with self._transaction():
            self._db.execute("UPDATE repos SET identity_due = true WHERE did = ?", [did])
            self._save_cursor(source, seq, now_us)

    def set_identities(self, identities: Iterable[ResolvedIdentity]) -> None:
        """Store resolved identities; a changed handle brings the repo's documents up to date.

        A handle belongs to one DID: who had it before loses it, and must be looked up again.
        """
        resolved = {one.did: one for one in identities}
        with self._transaction():
            held = dict(self._in("SELECT did, handle FROM repos WHERE did IN", resolved))
            rows: list[dict[str, Any]] = []
            for did, old in held.items():
                one = resolved[did]
                keeps = one.handle is None and one.claimed is not None and one.claimed == old
                rows.append(
                    {
                        "did": did,
                        "handle": old if keeps else one.handle,
                        "pds": one.pds,
                        "signing_key": one.signing_key,
                        "identity_due": one.claimed is not None,
                    }
                )
            taken = [row["handle"] for row in rows if row["handle"] is not None]
            bereft = [
                {"did": did, "handle": None, "identity_due": True}
                for (did,) in self._in("SELECT did FROM repos WHERE handle IN", taken)
                if did not in held
            ]
            self._upsert(tables.BEREFT, bereft)
            self._upsert(tables.IDENTITY, rows)
            moved = [row["did"] for row in rows if row["handle"] != held[row["did"]]]
            live = self._in(tables.LIVE_OF, moved + [row["did"] for row in bereft])
            self._append((*row[:4], "refresh") for row in live)

    def behind(self) -> list[str]:
        """Repos of active accounts that are not in step with their PDS. Any thread."""
        with self.reader() as db:
            rows = db.execute(
                "SELECT did FROM repos WHERE status = 'active'"
                " AND sync IN ('backfilling', 'desynchronised', 'throttled')"
            ).fetchall()
        return [did for (did,) in rows]

    def is_behind(self, did: str) -> bool:
        """Whether a repo must be fetched. Any thread."""
        with self.reader() as db:
            row = db.execute(
                "SELECT status = 'active' AND sync IN ('backfilling', 'desynchronised',"
                " 'throttled') FROM repos WHERE did = ?",
                [did],
            ).fetchone()
        return row is not None and bool(row[0])

    def home(self, did: str) -> tuple[str | None, str | None]:
        """The PDS and the signing key of an account, as last resolved. Any thread."""
        with self.reader() as db:
            row = db.execute("SELECT pds, signing_key FROM repos WHERE did = ?", [did]).fetchone()
        return (None, None) if row is None else (row[0], row[1])

    def identities_due(self) -> list[str]:
        """The DIDs whose document must be read (again). Any thread."""
        with self.reader() as db:
            due = db.execute("SELECT did FROM repos WHERE identity_due").fetchall()
        return [did for (did,) in due]

    def prune_outbox(self, indexed_seq: int, keep: int = KEPT_OUTBOX) -> None:
        """Forget outbox entries beyond the newest `keep`, never one that is not yet indexed."""
        with self._transaction():
            self._db.execute(
                "DELETE FROM outbox WHERE seq <= ?", [min(indexed_seq, self.head - keep)]
            )
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'head'", [str(self.head)])

    # What tantivy is derived from

    def outbox(self, after: int, limit: int) -> list[tuple[int, str]]:
        """The (seq, uri) of up to `limit` outbox entries after seq `after`, in order."""
        sql = "SELECT seq, uri FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?"
        return self._all(sql, [after, limit])

    def oldest(self) -> int | None:
        """The oldest seq the outbox still holds, if it holds any."""
        seq: int | None = self._value("SELECT min(seq) FROM outbox")
        return seq

    def load(self, uris: Iterable[str]) -> list[Stored]:
        """What the visible ones of `uris` are made of now."""
        sql = f"{tables.LOAD} WHERE r.state = 'live' AND p.status = 'active' AND r.uri IN"
        return self._stored(self._in(sql, uris))

    def load_all(self, batch: int = 10_000) -> Iterator[list[Stored]]:
        """Every visible record in batches, for a rebuild."""
        with self.reader() as db:
            db.execute(f"{tables.LOAD} WHERE r.state = 'live' AND p.status = 'active'")
            while rows := db.fetchmany(batch):
                yield self._stored(rows)

    # What operators and users ask; any thread

    def record_status(self, uri: str) -> RecordStatus:
        """Whether a record is indexed, quarantined, hidden, deleted or unseen, and why."""
        with self.reader() as db:
            row = db.execute(
                "SELECT r.state, r.cid, r.rev, p.status, r.indexed_us, r.verified FROM records r"
                " JOIN repos p ON p.did = r.did WHERE r.uri = ?",
                [uri],
            ).fetchone()
            fault = db.execute(
                "SELECT cid, rev, rule, path, reason, seen_us FROM quarantine WHERE uri = ?", [uri]
            ).fetchone()
            account = db.execute(
                "SELECT status FROM repos WHERE did = split_part(?, '/', 3)", [uri]
            ).fetchone()
        if account is not None and account[0] != "active" and (row is not None or fault):
            return RecordStatus("hidden", account_status=account[0])
        if row is not None and row[0] == "live":
            return RecordStatus("indexed", row[1], row[2], indexed_us=row[4], verified=row[5])
        if row is not None and row[0] == "deleted":
            return RecordStatus("deleted", rev=row[2])
        if fault is not None:
            cid, rev, rule, path, reason, seen_us = fault
            return RecordStatus("quarantined", cid, rev, rule, path, reason, indexed_us=seen_us)
        if account is not None and account[0] == "deleted":
            return RecordStatus("deleted", account_status="deleted")
        return RecordStatus("unseen")

    def counts(self) -> Mapping[str, int]:
        """How many tracked accounts are active, and how much is in quarantine."""
        with self.reader() as db:
            accounts = db.execute("SELECT count(*) FROM repos WHERE status = 'active'").fetchone()
            quarantined = db.execute("SELECT count(*) FROM quarantine").fetchone()
        assert accounts is not None
        assert quarantined is not None
        return {"accounts": accounts[0], "quarantined": quarantined[0]}

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

    def _records(self, changes: Changes, now_us: int) -> list[dict[str, Any]]:
        rows = changes.rows
        held = self._in("SELECT uri, created_us, sort_created FROM records WHERE uri IN", rows)
        known = {uri: (created, key) for uri, created, key in held if key is not None}
        keys = {
            uri: key for uri, (created, key) in known.items() if created == rows[uri].created_us
        }
        wanted = {
            uri: row.created_us
            for uri, row in rows.items()
            if row.created_us is not None and uri not in keys
        }
        keys |= unique_keys(wanted, self._taken)
        last = {change.uri: self.head + n for n, change in enumerate(changes.outbox, 1)}
        return [
            asdict(row) | {"sort_created": keys.get(uri), "indexed_us": now_us, "seq": last[uri]}
            for uri, row in rows.items()
        ]

    def _taken(self, keys: Iterable[int]) -> set[int]:
        sql = "SELECT sort_created FROM records WHERE sort_created IN"
        return {key for (key,) in self._in(sql, keys)}

    def _faults(self, changes: Changes, now_us: int) -> list[dict[str, Any]]:
        return [asdict(fault) | {"seen_us": now_us} for fault in changes.faults.values()]

    def _save_cursor(self, source: str, seq: int | None, now_us: int) -> None:
        if seq is None:
            return
        self._db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", [source, seq, now_us])

    def _append(self, entries: Iterable[Sequence[Any]]) -> None:
        rows = [
            dict(zip(tables.OUTBOX.names, (seq, *entry), strict=True))
            for seq, entry in enumerate(entries, self.head + 1)
        ]
        if rows:
            self._insert("outbox", tables.OUTBOX, rows)
            self.head = rows[-1]["seq"]

    def _refresh_dependents(self, schemas: Iterable[str]) -> None:
        """Queue whatever shows one of these schemas, so that its document is made again."""
        uris = list(schemas)
        for sql in tables.DEPENDENTS:
            self._append((*row, "refresh") for row in self._in(sql, uris))

    def _stored(self, rows: Iterable[Sequence[Any]]) -> list[Stored]:
        rows = list(rows)
        refs = {ref for row in rows for ref in row[8:] if ref is not None}
        links = {ref: Link(ref) for ref in refs}
        found = self._in(
            "SELECT r.uri, r.cid, r.name, r.version FROM records r JOIN repos p ON p.did = r.did"
            " WHERE r.state = 'live' AND r.kind = 'schema' AND p.status = 'active' AND r.uri IN",
            refs,
        )
        links |= {row[0]: Link(*row) for row in found}
        return [Stored(*(*one, links.get(a), links.get(b))) for *one, a, b in rows]

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

    # What an operator does

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


def _repo_row(repo: Repo) -> dict[str, Any]:
    return {
        "did": repo.did,
        "rev": repo.rev,
        "status": repo.status,
        "sync": repo.sync,
        "data": repo.data,
        "identity_due": True,
    }
