"""The tables of the database and the values read from them.

LAYOUT counts the versions of the tables; a database of an older one is migrated forward when it is
opened, one of a newer one is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

LAYOUT = 2

DDL = """
CREATE TABLE meta (key VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);
CREATE TABLE records (
    uri VARCHAR PRIMARY KEY, did VARCHAR NOT NULL, collection VARCHAR NOT NULL,
    rkey VARCHAR NOT NULL, kind VARCHAR NOT NULL, cid VARCHAR, rev VARCHAR NOT NULL,
    op_index INTEGER NOT NULL, state VARCHAR NOT NULL, name VARCHAR, version VARCHAR,
    schema_uri VARCHAR, target_uri VARCHAR, created_us BIGINT, sort_created BIGINT,
    body VARCHAR, indexed_us BIGINT NOT NULL, seq BIGINT NOT NULL,
    verified BOOLEAN NOT NULL DEFAULT false);
CREATE TABLE repos (
    did VARCHAR PRIMARY KEY, rev VARCHAR, status VARCHAR NOT NULL, sync VARCHAR NOT NULL,
    handle VARCHAR, pds VARCHAR, signing_key VARCHAR, identity_due BOOLEAN NOT NULL,
    data VARCHAR);
CREATE TABLE cursors (source VARCHAR PRIMARY KEY, seq BIGINT NOT NULL, saved_us BIGINT NOT NULL);
CREATE TABLE outbox (
    seq BIGINT NOT NULL, uri VARCHAR NOT NULL, did VARCHAR NOT NULL, cid VARCHAR,
    rev VARCHAR, op VARCHAR NOT NULL);
CREATE TABLE quarantine (
    uri VARCHAR PRIMARY KEY, did VARCHAR NOT NULL, cid VARCHAR, rev VARCHAR, rule VARCHAR NOT NULL,
    path VARCHAR NOT NULL, reason VARCHAR NOT NULL, raw BLOB, seen_us BIGINT NOT NULL);
"""

MIGRATIONS = {
    1: """
        ALTER TABLE records ADD COLUMN verified BOOLEAN DEFAULT false;
        ALTER TABLE repos ADD COLUMN data VARCHAR;
    """,
}
"""What leads from each older layout to the next. Forward only: no release reads a newer one."""

_INTEGER_COLUMNS = frozenset(
    {"op_index", "created_us", "sort_created", "indexed_us", "seq", "seen_us"}
)


def _arrow(*columns: str) -> pa.Schema:
    """The Arrow schema of some columns: text, but for the known integers and the raw bytes."""
    types = {"raw": pa.binary(), "verified": pa.bool_(), "identity_due": pa.bool_()}
    types |= dict.fromkeys(_INTEGER_COLUMNS, pa.int64())
    return pa.schema([pa.field(name, types.get(name, pa.string())) for name in columns])


RECORD = _arrow(
    *("uri", "did", "collection", "rkey", "kind", "cid", "rev", "op_index", "state", "name"),
    *("version", "schema_uri", "target_uri", "created_us", "sort_created", "body"),
    *("indexed_us", "seq", "verified"),
)


def repo_columns(row: Mapping[str, Any]) -> pa.Schema:
    """The Arrow schema of some columns of `repos`."""
    return _arrow(*row)


OUTBOX = _arrow("seq", "uri", "did", "cid", "rev", "op")
QUARANTINE = _arrow("uri", "did", "cid", "rev", "rule", "path", "reason", "raw", "seen_us")


INSERT = {
    "records": "INSERT INTO records BY NAME SELECT * FROM incoming",
    "outbox": "INSERT INTO outbox BY NAME SELECT * FROM incoming",
    "quarantine": "INSERT INTO quarantine BY NAME SELECT * FROM incoming",
}
DELETE = {
    "records": "DELETE FROM records WHERE uri",
    "quarantine": "DELETE FROM quarantine WHERE uri",
}


NEW_REPO = (
    "INSERT INTO repos (did, rev, status, sync, data, identity_due)"
    " SELECT did, rev, status, sync, data, identity_due FROM incoming ON CONFLICT DO NOTHING"
)
REPO = (
    "INSERT INTO repos (did, rev, status, sync, data, identity_due)"
    " SELECT did, rev, status, sync, data, identity_due FROM incoming ON CONFLICT (did)"
    " DO UPDATE SET rev = excluded.rev, sync = excluded.sync, data = excluded.data"
)
IDENTITY = (
    "UPDATE repos SET handle = incoming.handle, pds = incoming.pds,"
    " signing_key = incoming.signing_key, identity_due = incoming.identity_due"
    " FROM incoming WHERE repos.did = incoming.did"
)
BEREFT = (
    "UPDATE repos SET handle = NULL, identity_due = true"
    " FROM incoming WHERE repos.did = incoming.did"
)

LIVE_OF = "SELECT uri, did, cid, rev, kind FROM records WHERE state = 'live' AND did IN"

SCHEMAS_OF = "SELECT uri FROM records WHERE state = 'live' AND kind = 'schema' AND did IN"

LEFT_OVER = (
    "SELECT did FROM repos WHERE status = 'deleted'"
    " AND (did IN (SELECT did FROM records) OR did IN (SELECT did FROM quarantine))"
)

SETTLE = (
    "DELETE FROM quarantine WHERE did = ? AND uri NOT IN"
    " (SELECT uri FROM records WHERE did = ? AND state = 'invalid')"
)

DEPENDENTS = (
    "SELECT uri, did, cid, rev FROM records WHERE state = 'live' AND schema_uri IN",
    "SELECT uri, did, cid, rev FROM records WHERE state = 'live' AND target_uri IN",
)


@dataclass(frozen=True, slots=True)
class Link:
    """A schema another record refers to; `cid` is None while it is not visible in the index."""

    uri: str
    cid: str | None = None
    name: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """All that a document is made of. `handle` is None until it was verified both ways."""

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


LOAD = (
    "SELECT r.uri, r.did, r.kind, r.cid, r.body, r.sort_created, r.indexed_us, p.handle,"
    " r.schema_uri, r.target_uri FROM records r JOIN repos p ON p.did = r.did"
)
