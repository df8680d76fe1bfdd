"""What the operator takes down, and why something is hidden.

Methods that write must be called from one thread.
"""

from dataclasses import dataclass

import duckdb

from atdata_indexer.errors import StoreError
from atdata_indexer.index import moderation_sql as sql
from atdata_indexer.index.labelled import LabelledDatabase
from atdata_schemas.syntax import is_at_uri, is_did, is_handle


@dataclass(frozen=True, slots=True)
class Takedown:
    """A record or account that the operator hides, and why."""

    subject: str
    reason: str
    made_us: int


class ModeratedDatabase(LabelledDatabase):
    """A database of which the operator takes down some."""

    def take_down(self, named: str, reason: str, now_us: int) -> Takedown:
        """Hide a record or an account from now on, whether it is there yet or not.

        Raises StoreError for what names neither.
        """
        made = Takedown(self._subject(named), reason, now_us)
        with self._moderating([made.subject]):
            self._db.execute(sql.TAKE_DOWN, [made.subject, made.reason, made.made_us])
        self.moderations += 1
        return made

    def put_back(self, named: str) -> Takedown:
        """Undo a takedown. Raises StoreError where there is none."""
        subject = self._subject(named)
        with self._moderating([subject]):
            rows = self._all(sql.PUT_BACK, [subject])
        if not rows:
            raise StoreError(f"{subject} is not taken down")
        return Takedown(*rows[0])

    def takedowns(self) -> list[Takedown]:
        """All takedowns, the newest first. Any thread."""
        with self.reader() as db:
            return [Takedown(*row) for row in db.execute(sql.TAKEDOWNS).fetchall()]

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


def why_hidden(db: duckdb.DuckDBPyConnection, uri: str, cid: str | None) -> tuple[str, str] | None:
    """The rule by which a record is hidden here, and that in words; None when it is not."""
    did = uri.split("/")[2]
    taken = db.execute(
        "SELECT reason FROM takedowns WHERE subject IN (?, ?)", [uri, did]
    ).fetchone()
    if taken is not None:
        return "takedown", f"taken down by the operator of this index: {taken[0]}"
    labels = db.execute(
        "SELECT val, src, cid, hides FROM labels WHERE uri IN (?, ?)", [uri, did]
    ).fetchall()
    for val, src, of, hides in labels:
        if hides and of in ("", cid):
            return "label", f"labelled {val} by {src}"
    return None
