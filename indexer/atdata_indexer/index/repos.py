"""What is known of repos and sources: how it stands with each, where it is, when it was last asked.

Methods that write must be called from one thread; those that only read may be called from any.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from atdata_indexer.changes import Repo, SyncState
from atdata_indexer.fetch import Page
from atdata_indexer.index import tables
from atdata_indexer.index.bounds import BoundedDatabase
from atdata_indexer.index.tables import Place
from atdata_indexer.limits import Totals


class RepoDatabase(BoundedDatabase):
    """The repos, cursors and discoveries of one AppView."""

    def repos(self, dids: Iterable[str]) -> dict[str, Repo]:
        """What is known of those of `dids` that are tracked."""
        return {
            did: Repo(did, rev, status, sync, data, key, Totals(*totals), pruned)
            for did, rev, status, sync, data, key, pruned, *totals in self._in(tables.KNOWN, dids)
        }

    def tracked(self) -> set[str]:
        """Every tracked DID."""
        return {did for (did,) in self._all("SELECT did FROM repos")}

    def place(self, did: str) -> Place | None:
        """Where an account's repo is, and how it stands with it. Any thread."""
        with self.reader() as db:
            row = db.execute(tables.PLACE, [did]).fetchone()
        return None if row is None else Place(*row)

    def pds(self, did: str) -> str | None:
        """The PDS of an active account. Any thread."""
        with self.reader() as db:
            sql = "SELECT pds FROM repos WHERE status = 'active' AND did = ?"
            row = db.execute(sql, [did]).fetchone()
        return None if row is None else row[0]

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

    def sample(self, size: int) -> list[str]:
        """Some repos that are in step, at random. Any thread."""
        return self._dids(tables.SAMPLE, [size])

    def cursor(self, source: str) -> int | None:
        """The last seq of `source` whose effect is stored."""
        seq: int | None = self._value("SELECT seq FROM cursors WHERE source = ?", [source])
        return seq

    def save_cursors(self, cursors: Mapping[str, int], now_us: int) -> None:
        """Move cursors over events that concern nothing we keep."""
        with self._transaction():
            self._save_cursors(cursors, now_us)

    def add_repos(self, dids: Iterable[str], now_us: int) -> None:
        """Begin to track repos of which nothing is known but that they have records of ours."""
        with self._transaction():
            repos = [Repo(did, sync="backfilling") for did in dict.fromkeys(dids)]
            self._upsert(tables.NEW_REPO, [repo_row(repo, now_us) for repo in repos])

    def set_sync_state(self, did: str, sync: SyncState) -> None:
        """Note how it stands with a repo that was to be fetched."""
        with self._transaction():
            self._db.execute("UPDATE repos SET sync = ? WHERE did = ?", [sync, did])

    def set_behind(self, dids: Iterable[str]) -> None:
        """Note that repos which were in step must be fetched."""
        with self._transaction():
            sql = "UPDATE repos SET sync = 'desynchronised' WHERE sync = 'active' AND did IN"
            self._in(sql, dids)

    def set_sync(self, did: str, rev: str, cursors: Mapping[str, int], now_us: int) -> None:
        """Note a `#sync`: a repo whose rev is not the one stored is desynchronised."""
        with self._transaction():
            self._db.execute(
                "UPDATE repos SET sync = 'desynchronised' WHERE did = ? AND rev IS DISTINCT FROM ?",
                [did, rev],
            )
            self._save_cursors(cursors, now_us)

    def set_checked(self, did: str, now_us: int) -> None:
        """Note that a repo was compared with its PDS, or could not be."""
        with self._transaction():
            self._db.execute("UPDATE repos SET checked_us = ? WHERE did = ?", [now_us, did])

    def set_identity_due(self, did: str, cursors: Mapping[str, int], now_us: int) -> None:
        """Note that a DID document must be read again."""
        with self._transaction():
            self._db.execute("UPDATE repos SET identity_due = true WHERE did = ?", [did])
            self._save_cursors(cursors, now_us)

    def identities_due(self) -> list[str]:
        """The DIDs whose document must be read (again). Any thread."""
        with self.reader() as db:
            due = db.execute("SELECT did FROM repos WHERE identity_due").fetchall()
        return [did for (did,) in due]

    def unresolved(self, before_us: int, limit: int) -> list[str]:
        """Accounts whose identity was not looked up since; that it is due is noted."""
        with self._transaction():
            return [did for (did,) in self._all(tables.UNRESOLVED, [before_us, limit])]

    def unchecked(self, before_us: int, limit: int) -> list[str]:
        """Repos in step that were not compared with their PDS since. Any thread."""
        return self._dids(tables.UNCHECKED, [before_us, limit])

    def discovered(self, host: str, collection: str) -> tuple[str | None, int | None]:
        """Where the list of a host goes on, and when it was last read to the end. Any thread."""
        with self.reader() as db:
            row = db.execute(
                "SELECT cursor, done_us FROM discoveries WHERE host = ? AND collection = ?",
                [host, collection],
            ).fetchone()
        return (None, None) if row is None else (row[0], row[1])

    def note_page(self, host: str, collection: str, page: Page, now_us: int) -> list[str]:
        """Store the repos of a page with where its list goes on; gives those that are new."""
        done = now_us if page.cursor is None else None
        with self._transaction():
            known = {did for (did,) in self._in("SELECT did FROM repos WHERE did IN", page.dids)}
            new = [did for did in dict.fromkeys(page.dids) if did not in known]
            rows = [repo_row(Repo(did, sync="backfilling"), now_us) for did in new]
            self._upsert(tables.NEW_REPO, rows)
            self._db.execute(
                "INSERT OR REPLACE INTO discoveries VALUES (?, ?, ?, ?)",
                [host, collection, page.cursor, done],
            )
        return new

    def _save_cursors(self, cursors: Mapping[str, int], now_us: int) -> None:
        for source, seq in cursors.items():
            row = [source, seq, now_us]
            self._db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", row)

    def _dids(self, sql: str, params: Sequence[Any]) -> list[str]:
        with self.reader() as db:
            return [did for (did,) in db.execute(sql, list(params)).fetchall()]


def repo_row(repo: Repo, now_us: int, checked_us: int | None = None) -> dict[str, Any]:
    """The columns of `repos` for a repo that is met now, unless it is known already."""
    return {
        "did": repo.did,
        "rev": repo.rev,
        "status": repo.status,
        "sync": repo.sync,
        "data": repo.data,
        "identity_due": True,
        "met_us": now_us,
        "checked_us": checked_us,
    } | totals_row(repo.did, repo.totals)


def totals_row(did: str, totals: Totals) -> dict[str, Any]:
    """The columns of `repos` that say how much is held."""
    return {
        "did": did,
        "held_rows": totals.rows,
        "live_records": totals.records,
        "live_bytes": totals.size,
        "deferred_records": totals.deferred,
    }
