"""The outbox: every change of what is visible, in order, for the index and for who follows it.

Methods that write must be called from one thread, within a transaction.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from atdata_indexer.index import tables
from atdata_indexer.index.repos import RepoDatabase


class OutboxDatabase(RepoDatabase):
    """A database that tells what changed."""

    def outbox(self, after: int, limit: int) -> list[tuple[int, str]]:
        """The (seq, uri) of up to `limit` outbox entries after seq `after`, in order."""
        sql = "SELECT seq, uri FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?"
        return self._all(sql, [after, limit])

    def oldest(self) -> int | None:
        """The oldest seq the outbox still holds, if it holds any."""
        seq: int | None = self._value("SELECT min(seq) FROM outbox")
        return seq

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
        if uris:
            self._append((*row, "refresh") for row in self._all(tables.DEPENDENTS, [uris]))
