"""What is hidden here although its author shows it, and what those who follow are told of that.

It is kept beside the rows and changes none: `tables.shown` asks for it, so that what is put back is
as it was, and what comes later of a hidden account is hidden too. Methods that write must be called
from one thread.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from atdata_indexer.index import moderation_sql as sql
from atdata_indexer.index import tables
from atdata_indexer.index.outbox import OutboxDatabase
from atdata_schemas.syntax import is_did


class HidingDatabase(OutboxDatabase):
    """A database of which some is hidden; `hides` says whether anything is."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        with self._told("used"):
            self._db.execute(tables.LABEL_INDEXES)
        self.hides = False
        self.moderations = 0
        """How often more of accounts known here was hidden since the start: of what is no longer
        there the outbox says nothing.
        """
        self._see_what_hides()

    def unhidden[T: Sequence[Any]](
        self, rows: Collection[T], db: duckdb.DuckDBPyConnection | None = None
    ) -> Collection[T]:
        """Those of some records that nothing hides; `rows` begin with URI, DID, kind and CID.

        What is hidden is looked up by key: a join would read all of it for each record.
        """
        if not self.hides:
            return rows
        subjects = {row[0] for row in rows} | {row[1] for row in rows}
        hidden = {tuple(one) for one in self._in(sql.HIDDEN_AMONG, subjects, db=db)}
        accounts = {uri for uri, _ in hidden}
        return [
            row
            for row in rows
            if row[1] not in accounts and hidden.isdisjoint({(row[0], None), (row[0], row[3])})
        ]

    def _see_what_hides(self) -> None:
        self.hides = bool(self._value("SELECT count(*) FROM hidden"))

    @contextmanager
    def _moderating(self, subjects: Collection[str]) -> Iterator[None]:
        """A transaction that changes what is hidden, or said, of these; tells what came of it."""
        with self._transaction():
            before = self._hidden(subjects)
            held = {tuple(row) for row in self._in(sql.HIDDEN_AMONG, subjects)}
            self.hides = True  # and stays so if this fails
            yield
            self._hide_anew(subjects)
            after = self._hidden(subjects)
            accounts = {one for one in subjects if is_did(one)}
            self._tell_accounts(accounts, before, after)
            self._tell_records(set(subjects) - accounts, before, after)
        self._see_what_hides()
        more = {tuple(row) for row in self._in(sql.HIDDEN_AMONG, subjects)} - held
        dids = {uri.removeprefix("at://").partition("/")[0] for uri, _ in more}
        self.moderations += bool(self._in("SELECT did FROM repos WHERE did IN", dids))

    def _hide_anew(self, subjects: Collection[str]) -> None:
        """Let what is hidden of these be what `hiding` says, looked up by key."""
        self._in(sql.HIDE_ANEW, subjects)
        hiding = [(uri, None) for (uri,) in self._in(sql.TAKEN_DOWN, subjects)]
        labels = self._in(sql.LABELS_OF, subjects)
        hiding += [(uri, cid or None) for _, uri, _, cid, _, hides in labels if hides]
        if hiding:
            rows = [{"uri": uri, "cid": cid} for uri, cid in dict.fromkeys(hiding)]
            self._insert("hidden", tables.HIDDEN, rows)

    def _hidden(self, subjects: Iterable[str]) -> set[str]:
        """Those of accounts and records that are hidden; of a record, the version that is here."""
        rows = self._in(sql.HIDDEN_AMONG, subjects)
        hidden = {tuple(row) for row in rows}
        named = {uri for uri, _ in hidden}
        held = self._in("SELECT uri, cid FROM records WHERE uri IN", named)
        records = {uri for uri, cid in held if not hidden.isdisjoint({(uri, None), (uri, cid)})}
        return {one for one in named if is_did(one)} | records

    def _tell_accounts(self, dids: set[str], before: set[str], after: set[str]) -> None:
        known = {did for (did,) in self._in("SELECT did FROM repos WHERE did IN", dids)}
        seen = sorted(known - (before & after))  # of the others nothing is to be seen
        live_of: dict[str, list[Any]] = {did: [] for did in seen}
        for row in self._in(tables.LIVE_OF, seen):
            live_of[row[1]].append(row)
        for did, live in live_of.items():
            if did in after:
                # One entry for all its records, as for an account that is not active.
                self._append([(f"at://{did}", did, None, None, "hide")])
            else:
                op = "show" if did in before else "refresh"
                self._append((*row[:4], op) for row in live)
            if did in before or did in after:
                self._refresh_dependents(row[0] for row in live if row[4] == "schema")

    def _tell_records(self, uris: set[str], before: set[str], after: set[str]) -> None:
        live = self._in(sql.LIVE_AMONG, uris)
        for *entry, kind in live:
            uri = entry[0]
            if uri in before and uri in after:
                continue
            op = "hide" if uri in after else "show" if uri in before else "refresh"
            self._append([(*entry, op)])
            if kind == "schema" and op != "refresh":
                self._refresh_dependents([uri])
