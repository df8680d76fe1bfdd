"""The outbox as others follow it: every change in order, with what is visible of it now.

An entry is told with the record's view only while the record is visible and has not changed since;
what changed comes again in its later entry. Entries of what is hidden now are left out, but not
those that hide it: whoever applies all of them, in order, has what the index shows.
"""

import json
from dataclasses import dataclass, replace

from duckdb import DuckDBPyConnection

from atdata_indexer.index.fields import fold, view
from atdata_indexer.index.store import Store
from atdata_indexer.index.tables import Stored

MOST = 200
"""How many entries one batch looks at."""
MOST_TEXT = 1_000_000
"""How much text of records is read for one batch, in bytes, and how many characters of views it
holds: one that would have more ends early. Every follower may hold a batch."""

SHOWING = frozenset({"create", "update", "show", "refresh"})
"""The ops that show a record; every other takes away what was shown."""

_ENTRIES = (
    "SELECT o.seq, o.op, o.uri, o.did, o.cid, o.rev FROM outbox o"
    " WHERE o.seq > ? AND o.seq <= ? ORDER BY o.seq LIMIT ?"
)
_SIZES = "SELECT uri, coalesce(strlen(body), 0), schema_uri, target_uri FROM records WHERE uri IN"
_LIVE = "SELECT uri FROM records WHERE state = 'live' AND uri IN"
_INACTIVE = "SELECT did FROM repos WHERE status <> 'active' AND did IN"


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. `uri` is a record's, or `at://did` where it hides a whole account.

    `view` is JSON text, None where the record is gone, hidden, or changed again since; `tags` are
    those of a dataset that is shown, folded.
    """

    seq: int
    op: str
    uri: str
    did: str
    cid: str | None = None
    rev: str | None = None
    view: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Some changes in order: all there is to tell of seqs up to `until`, the last looked at.

    `outdated` says that what follows the seq asked for is no longer kept.
    """

    epoch: str
    until: int
    entries: tuple[Entry, ...] = ()
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """Which changes are kept: those after seq `before`, up to `head`."""

    epoch: str
    before: int
    head: int


def span(store: Store) -> Span:
    """What can be followed now; any thread."""
    with store.reader() as db:
        row = db.execute("SELECT min(seq) - 1, max(seq) FROM outbox").fetchone()
        before, head = row if row is not None and row[1] is not None else (store.head, store.head)
    return Span(store.epoch, before, head)


def read(store: Store, after: int, until: int) -> Batch:
    """The changes of seqs above `after`, `until` included, or the first of them; any thread."""
    with store.reader() as db:
        db.execute("BEGIN")  # rows as of the same moment
        rows = db.execute(_ENTRIES, [after, until, MOST]).fetchall()
        if until > after and (not rows or rows[0][0] != after + 1):
            return Batch(store.epoch, after, outdated=True)
        entries = _first_of(store, [Entry(*row) for row in rows], db)
        uris = dict.fromkeys(one.uri for one in entries if one.op in SHOWING)
        visible = {one.uri: one for one in store.load(uris, db)}
        unseen = [uri for uri in uris if uri not in visible]
        live = {uri for (uri,) in store.look_up(_LIVE, unseen, db)}
        dids = {one.did for one in entries}
        inactive = {did for (did,) in store.look_up(_INACTIVE, dids, db)}
    told: list[Entry] = []
    size, reached = 0, after
    for one in entries:
        if told and size > MOST_TEXT:
            break
        reached = one.seq
        if one.op in SHOWING:
            if one.did in inactive or (one.uri in live and one.op != "update"):
                continue  # hidden now; the entry that hid it is told
            if one.uri in live:
                one = replace(one, op="hide", cid=None)  # it may be the update itself that hid it
            one = _shown(one, visible.get(one.uri))
            size += len(one.view or "")
        told.append(one)
    return Batch(store.epoch, reached, tuple(told))


def _first_of(store: Store, entries: list[Entry], db: DuckDBPyConnection) -> list[Entry]:
    """As many of these entries as may be read at once with all they show: one at least."""
    rows = store.look_up(_SIZES, {one.uri for one in entries if one.op in SHOWING}, db)
    shows = {uri: [uri, *(ref for ref in refs if ref is not None)] for uri, _, *refs in rows}
    sizes = {row[0]: row[1] for row in rows}
    linked = {ref for refs in shows.values() for ref in refs} - sizes.keys()
    sizes |= {row[0]: row[1] for row in store.look_up(_SIZES, linked, db)}
    read: set[str] = set()
    size = 0
    for at, one in enumerate(entries):
        new = set(shows.get(one.uri, ())) - read if one.op in SHOWING else set()
        size += sum(sizes.get(uri, 0) for uri in new)
        if at and size > MOST_TEXT:
            return entries[:at]
        read |= new
    return entries


def _shown(entry: Entry, stored: Stored | None) -> Entry:
    if stored is None or stored.cid != entry.cid:
        return entry
    tags = json.loads(stored.body).get("tags", ()) if stored.kind == "dataset" else ()
    return replace(entry, view=view(stored), tags=tuple(fold(tag) for tag in tags))
