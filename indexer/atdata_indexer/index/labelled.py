"""What labelers say of records and accounts. What of it hides is `hiding`'s, the rest is shown.

What a labeler says is bounded: of what is here by MOST_OF_SUBJECT for each record and account, of
what is not (yet) by STRANGE_BYTES in all. Methods that write must be called from one thread.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import structlog

from atdata_indexer.index import moderation_sql as sql
from atdata_indexer.index import tables
from atdata_indexer.index.hiding import HidingDatabase
from atdata_indexer.labels import Label, LabelPolicy
from atdata_schemas.records import KINDS
from atdata_schemas.syntax import is_at_uri, is_did

STRANGE_BYTES = 128 << 20
"""How much is kept of what one labeler says of accounts and records that are not here, about a
million labels. What hides is the last to go, then what was said last."""
MOST_OF_SUBJECT = 100
"""How many labels one labeler's one subject has, the same way."""
EXPIRED_AT_ONCE = 10_000
"""How many labels whose time is over one transaction drops: others wait meanwhile."""
CURSOR = "labels:"
"""Stands before the DID of a labeler in the name of its cursor."""

type _Key = tuple[str, str, str, str]
type _Said = tuple[str, int | None, bool]


class LabelledDatabase(HidingDatabase):
    """A database whose records and accounts are labelled."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self.label_policy = LabelPolicy()
        self._labelled = bool(self._value("SELECT count(*) FROM labels"))
        self._unmeasured = STRANGE_BYTES
        """How much labelers have said since it was last seen what is too much."""

    def set_labels(self, policy: LabelPolicy, labelers: Collection[str]) -> None:
        """Let labels do what `policy` says, and forget those of others than these labelers.

        Where it says something else than before, each labeler is read from its beginning: what
        was left aside may count now.
        """
        self.label_policy = policy
        known = self._all("SELECT DISTINCT src, val, hides FROM labels")
        kept = {one for one in known if one[0] in labelers and self._counts(one[1])}
        stale = {one for one in known if one not in kept or one[2] != policy.hides(one[1])}
        judged = {one[:2]: policy.hides(one[1]) if one in kept else None for one in stale}
        said = json.dumps([sorted(one) for one in (policy.hiding, policy.showing)])
        rows = [{"src": src, "val": val, "hides": hides} for (src, val), hides in judged.items()]
        self._db.register("incoming", pa.Table.from_pylist(rows, tables.JUDGED))
        with self._moderating([uri for (uri,) in self._all(sql.LABELLED)]):
            self._db.execute(sql.UNSAY)
            self._db.execute(sql.REJUDGE)
            self._db.unregister("incoming")
            if self._value("SELECT value FROM meta WHERE key = 'labels'") != said:
                self._db.execute(sql.LABELS_ANEW, [CURSOR])
                self._db.execute("INSERT OR REPLACE INTO meta VALUES ('labels', ?)", [said])
            names = [f"{CURSOR}{did}" for did in labelers]
            self._db.execute(sql.LABELERS_GONE, [CURSOR, names])

    def apply_labels(
        self, labels: Iterable[Label], cursors: Mapping[str, int], now_us: int
    ) -> Counter[str]:
        """Take in labels, in their order, and the cursors that cover them.

        Counts what changed of what may be indexed here (`labels`), and what had to go for it
        (`labels_dropped`).
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
        dropped = _beyond(new, MOST_OF_SUBJECT)
        for key in dropped:
            del new[key]
        changed = {key for key in held.keys() | new.keys() if held.get(key) != new.get(key)}
        subjects = {key[1] for key in changed}
        with self._moderating(subjects):
            self._in("DELETE FROM labels WHERE uri IN", subjects)
            kept = [(*key, *rest) for key, rest in new.items() if key[1] in subjects]
            if kept:
                rows = [dict(zip(tables.LABEL.names, row, strict=True)) for row in kept]
                self._insert("labels", tables.LABEL, rows)
                self._labelled = True
                self._unmeasured += sum(sum(map(len, row[:5])) for row in kept)
            self._save_cursors(cursors, now_us)
        strange = 0
        if self._unmeasured > STRANGE_BYTES // 10:
            strange = self._drop_strange()
        return Counter(labels=len(changed), labels_dropped=len(dropped) + strange)

    def expire_labels(self, now_us: int) -> Counter[str]:
        """Drop labels whose time is over, EXPIRED_AT_ONCE at most, and count them
        (`labels_expired`).
        """
        over = self._all(sql.EXPIRED_LABELS, [now_us, EXPIRED_AT_ONCE])
        if over:
            with self._moderating({uri for _, uri in over}):
                self._in("DELETE FROM labels WHERE rowid IN", [row for row, _ in over])
        return Counter(labels_expired=len(over))

    def _drop_strange(self) -> int:
        """Drop what each labeler has said too much of what is not here; nobody sees a change."""
        dropped = 0
        with self._transaction():
            for (src,) in self._all("SELECT DISTINCT src FROM labels"):
                ((beyond,),) = self._all(sql.BEYOND_STRANGE, [src, STRANGE_BYTES])
                dropped += beyond
                if beyond:
                    structlog.get_logger().warning("labels_dropped", labeler=src, labels=beyond)
            if dropped:
                self._db.execute(sql.UNHIDE)
        self._see_what_hides()
        self._unmeasured = 0
        return dropped

    def _held_labels(self, uris: Iterable[str]) -> dict[_Key, _Said]:
        """The labels of subjects, what was said first before what came later."""
        rows = self._in(
            "SELECT src, uri, val, cid, cts, exp_us, hides FROM labels WHERE uri IN",
            uris,
            " ORDER BY rowid",
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
        for row in self._in(sql.LABELS_OF, subjects, db=db):
            if not row[5]:
                found.setdefault(row[1], []).append(row[:5])
        labels: dict[str, list[Mapping[str, str]]] = {}
        if found:
            for uri, did, _, cid, *_ in rows:
                own = [one for one in found.get(uri, ()) if one[3] in ("", cid)]
                labels[uri] = [
                    {"src": src, "uri": of, "val": val, "cts": cts}
                    for src, of, val, _, cts in sorted([*own, *found.get(did, ())])
                ]
        return labels


def _beyond(labels: Mapping[_Key, _Said], most: int) -> list[_Key]:
    """Which labels are too many of one labeler's one subject, if the later come later."""
    of: dict[tuple[str, str], list[_Key]] = {}
    for key in labels:
        of.setdefault(key[:2], []).append(key)
    return [
        key
        for keys in of.values()
        if len(keys) > most
        for key in sorted(keys, key=lambda one: labels[one][2])[: len(keys) - most]
    ]


def _concerns_us(uri: str) -> bool:
    """Whether a label is of an account or of a record that may be indexed here."""
    if not is_at_uri(uri) or uri.count("/") != 4:
        return is_did(uri)
    _, _, author, collection, _ = uri.split("/")
    return is_did(author) and collection in KINDS
