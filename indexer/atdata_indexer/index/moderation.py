"""What is hidden here although its author shows it, and what is said of what is shown.

An operator takes down a record or an account; labelers label them. Both are kept beside the rows
and change none: `tables.shown` asks for them, so that what is put back is as it was, and what comes
later of a hidden account is hidden too. Methods that write must be called from one thread.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from atdata_indexer.errors import StoreError
from atdata_indexer.index import tables
from atdata_indexer.index.outbox import OutboxDatabase
from atdata_indexer.labels import Label, LabelPolicy
from atdata_schemas.records import KINDS
from atdata_schemas.syntax import is_at_uri, is_did, is_handle

CURSOR = "labels:"
"""Stands before the DID of a labeler in the name of its cursor."""

type _Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Takedown:
    """A record or account that the operator hides, and why."""

    subject: str
    reason: str
    made_us: int


class ModeratedDatabase(OutboxDatabase):
    """A database of which some is hidden."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self.label_policy = LabelPolicy()
        self.hides = bool(self._value("SELECT count(*) FROM hidden"))
        self._labelled = bool(self._value("SELECT count(*) FROM labels"))

    # Takedowns

    def take_down(self, named: str, reason: str, now_us: int) -> Takedown:
        """Hide a record or an account from now on, whether it is there yet or not.

        Raises StoreError for what names neither.
        """
        made = Takedown(self._subject(named), reason, now_us)
        with self._moderating([made.subject]):
            self._db.execute(tables.TAKE_DOWN, [made.subject, made.reason, made.made_us])
        return made

    def put_back(self, named: str) -> Takedown:
        """Undo a takedown. Raises StoreError where there is none."""
        subject = self._subject(named)
        with self._moderating([subject]):
            rows = self._all(tables.PUT_BACK, [subject])
        if not rows:
            raise StoreError(f"{subject} is not taken down")
        return Takedown(*rows[0])

    def takedowns(self) -> list[Takedown]:
        """All takedowns, the newest first. Any thread."""
        with self.reader() as db:
            return [Takedown(*row) for row in db.execute(tables.TAKEDOWNS).fetchall()]

    def _subject(self, named: str) -> str:
        """The DID, or the AT-URI with a DID, that somebody names."""
        record = named.startswith("at://")
        author, slash, path = named.removeprefix("at://").partition("/")
        if is_handle(author):
            did = self._value("SELECT did FROM repos WHERE handle = ?", [author.lower()])
            if did is None:
                raise StoreError(f"nobody here has the handle {author}: name the account's DID")
            author = did
        subject = f"at://{author}{slash}{path}" if record and path else author
        if not (is_did(subject) or (is_at_uri(subject) and subject.count("/") == 4)) or (
            path and not record
        ):
            raise StoreError(f"{named[:200]} is neither a record (at://…) nor an account")
        return subject

    # Labels

    def set_labels(self, policy: LabelPolicy, labelers: Collection[str]) -> None:
        """Let labels do what `policy` says, and forget those of others than these labelers.

        Where it says something else than before, each labeler is read from its beginning: what
        was left aside may count now.
        """
        self.label_policy = policy
        known = self._all("SELECT DISTINCT src, val, hides FROM labels")
        kept = {one for one in known if one[0] in labelers and self._counts(one[1])}
        stale = {one for one in known if one not in kept or one[2] != policy.hides(one[1])}
        subjects = {uri for one in stale for (uri,) in self._all(tables.LABELLED, one[:2])}
        said = json.dumps([sorted(one) for one in (policy.hiding, policy.showing)])
        with self._moderating(subjects):
            for src, val, _ in stale:
                if any(one[:2] == (src, val) for one in kept):
                    self._db.execute(tables.REJUDGE, [policy.hides(val), src, val])
                else:
                    self._db.execute("DELETE FROM labels WHERE src = ? AND val = ?", [src, val])
            if self._value("SELECT value FROM meta WHERE key = 'labels'") != said:
                self._db.execute(tables.LABELS_ANEW, [CURSOR])
                self._db.execute("INSERT OR REPLACE INTO meta VALUES ('labels', ?)", [said])
            names = [f"{CURSOR}{did}" for did in labelers]
            self._db.execute(tables.LABELERS_GONE, [CURSOR, names])

    def apply_labels(self, labels: Iterable[Label], cursors: Mapping[str, int], now_us: int) -> int:
        """Take in labels, in their order, and the cursors that cover them; how many said
        something new of what may be indexed here.
        """
        told = [one for one in labels if self._counts(one.val) and _concerns_us(one.uri)]
        held = self._held_labels({one.uri for one in told})
        new = dict(held)
        for one in told:
            ended = one.neg or (one.exp_us is not None and one.exp_us <= now_us)
            cid = "" if is_did(one.uri) or one.cid is None else one.cid
            key = (one.src, one.uri, one.val, cid)
            new.pop(key, None)
            if not ended:
                new[key] = (one.cts, one.exp_us, self.label_policy.hides(one.val))
        changed = {key for key in held.keys() | new.keys() if held.get(key) != new.get(key)}
        subjects = {key[1] for key in changed}
        with self._moderating(subjects):
            self._in("DELETE FROM labels WHERE uri IN", subjects)
            kept = [(*key, *rest) for key, rest in new.items() if key[1] in subjects]
            if kept:
                rows = [dict(zip(tables.LABEL.names, row, strict=True)) for row in kept]
                self._insert("labels", tables.LABEL, rows)
                self._labelled = True
            self._save_cursors(cursors, now_us)
        return len(changed)

    def expire_labels(self, now_us: int) -> int:
        """Drop the labels whose time is over; how many there were."""
        over = self._all("SELECT uri FROM labels WHERE exp_us <= ?", [now_us])
        if over:
            with self._moderating({uri for (uri,) in over}):
                self._db.execute("DELETE FROM labels WHERE exp_us <= ?", [now_us])
        return len(over)

    def _held_labels(self, uris: Iterable[str]) -> dict[_Key, tuple[str, int | None, bool]]:
        rows = self._in(
            "SELECT src, uri, val, cid, cts, exp_us, hides FROM labels WHERE uri IN", uris
        )
        return {tuple(row[:4]): tuple(row[4:]) for row in rows}

    def _counts(self, value: str) -> bool:
        return self.label_policy.hides(value) or self.label_policy.shows(value)

    def _labels_of(
        self, rows: Collection[Sequence[Any]], db: duckdb.DuckDBPyConnection | None
    ) -> dict[str, list[Mapping[str, str]]]:
        """The labels to be shown of records, by URI: their own, and those of their accounts.

        `rows` begin with URI, DID, kind and CID.
        """
        if not self._labelled:
            return {}
        subjects = {row[0] for row in rows} | {row[1] for row in rows}
        found: dict[str, list[Sequence[str]]] = {}
        for row in self._in(tables.LABELS_OF, subjects, db=db):
            found.setdefault(row[1], []).append(row)
        labels: dict[str, list[Mapping[str, str]]] = {}
        if found:
            for uri, did, _, cid, *_ in rows:
                own = [one for one in found.get(uri, ()) if one[3] in ("", cid)]
                labels[uri] = [
                    {"src": src, "uri": of, "val": val, "cts": cts}
                    for src, of, val, _, cts in sorted([*own, *found.get(did, ())])
                ]
        return labels

    # What follows

    @contextmanager
    def _moderating(self, subjects: Collection[str]) -> Iterator[None]:
        """A transaction that changes what is hidden, or said, of these; tells what came of it."""
        with self._transaction():
            before = self._hidden(subjects)
            self.hides = True  # and stays so if this fails
            yield
            self._in(tables.HIDE_ANEW, subjects)
            self._in(tables.HIDE, subjects)
            after = self._hidden(subjects)
            accounts = {one for one in subjects if is_did(one)}
            self._tell_accounts(accounts, before, after)
            self._tell_records(set(subjects) - accounts, before, after)
        self.hides = bool(self._value("SELECT count(*) FROM hidden"))

    def _hidden(self, subjects: Iterable[str]) -> set[str]:
        subjects = list(subjects)
        found = self._in(tables.HIDDEN_ACCOUNTS, subjects) + self._in(
            tables.HIDDEN_RECORDS, subjects
        )
        return {subject for (subject,) in found}

    def _tell_accounts(self, dids: set[str], before: set[str], after: set[str]) -> None:
        known = {did for (did,) in self._in("SELECT did FROM repos WHERE did IN", dids)}
        for did in sorted(known):
            if did in after and did in before:
                continue  # nothing of it is to be seen
            live = self._in(tables.LIVE_OF, [did])
            if did in after:
                # One entry for all its records, as for an account that is not active.
                self._append([(f"at://{did}", did, None, None, "hide")])
            else:
                op = "show" if did in before else "refresh"
                self._append((*row[:4], op) for row in live)
            if did in before or did in after:
                self._refresh_dependents(row[0] for row in live if row[4] == "schema")

    def _tell_records(self, uris: set[str], before: set[str], after: set[str]) -> None:
        live = self._in(tables.LIVE_AMONG, uris)
        for *entry, kind in live:
            uri = entry[0]
            if uri in before and uri in after:
                continue
            op = "hide" if uri in after else "show" if uri in before else "refresh"
            self._append([(*entry, op)])
            if kind == "schema" and op != "refresh":
                self._refresh_dependents([uri])


def why_hidden(db: duckdb.DuckDBPyConnection, uri: str, cid: str | None) -> tuple[str, str] | None:
    """The rule by which a record is hidden here, and that in words; None when it is not."""
    did = uri.split("/")[2]
    taken = db.execute(
        "SELECT reason FROM takedowns WHERE subject IN (?, ?)", [uri, did]
    ).fetchone()
    if taken is not None:
        return "takedown", f"taken down by the operator of this index: {taken[0]}"
    label = db.execute(
        "SELECT val, src FROM labels WHERE hides AND uri IN (?, ?) AND cid IN ('', ?)",
        [uri, did, cid],
    ).fetchone()
    if label is not None:
        return "label", f"labelled {label[0]} by {label[1]}"
    return None


def _concerns_us(uri: str) -> bool:
    """Whether a label is of an account or of a record that may be indexed here."""
    if not is_at_uri(uri) or uri.count("/") != 4:
        return is_did(uri)
    _, _, author, collection, _ = uri.split("/")
    return is_did(author) and collection in KINDS
