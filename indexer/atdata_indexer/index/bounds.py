"""What keeps the database bounded: quarantine, outbox and tombstones, and what is forgotten whole.

The oldest goes first, and every method that drops something says how much it was. Methods that
write must be called from the one thread that does.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

import duckdb

from atdata_indexer.index import tables
from atdata_indexer.index.database import Database
from atdata_indexer.limits import DEFAULTS, Limits

FRAME_BYTES = 64 << 20
"""How much the unreadable frames in quarantine may take together."""
CHUNK = 5_000
"""How many rows one transaction deletes at most: others wait meanwhile."""
TIDY_CHUNK = 500


class BoundedDatabase(Database):
    """A database that holds no more than `limits`."""

    def __init__(
        self,
        path: Path,
        *,
        memory_limit: str = "2GB",
        threads: int = 2,
        limits: Limits = DEFAULTS,
    ) -> None:
        super().__init__(path, memory_limit=memory_limit, threads=threads)
        self.limits = limits
        self._purged = False

    def prune_outbox(self, indexed_seq: int, keep: int | None = None) -> int:
        """Forget outbox entries beyond the newest `keep` (as the limits say, if not given), never
        one that is not yet indexed.
        """
        kept = self.limits.outbox if keep is None else keep
        with self._transaction():
            until = min(indexed_seq, self.head - kept)
            ((dropped,),) = self._all("DELETE FROM outbox WHERE seq <= ?", [until])
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'head'", [str(self.head)])
        return int(dropped)

    def purge(self, did: str | None = None) -> None:
        """Remove every body of deleted accounts: of this one, or of all that are left."""
        dids = [did] if did is not None else [d for (d,) in self._all(tables.LEFT_OVER)]
        for one in dids:
            self._purged = True
            left = True
            while left:
                with self._transaction():
                    uris = self._all(tables.SOME_OF, [one, CHUNK])
                    self._in("DELETE FROM records WHERE uri IN", [uri for (uri,) in uris])
                    self._db.execute(tables.RECOUNT, [one, one])
                    self._db.execute("DELETE FROM quarantine WHERE did = ?", [one])
                    self._db.execute(tables.FRAMES_NAMING, [one])
                left = len(uris) == CHUNK

    def tidy(self, now_us: int) -> Counter[str]:
        """Drop a slice of what is past its time; what was purged leaves the log as well."""
        dropped = Counter(
            quarantine_expired=self._expire_quarantine(now_us - self.limits.quarantine_us),
            tombstones_pruned=self._prune_tombstones(now_us - self.limits.tombstone_us),
        )
        if self._purged:
            with suppress(duckdb.TransactionException):  # somebody still reads it: next time
                self._db.execute("CHECKPOINT")
                self._purged = False
        return dropped

    def forgettable(self, now_us: int, limit: int) -> list[str]:
        """Accounts of which nothing is held, and that are tracked long enough. Any thread."""
        params = [*self._forget_before(now_us), limit]
        with self.reader() as db:
            found = db.execute(f"{tables.FORGETTABLE} LIMIT ?", params).fetchall()
        return [did for (did,) in found]

    def forget(self, dids: Collection[str], now_us: int) -> set[str]:
        """Stop tracking those of `dids` of which still nothing is held; gives them."""
        with self._transaction():
            params = [*self._forget_before(now_us), list(dids)]
            sql = f"{tables.FORGETTABLE} AND did IN (SELECT unnest(?))"
            found = {did for (did,) in self._all(sql, params)}
            self._in("DELETE FROM repos WHERE did IN", found)
        return found

    def retry_deferred(self, now_us: int, before_us: int, limit: int) -> list[str]:
        """Mark repos for fetching whose deferred records have room again, and gives them.

        The room must be clear, and a repo's turn comes only when its last was before `before_us`:
        who deletes and creates in turn must not have us fetch the whole each time.
        """
        most, size = self.limits.records, self.limits.size
        with self._transaction():
            params = [before_us, most, most * 9 // 10, size * 9 // 10, limit]
            dids = [did for (did,) in self._all(tables.ROOMY, params)]
            rows = [{"did": did, "retried_us": now_us} for did in dids]
            self._upsert(tables.RETRY, rows)
        return dids

    # Inside

    def _forget_before(self, now_us: int) -> list[int]:
        return [now_us - self.limits.forget_us, now_us - self.limits.tombstone_us]

    def _bound_quarantine(self, dids: Collection[str]) -> int:
        """Drop what is too much now that these accounts have new entries; in a transaction."""
        dropped = self._drop(tables.BEYOND_ACCOUNT, [list(dids), self.limits.quarantine])
        if "" in dids:
            dropped += self._drop(tables.BEYOND_BYTES, [FRAME_BYTES])
        ((count,),) = self._all("SELECT count(*) FROM quarantine")
        surplus = count - self.limits.quarantine_all
        return dropped + (self._drop(tables.OLDEST, [surplus]) if surplus > 0 else 0)

    def _drop(self, sql: str, params: Sequence[object]) -> int:
        uris = [uri for (uri,) in self._all(sql, params)]
        self._in("DELETE FROM quarantine WHERE uri IN", uris)
        return len(uris)

    def _expire_quarantine(self, before_us: int) -> int:
        with self._transaction():
            return self._drop(tables.EXPIRED, [before_us, TIDY_CHUNK])

    def _prune_tombstones(self, before_us: int) -> int:
        """Forget tombstones that their repo's rev has passed: whatever comes late is stale.

        The old ones, and before their time those of accounts that have too many rows: who creates
        and deletes without end must not fill the database with what is not there.
        """
        with self._transaction():
            most = 2 * self.limits.records
            found = self._all(tables.OLD_TOMBSTONES, [before_us, most, TIDY_CHUNK])
            self._in("DELETE FROM records WHERE uri IN", [uri for uri, _, _ in found])
            newest = {did: "" for _, did, _ in found}
            for _, did, rev in found:
                newest[did] = max(newest[did], rev)
            gone = Counter(did for _, did, _ in found)
            rows = [
                {"did": did, "held_rows": gone[did], "pruned_rev": rev}
                for did, rev in newest.items()
            ]
            self._upsert(tables.PRUNED, rows)
        return len(found)
