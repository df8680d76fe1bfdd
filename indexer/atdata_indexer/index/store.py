"""The DuckDB file: rows, repo state, cursors, outbox and quarantine. One writer, one transaction.

Everything a run of events changes is committed together with the cursor that covers it, so what is
acknowledged is durable and the cursor is never ahead of it. Methods that write must be called from
one thread; those that only read (`status`, `counts`) may be called from any.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from hashlib import sha256
from typing import Any

import duckdb

from atdata_indexer.changes import Changes, Fault, Held, Row
from atdata_indexer.frames import Account, Gap
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index import tables
from atdata_indexer.index.moderation import ModeratedDatabase, why_hidden
from atdata_indexer.index.repos import repo_row, totals_row
from atdata_indexer.index.sortkeys import unique_keys
from atdata_indexer.index.tables import Link, RecordStatus, Stored
from atdata_indexer.limits import DEFERRED
from atdata_schemas.records import KINDS

_OF_ROW = [field.name for field in fields(Row)]
"""What `asdict` would copy, which costs ten times as much."""

_LOADED, _LINKED, _LOADED_TEXT = 10_000, 2_000, 32 << 20
"""How many records are loaded together for a rebuild, how many schemas with them, and how many
characters of the records.
"""
_FETCHED = 64


class Store(ModeratedDatabase):
    """The rows, repos, cursors, outbox and quarantine of one AppView.

    Raises StoreError when the file is in use, damaged or of a layout this version does not know.
    """

    # What the fold needs to know

    def rows(self, uris: Iterable[str]) -> dict[str, Held]:
        """Those of `uris` that have a row, tombstones included."""
        return _held(self._in(f"{tables.HELD} WHERE uri IN", uris))

    def held(self, did: str) -> dict[str, Held]:
        """All rows of a repo by URI, tombstones included. Any thread."""
        with self.reader() as db:
            return _held(db.execute(f"{tables.HELD} WHERE did = ?", [did]).fetchall())

    # What writes

    def commit(self, changes: Changes, cursors: Mapping[str, int], now_us: int) -> int:
        """Store a run of changes, its outbox entries and the cursors that cover it.

        Gives how many older entries quarantine had to drop for it.
        """
        dropped = 0
        with self._transaction():
            rows = self._records(changes, now_us)
            if rows:
                self._insert("records", tables.RECORD, rows)
            self._replace("quarantine", tables.QUARANTINE, self._faults(changes, now_us))
            healed = [row["uri"] for row in rows if row["uri"] not in changes.faults]
            in_step = [f"at://{r.did}" for r in changes.repos.values() if r.sync == "active"]
            healed += [uri for uri in in_step if uri not in changes.faults]
            if self._value("SELECT count(*) FROM quarantine"):
                self._in("DELETE FROM quarantine WHERE uri IN", healed)
            for did in changes.healed:
                self._db.execute(tables.SETTLE, [did, did])
            checked = dict.fromkeys(changes.in_step, now_us)
            repos, totals = changes.repos, changes.totals
            rows = [
                repo_row(replace(one, totals=totals.get(did, one.totals)), now_us, checked.get(did))
                for did, one in repos.items()
            ]
            self._upsert(tables.REPO, rows)
            others = [totals_row(did, one) for did, one in totals.items() if did not in repos]
            self._upsert(tables.TOTALS, others)
            if changes.faults:
                dropped = self._bound_quarantine({f.did for f in changes.faults.values()})
            self._append((c.uri, c.did, c.cid, c.rev, c.op) for c in changes.outbox)
            self._refresh_dependents(
                uri for uri, row in changes.rows.items() if row.kind == "schema"
            )
            self._save_cursors(cursors, now_us)
        return dropped

    def set_account(self, event: Account, cursors: Mapping[str, int], now_us: int) -> bool:
        """Hide or show again all records of an account (spec: account hosting status).

        Any inactive status hides at once; a deleted account is to be purged once it is hidden.
        False when a later state was told already, by this source or another: nothing changes then.
        """
        did, active, status = event.did, event.active, event.status
        new = "active" if active else status if status not in (None, "", "active") else "inactive"
        with self._transaction():
            self._save_cursors(cursors, now_us)
            old = self._value("SELECT status FROM repos WHERE did = ?", [did])
            said_us = min(event.time_us or now_us, now_us)
            # One source may say things again, from its cursor on; another may lag behind.
            if self._all(tables.TOLD_LATER, [did, said_us, event.source, event.seq]):
                return False
            self._db.execute(tables.TELL, [said_us, event.source, event.seq, did])
            if active:
                self._db.execute(tables.BACK, [did])
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
        return True

    def note_gap(self, gap: Gap, cursors: Mapping[str, int], now_us: int) -> int:
        """Note that something was missed: every repo is to be compared with its PDS, those that are
        named to be fetched, and discovery to begin anew. An unreadable frame is kept as it came,
        with the accounts it names as its path; gives how many older ones were dropped for it.
        """
        dropped = 0
        with self._transaction():
            self._db.execute("UPDATE repos SET checked_us = NULL")
            self._db.execute("UPDATE discoveries SET cursor = NULL, done_us = NULL")
            sql = "UPDATE repos SET sync = 'desynchronised' WHERE sync = 'active' AND did IN"
            self._in(sql, gap.dids)
            if gap.raw is not None:
                name = f"frame:{sha256(gap.raw).hexdigest()}"
                named = " ".join(gap.dids)
                fault = Fault(name, "", None, None, "frame", named, gap.reason, gap.raw)
                self._replace(
                    "quarantine", tables.QUARANTINE, [asdict(fault) | {"seen_us": now_us}]
                )
                dropped = self._bound_quarantine({""})
            self._save_cursors(cursors, now_us)
        return dropped

    def set_identities(self, identities: Iterable[ResolvedIdentity], now_us: int) -> None:
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
                        "resolved_us": now_us,
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

    def set_collections(self, collections: Iterable[str]) -> None:
        """Note which collections are indexed. What is held of others goes; where one is new, repos
        and hosts were asked for too little, and have to be asked again.
        """
        new = sorted(collections)
        known = self._value("SELECT value FROM meta WHERE key = 'collections'")
        old = sorted(KINDS) if known is None else known.split()
        if known is not None and old == new:
            return
        with self._transaction():
            gone = self._all(tables.OUT_OF_SCOPE, [new])
            for did in {did for _, did, *_ in gone}:
                self._db.execute(tables.RECOUNT, [did, did])
            self._append((*row[:4], "delete") for row in gone if row[4] == "live")
            self._refresh_dependents(row[0] for row in gone if row[5] == "schema")
            self._db.execute(tables.QUARANTINE_OUT_OF_SCOPE, [new])
            if set(new) - set(old):
                self._db.execute(tables.ALL_BEHIND)
                self._db.execute(tables.DISCOVER_ANEW)
            self._db.execute(tables.SET_COLLECTIONS, [" ".join(new)])

    # What tantivy is derived from

    def load(
        self, uris: Iterable[str], db: duckdb.DuckDBPyConnection | None = None
    ) -> list[Stored]:
        """What the visible ones of `uris` are made of now; on `db`, a connection of `reader`, any
        thread may ask.
        """
        rows = self._in(f"{tables.LOAD} WHERE {tables.LIVE} AND r.uri IN", uris, db=db)
        return self._stored(self.unhidden(rows, db), db)

    def visible(self) -> int:
        """How many records are visible."""
        ((count,),) = self._all(f"{tables.COUNT} WHERE {tables.shown()}")
        return int(count)

    def load_all(self) -> Iterator[list[Stored]]:
        """Every visible record in batches that fit into memory, for a rebuild."""
        with self.reader() as db:
            db.execute(f"{tables.LOAD} WHERE {tables.shown()}")
            batch: list[Sequence[Any]] = []
            refs: set[str] = set()
            text = 0
            while rows := db.fetchmany(_FETCHED):
                batch += rows
                text += sum(len(body) for _, _, _, _, body, *_ in rows)
                refs.update(ref for *_, a, b in rows for ref in (a, b) if ref is not None)
                if len(batch) >= _LOADED or len(refs) >= _LINKED or text >= _LOADED_TEXT:
                    yield self._stored(batch)
                    batch, refs, text = [], set(), 0
            if batch:
                yield self._stored(batch)

    # What operators and users ask; any thread

    def record_status(self, uri: str) -> RecordStatus:
        """What became of a record, and why: see `getRecordStatus`."""
        with self.reader() as db:
            row = db.execute(
                "SELECT r.state, r.cid, r.rev, p.status, r.indexed_us, r.verified, r.rule"
                " FROM records r JOIN repos p ON p.did = r.did WHERE r.uri = ?",
                [uri],
            ).fetchone()
            fault = db.execute(
                "SELECT cid, rev, rule, path, reason, seen_us FROM quarantine WHERE uri = ?", [uri]
            ).fetchone()
            hidden = why_hidden(db, uri, row[1] if row else None)
            account = db.execute(
                "SELECT status FROM repos WHERE did = split_part(?, '/', 3)", [uri]
            ).fetchone()
        if account is not None and account[0] != "active" and (row is not None or fault):
            return RecordStatus("hidden", account_status=account[0])
        if hidden is not None and row is not None and row[0] == "live":
            return RecordStatus("hidden", row[1], row[2], hidden[0], reason=hidden[1])
        if row is not None and row[0] == "live":
            return RecordStatus("indexed", row[1], row[2], indexed_us=row[4], verified=row[5])
        if row is not None and row[0] == "deleted":
            return RecordStatus("deleted", rev=row[2])
        if row is not None and row[0] == "deferred":
            _, cid, rev, _, indexed_us, _, rule = row
            reason = DEFERRED[rule]
            return RecordStatus("deferred", cid, rev, rule, None, reason, indexed_us=indexed_us)
        if fault is not None:
            cid, rev, rule, path, reason, seen_us = fault
            return RecordStatus("quarantined", cid, rev, rule, path, reason, indexed_us=seen_us)
        if row is not None:
            # Its entry was dropped: quarantine is bounded.
            _, cid, rev, _, indexed_us, _, rule = row
            rule = rule or "unknown"
            reason = "it breaks this rule; the details are no longer kept"
            return RecordStatus("quarantined", cid, rev, rule, None, reason, indexed_us=indexed_us)
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
        held = self._in(tables.TAKE_OUT, rows, " RETURNING uri, created_us, sort_created")
        known = {uri: (created, key) for uri, created, key in held if key is not None}
        keys = {
            uri: key for uri, (created, key) in known.items() if created == rows[uri].created_us
        }
        wanted = {
            uri: row.created_us
            for uri, row in rows.items()
            if row.created_us is not None and uri not in keys
        }
        kept = set(keys.values())
        keys |= unique_keys(wanted, lambda some: self._taken(some) | kept.intersection(some))
        last = {change.uri: self.head + n for n, change in enumerate(changes.outbox, 1)}
        return [
            {name: getattr(row, name) for name in _OF_ROW}
            | {"sort_created": keys.get(uri), "indexed_us": now_us, "seq": last[uri]}
            for uri, row in rows.items()
        ]

    def _taken(self, keys: Iterable[int]) -> set[int]:
        sql = "SELECT sort_created FROM records WHERE sort_created IN (SELECT unnest(?))"
        return {key for (key,) in self._all(sql, [list(keys)])}

    def _faults(self, changes: Changes, now_us: int) -> list[dict[str, Any]]:
        return [asdict(fault) | {"seen_us": now_us} for fault in changes.faults.values()]

    def _stored(
        self, rows: Iterable[Sequence[Any]], db: duckdb.DuckDBPyConnection | None = None
    ) -> list[Stored]:
        rows = list(rows)
        refs = {ref for row in rows for ref in row[8:] if ref is not None}
        links = {ref: Link(ref) for ref in refs}
        found = self._in(f"{tables.LOAD_SCHEMAS} AND {tables.LIVE} AND r.uri IN", refs, db=db)
        links |= {uri: Link(uri, *rest) for uri, _, _, *rest in self.unhidden(found, db)}
        labels = self._labels_of(rows, db)
        return [
            Stored(*(*one, links.get(a), links.get(b), labels.get(one[0], ())))
            for *one, a, b in rows
        ]


def _held(rows: Iterable[Sequence[Any]]) -> dict[str, Held]:
    return {
        uri: Held(collection, rkey, cid, (rev, index), state, verified, size)
        for uri, collection, rkey, cid, rev, index, state, verified, size in rows
    }
