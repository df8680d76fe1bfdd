"""The tables of the database and the values read from them.

LAYOUT counts the versions of the tables; a database of an older one is migrated forward when it is
opened, one of a newer one is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

LAYOUT = 4

DDL = """
CREATE TABLE meta (key VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);
CREATE TABLE records (
    uri VARCHAR PRIMARY KEY, did VARCHAR NOT NULL, collection VARCHAR NOT NULL,
    rkey VARCHAR NOT NULL, kind VARCHAR NOT NULL, cid VARCHAR, rev VARCHAR NOT NULL,
    op_index INTEGER NOT NULL, state VARCHAR NOT NULL, name VARCHAR, version VARCHAR,
    schema_uri VARCHAR, target_uri VARCHAR, created_us BIGINT, sort_created BIGINT,
    body VARCHAR, indexed_us BIGINT NOT NULL, seq BIGINT NOT NULL,
    verified BOOLEAN NOT NULL DEFAULT false, rule VARCHAR);
CREATE TABLE repos (
    did VARCHAR PRIMARY KEY, rev VARCHAR, status VARCHAR NOT NULL, sync VARCHAR NOT NULL,
    handle VARCHAR, pds VARCHAR, signing_key VARCHAR, identity_due BOOLEAN NOT NULL,
    data VARCHAR, met_us BIGINT, resolved_us BIGINT, checked_us BIGINT, account_us BIGINT,
    account_source VARCHAR, account_seq BIGINT, held_rows BIGINT DEFAULT 0,
    live_records BIGINT DEFAULT 0, live_bytes BIGINT DEFAULT 0,
    deferred_records BIGINT DEFAULT 0, retried_us BIGINT, pruned_rev VARCHAR);
CREATE TABLE discoveries (
    host VARCHAR NOT NULL, collection VARCHAR NOT NULL, cursor VARCHAR, done_us BIGINT,
    PRIMARY KEY (host, collection));
CREATE TABLE cursors (source VARCHAR PRIMARY KEY, seq BIGINT NOT NULL, saved_us BIGINT NOT NULL);
CREATE TABLE outbox (
    seq BIGINT NOT NULL, uri VARCHAR NOT NULL, did VARCHAR NOT NULL, cid VARCHAR,
    rev VARCHAR, op VARCHAR NOT NULL);
CREATE TABLE quarantine (
    uri VARCHAR PRIMARY KEY, did VARCHAR NOT NULL, cid VARCHAR, rev VARCHAR, rule VARCHAR NOT NULL,
    path VARCHAR NOT NULL, reason VARCHAR NOT NULL, raw BLOB, seen_us BIGINT NOT NULL);
"""

_MODERATION = """
CREATE TABLE takedowns (
    subject VARCHAR PRIMARY KEY, reason VARCHAR NOT NULL, made_us BIGINT NOT NULL);
CREATE TABLE labels (
    src VARCHAR NOT NULL, uri VARCHAR NOT NULL, val VARCHAR NOT NULL, cid VARCHAR NOT NULL,
    cts VARCHAR NOT NULL, exp_us BIGINT, hides BOOLEAN NOT NULL);
CREATE TABLE hidden (uri VARCHAR NOT NULL, cid VARCHAR);
CREATE VIEW hiding AS
    SELECT subject AS uri, NULL AS cid FROM takedowns
    UNION SELECT uri, nullif(cid, '') FROM labels WHERE hides;
"""
DDL += _MODERATION

LABEL_INDEXES = """
CREATE INDEX IF NOT EXISTS labels_by_uri ON labels (uri);
CREATE INDEX IF NOT EXISTS hidden_by_uri ON hidden (uri);
"""
"""No part of the layout: made where they are missing, and nothing to a program that knows none."""

MIGRATIONS = {
    1: """
        ALTER TABLE records ADD COLUMN verified BOOLEAN DEFAULT false;
        ALTER TABLE repos ADD COLUMN data VARCHAR;
    """,
    2: """
        ALTER TABLE repos ADD COLUMN met_us BIGINT;
        ALTER TABLE repos ADD COLUMN resolved_us BIGINT;
        ALTER TABLE repos ADD COLUMN checked_us BIGINT;
        ALTER TABLE repos ADD COLUMN account_us BIGINT;
        ALTER TABLE repos ADD COLUMN account_source VARCHAR;
        ALTER TABLE repos ADD COLUMN account_seq BIGINT;
        ALTER TABLE records ADD COLUMN rule VARCHAR;
        ALTER TABLE repos ADD COLUMN held_rows BIGINT DEFAULT 0;
        ALTER TABLE repos ADD COLUMN live_records BIGINT DEFAULT 0;
        ALTER TABLE repos ADD COLUMN live_bytes BIGINT DEFAULT 0;
        ALTER TABLE repos ADD COLUMN deferred_records BIGINT DEFAULT 0;
        ALTER TABLE repos ADD COLUMN retried_us BIGINT;
        ALTER TABLE repos ADD COLUMN pruned_rev VARCHAR;
        UPDATE repos SET held_rows = held.held_rows, live_records = held.live_records,
            live_bytes = held.live_bytes
            FROM (SELECT did, count(*) AS held_rows, count(body) AS live_records,
                coalesce(sum(strlen(body)), 0) AS live_bytes FROM records GROUP BY did) held
            WHERE repos.did = held.did;
        UPDATE records SET rule = quarantine.rule FROM quarantine
            WHERE records.uri = quarantine.uri AND records.state = 'invalid';
        CREATE TABLE discoveries (
            host VARCHAR NOT NULL, collection VARCHAR NOT NULL, cursor VARCHAR, done_us BIGINT,
            PRIMARY KEY (host, collection));
    """,
    3: _MODERATION,
}
"""What leads from each older layout to the next. Forward only: no release reads a newer one."""

_INTEGER_COLUMNS = frozenset(
    {"op_index", "created_us", "sort_created", "indexed_us", "seq", "seen_us"}
    | {"met_us", "resolved_us", "checked_us", "retried_us"}
    | {"held_rows", "live_records", "live_bytes", "deferred_records", "exp_us"}
)


def _arrow(*columns: str) -> pa.Schema:
    """The Arrow schema of some columns: text, but for the known integers and the raw bytes."""
    types = {"raw": pa.binary(), "verified": pa.bool_(), "identity_due": pa.bool_()}
    types["hides"] = pa.bool_()
    types |= dict.fromkeys(_INTEGER_COLUMNS, pa.int64())
    return pa.schema([pa.field(name, types.get(name, pa.string())) for name in columns])


RECORD = _arrow(
    *("uri", "did", "collection", "rkey", "kind", "cid", "rev", "op_index", "state", "name"),
    *("version", "schema_uri", "target_uri", "created_us", "sort_created", "body"),
    *("indexed_us", "seq", "verified", "rule"),
)


def repo_columns(row: Mapping[str, Any]) -> pa.Schema:
    """The Arrow schema of some columns of `repos`."""
    return _arrow(*row)


OUTBOX = _arrow("seq", "uri", "did", "cid", "rev", "op")
QUARANTINE = _arrow("uri", "did", "cid", "rev", "rule", "path", "reason", "raw", "seen_us")
JUDGED = _arrow("src", "val", "hides")
HIDDEN = _arrow("uri", "cid")
LABEL = _arrow("src", "uri", "val", "cid", "cts", "exp_us", "hides")

INSERT = {
    "records": "INSERT INTO records BY NAME SELECT * FROM incoming",
    "outbox": "INSERT INTO outbox BY NAME SELECT * FROM incoming",
    "quarantine": "INSERT INTO quarantine BY NAME SELECT * FROM incoming",
    "labels": "INSERT INTO labels BY NAME SELECT * FROM incoming",
    "hidden": "INSERT INTO hidden BY NAME SELECT * FROM incoming",
}
DELETE = {"quarantine": "DELETE FROM quarantine WHERE uri"}

NEW_REPO = "INSERT INTO repos BY NAME SELECT * FROM incoming ON CONFLICT DO NOTHING"
REPO = (
    "INSERT INTO repos BY NAME SELECT * FROM incoming ON CONFLICT (did) DO UPDATE"
    " SET rev = excluded.rev, sync = excluded.sync, data = excluded.data,"
    " held_rows = excluded.held_rows, live_records = excluded.live_records,"
    " live_bytes = excluded.live_bytes, deferred_records = excluded.deferred_records,"
    " checked_us = coalesce(excluded.checked_us, checked_us)"
)
TOTALS = (
    "UPDATE repos SET held_rows = incoming.held_rows, live_records = incoming.live_records,"
    " live_bytes = incoming.live_bytes, deferred_records = incoming.deferred_records"
    " FROM incoming WHERE repos.did = incoming.did"
)
PRUNED = (
    "UPDATE repos SET held_rows = repos.held_rows - incoming.held_rows,"
    " pruned_rev = greatest(repos.pruned_rev, incoming.pruned_rev)"
    " FROM incoming WHERE repos.did = incoming.did"
)
RETRY = (
    "UPDATE repos SET sync = 'desynchronised', retried_us = incoming.retried_us"
    " FROM incoming WHERE repos.did = incoming.did"
)
IDENTITY = (
    "UPDATE repos SET handle = incoming.handle, pds = incoming.pds,"
    " signing_key = incoming.signing_key, identity_due = incoming.identity_due,"
    " resolved_us = incoming.resolved_us,"
    " sync = CASE WHEN repos.sync = 'gone' AND incoming.pds IS DISTINCT FROM repos.pds"
    " THEN 'desynchronised' ELSE repos.sync END"
    " FROM incoming WHERE repos.did = incoming.did"
)
BEREFT = (
    "UPDATE repos SET handle = NULL, identity_due = true"
    " FROM incoming WHERE repos.did = incoming.did"
)

KNOWN = (
    "SELECT did, rev, status, sync, data, signing_key, pruned_rev,"
    " held_rows, live_records, live_bytes, deferred_records FROM repos WHERE did IN"
)

HELD = (
    "SELECT uri, collection, rkey, cid, rev, op_index, state, verified,"
    " coalesce(strlen(body), 0) FROM records"
)

LIVE_OF = "SELECT uri, did, cid, rev, kind FROM records WHERE state = 'live' AND did IN"

TOLD_LATER = (
    "SELECT did FROM repos WHERE did = $1 AND account_us >= $2"
    " AND CASE account_source WHEN $3 THEN account_seq >= $4 ELSE account_us > $2 END"
)
TELL = "UPDATE repos SET account_us = ?, account_source = ?, account_seq = ? WHERE did = ?"
BACK = (
    "UPDATE repos SET checked_us = NULL,"
    " sync = CASE sync WHEN 'gone' THEN 'desynchronised' ELSE sync END WHERE did = ?"
)

PLACE = "SELECT pds, signing_key, rev, sync FROM repos WHERE did = ?"

SAMPLE = (
    "SELECT did FROM repos WHERE status = 'active' AND sync = 'active' ORDER BY random() LIMIT ?"
)
UNCHECKED = (
    "SELECT did FROM repos WHERE status = 'active' AND sync = 'active'"
    " AND coalesce(checked_us, 0) < ? ORDER BY checked_us NULLS FIRST LIMIT ?"
)
UNRESOLVED = (
    "UPDATE repos SET identity_due = true WHERE did IN"
    " (SELECT did FROM repos WHERE status = 'active' AND NOT identity_due"
    " AND coalesce(resolved_us, 0) < ? ORDER BY resolved_us NULLS FIRST LIMIT ?) RETURNING did"
)

SCHEMAS_OF = "SELECT uri FROM records WHERE state = 'live' AND kind = 'schema' AND did IN"

LEFT_OVER = (
    "SELECT did FROM repos WHERE status = 'deleted'"
    " AND (did IN (SELECT did FROM records) OR did IN (SELECT did FROM quarantine))"
)

SOME_OF = "SELECT uri FROM records WHERE did = ? LIMIT ?"

RECOUNT = (
    "UPDATE repos SET held_rows = held.held_rows, live_records = held.live_records,"
    " live_bytes = held.live_bytes, deferred_records = held.deferred_records"
    " FROM (SELECT count(*) AS held_rows, count(*) FILTER (state = 'live') AS live_records,"
    " coalesce(sum(strlen(body)), 0) AS live_bytes,"
    " count(*) FILTER (state = 'deferred') AS deferred_records FROM records WHERE did = ?) held"
    " WHERE repos.did = ?"
)

FRAMES_NAMING = (
    "DELETE FROM quarantine WHERE did = '' AND list_contains(string_split(path, ' '), ?)"
)

BEYOND_ACCOUNT = (
    "SELECT uri FROM quarantine WHERE did IN (SELECT unnest(?)) QUALIFY row_number()"
    " OVER (PARTITION BY did ORDER BY seen_us DESC, rev DESC NULLS LAST, uri DESC) > ?"
)
BEYOND_BYTES = (
    "SELECT uri FROM quarantine WHERE did = ''"
    " QUALIFY sum(octet_length(raw)) OVER (ORDER BY seen_us DESC, uri DESC) > ?"
)
OLDEST = "SELECT uri FROM quarantine ORDER BY seen_us, rev NULLS FIRST, uri LIMIT ?"
EXPIRED = "SELECT uri FROM quarantine WHERE seen_us < ? LIMIT ?"

OLD_TOMBSTONES = (
    "SELECT r.uri, r.did, r.rev FROM records r JOIN repos p ON p.did = r.did"
    " WHERE r.state = 'deleted' AND (r.indexed_us < ? OR p.held_rows > ?)"
    " AND p.sync = 'active' AND p.rev >= r.rev ORDER BY r.indexed_us LIMIT ?"
)

FORGETTABLE = (
    "SELECT did FROM repos WHERE held_rows = 0 AND did NOT IN (SELECT did FROM quarantine)"
    " AND greatest(coalesce(met_us, 0), coalesce(account_us, 0))"
    " < CASE WHEN status = 'active' AND sync = 'active' THEN ? ELSE ? END"
)

ROOMY = (
    "SELECT did FROM repos WHERE deferred_records > 0 AND status = 'active' AND sync = 'active'"
    " AND coalesce(retried_us, 0) < ? AND (live_records + deferred_records <= ?"
    " OR live_records <= ?) AND live_bytes <= ? LIMIT ?"
)

SETTLE = (
    "DELETE FROM quarantine WHERE did = ? AND uri NOT IN"
    " (SELECT uri FROM records WHERE did = ? AND state = 'invalid')"
)

TAKE_OUT = "DELETE FROM records WHERE uri IN"

OUT_OF_SCOPE = (
    "DELETE FROM records WHERE collection NOT IN (SELECT unnest(?))"
    " RETURNING uri, did, cid, rev, state, kind"
)
QUARANTINE_OUT_OF_SCOPE = (
    "DELETE FROM quarantine WHERE split_part(uri, '/', 4) <> ''"
    " AND split_part(uri, '/', 4) NOT IN (SELECT unnest(?))"
)
ALL_BEHIND = "UPDATE repos SET sync = 'desynchronised' WHERE sync = 'active'"
DISCOVER_ANEW = "UPDATE discoveries SET cursor = NULL, done_us = NULL"
SET_COLLECTIONS = "INSERT OR REPLACE INTO meta VALUES ('collections', ?)"

DEPENDENTS = (
    "SELECT uri, did, cid, rev FROM records WHERE state = 'live'"
    " AND (schema_uri IN (SELECT unnest($1)) OR target_uri IN (SELECT unnest($1)))"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a repo is, as last resolved, and how it stands with it."""

    pds: str | None
    key: str | None
    rev: str | None
    sync: str


@dataclass(frozen=True, slots=True)
class Link:
    """A schema another record refers to; `cid` is None while it is not visible in the index.

    `body` is the JSON text of its record.
    """

    uri: str
    cid: str | None = None
    name: str | None = None
    version: str | None = None
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """All that a document is made of. `handle` is None until it was verified both ways; `labels`
    are those of the record and of its account, as a view shows them.
    """

    uri: str
    did: str
    kind: str
    cid: str
    body: str
    sort_created: int
    indexed_us: int
    handle: str | None
    schema: Link | None
    target: Link | None
    labels: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True, slots=True)
class RecordStatus:
    """Why a record is, or is not, in the index: see `getRecordStatus`."""

    status: str
    cid: str | None = None
    rev: str | None = None
    rule: str | None = None
    path: str | None = None
    reason: str | None = None
    account_status: str | None = None
    indexed_us: int | None = None
    verified: bool | None = None


LIVE = "r.state = 'live' AND p.status = 'active'"
NOT_HIDDEN = (
    " AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.uri = r.did)"
    " AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.uri = r.uri"
    " AND coalesce(h.cid, r.cid) = r.cid)"
)


def shown() -> str:
    """The condition that a row of `records` (r), with that of its account in `repos` (p), is
    visible.

    With `HidingDatabase.unhidden`, which asks the same of rows that are known already, the one
    place that says so: searches, exports and the stream of changes keep to it.
    """
    return LIVE + NOT_HIDDEN


_RECORDS = "FROM records r JOIN repos p ON p.did = r.did"
LOAD_SCHEMAS = (
    "SELECT r.uri, r.did, r.kind, r.cid, r.name, r.version, r.body"
    f" {_RECORDS} WHERE r.kind = 'schema'"
)
COUNT = f"SELECT count(*) {_RECORDS}"
LOAD = (
    "SELECT r.uri, r.did, r.kind, r.cid, r.body, r.sort_created, r.indexed_us, p.handle,"
    f" r.schema_uri, r.target_uri {_RECORDS}"
)
