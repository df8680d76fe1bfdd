"""The DuckDB file: rows, repo state, cursors, outbox and quarantine. One writer, one transaction.

Everything a run of events changes is committed together with the cursor that covers it, so what is
acknowledged is durable and the cursor is never ahead of it. Methods that write must be called from
one thread; those that only read (`status`, `counts`) may be called from any.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from atdata_indexer.fold import Changes, Repo, SyncState
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index import tables
from atdata_indexer.index.database import Database
from atdata_indexer.index.sortkeys import unique_keys
from atdata_indexer.index.tables import Link, RecordStatus, Stored
from atdata_indexer.snapshot import Held

KEPT_OUTBOX = 1_000_000
"""How many outbox entries are kept for followers and for catching up."""


class Store(Database):
    """The rows, repos, cursors, outbox and quarantine of one AppView.

    Raises StoreError when the file is in use, damaged or of a layout this version does not know.
    """

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
        """Hide or show again all records of an account (spec: account hosting status).

        Any inactive status hides at once; a deleted account is to be purged once it is hidden.
        """
        new = "active" if active else status if status not in (None, "", "active") else "inactive"
        with self._transaction():
            old = self._value("SELECT status FROM repos WHERE did = ?", [did])
            if old is not None and old != new:
                self._db.execute("UPDATE repos SET status = ? WHERE did = ?", [new, did])
                if old == "deleted":
                    # Nothing was kept: what is there now must be fetched.
                    self._db.execute("UPDATE repos SET sync = 'backfilling' WHERE did = ?", [did])
                if active:
                    live = self._in(tables.LIVE_OF, [did])
                    self._append((*row[:4], "show") for row in live)
                    self._refresh_dependents(row[0] for row in live if row[4] == "schema")
                elif old == "active":
                    # One entry for all its records, and before all else: hiding cannot wait.
                    self._append([(f"at://{did}", did, None, None, "hide")])
                    schemas = self._in(tables.SCHEMAS_OF, [did])
                    self._refresh_dependents(uri for (uri,) in schemas)
            self._save_cursor(source, seq, now_us)

    def purge(self, did: str | None = None) -> None:
        """Remove every body of deleted accounts: of this one, or of all that are left."""
        dids = [did] if did is not None else [d for (d,) in self._all(tables.LEFT_OVER)]
        for one in dids:
            with self._transaction():
                self._db.execute("DELETE FROM records WHERE did = ?", [one])
                self._db.execute("DELETE FROM quarantine WHERE did = ?", [one])

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


def _repo_row(repo: Repo) -> dict[str, Any]:
    return {
        "did": repo.did,
        "rev": repo.rev,
        "status": repo.status,
        "sync": repo.sync,
        "data": repo.data,
        "identity_due": True,
    }
