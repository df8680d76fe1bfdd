"""A throw-away PostgreSQL of one's own, and the row-at-a-time AppView that is measured against it.

The cluster lives in a temporary folder, listens on a Unix socket there and nowhere else, and has
the settings it ships with. PostgreSQL refuses to run as root: then it runs as `postgres`.

The AppView is the straightforward one: each frame decoded by libipld, each record one upsert in a
transaction of its own, into one table with a weighted text vector and the indexes searches need.
"""

import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import libipld
import psycopg
from psycopg.types.json import Jsonb

from atdata_schemas.records import KINDS
from atdata_schemas.syntax import cid_text

OLDEST = 15
_LIBRARY = Path("/usr/lib/postgresql")  # where Debian keeps every version apart
_USER = "postgres"
_PATIENCE_S = 60.0

type Connection = psycopg.Connection[Any]

_TABLE = """
DROP TABLE IF EXISTS records;
CREATE TABLE records (
    uri text PRIMARY KEY, did text NOT NULL, collection text NOT NULL, rkey text NOT NULL,
    cid text NOT NULL, rev text NOT NULL, name text NOT NULL, version text, schema_uri text,
    target_uri text, tags text[] NOT NULL, created_at timestamptz NOT NULL, body jsonb NOT NULL,
    indexed_at timestamptz NOT NULL DEFAULT now(),
    search tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', name), 'A')
        || setweight(array_to_tsvector(tags), 'B')
        || setweight(to_tsvector('english', coalesce(body->>'description', '')), 'C')) STORED);
CREATE INDEX records_search ON records USING gin (search);
CREATE INDEX records_did ON records (did);
CREATE INDEX records_schema ON records (schema_uri);
CREATE INDEX records_created ON records (created_at);
"""
_UPSERT = """
INSERT INTO records (uri, did, collection, rkey, cid, rev, name, version, schema_uri, target_uri,
    tags, created_at, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (uri) DO UPDATE SET cid = excluded.cid, rev = excluded.rev, name = excluded.name,
    version = excluded.version, schema_uri = excluded.schema_uri, target_uri = excluded.target_uri,
    tags = excluded.tags, created_at = excluded.created_at, body = excluded.body,
    indexed_at = now()
WHERE records.rev < excluded.rev
"""


def missing() -> str | None:
    """What this machine lacks to run the cluster, None when nothing."""
    if _programs() is None:
        return f"no PostgreSQL {OLDEST} or newer in {_LIBRARY}; `make test-deps` installs it"
    if os.geteuid() == 0 and _USER not in (user.pw_name for user in pwd.getpwall()):
        return f"PostgreSQL does not run as root, and there is no user {_USER}"
    return None


@contextmanager
def running(
    parent: Path | None = None,
    *,
    kept: Path | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Connection]:
    """A cluster and a connection to it, on which each statement is a transaction.

    It is a new one, with the settings it ships with but for `settings`; one that is `kept` in a
    folder is gone on with.
    """
    if reason := missing():
        raise SystemExit(reason)
    user = _USER if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(dir=parent) as name, Path(name, "log").open("wb") as log:
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
        for folder in (name, kept):
            if user is not None and folder is not None:
                account = pwd.getpwnam(user)
                os.chown(folder, account.pw_uid, account.pw_gid)
        data = f"{kept or name}/data"
        if not Path(data, "PG_VERSION").exists():
            initdb = ["initdb", "--auth=trust", "--username=bench", "--encoding=UTF8"]
            _run([*initdb, "--no-locale", "--pgdata", data], name, user, log).wait()
        arguments = ["-D", data, "-k", name, "-c", "listen_addresses="]
        for variable, value in settings.items():
            arguments += ["-c", f"{variable}={value}"]
        server = _run(["postgres", *arguments], name, user, log)
        try:
            with _connected(server, name) as connection:
                yield connection
        finally:
            server.send_signal(signal.SIGINT)  # "fast": it does not wait for clients to go
            server.wait(_PATIENCE_S)


def prepare(connection: Connection) -> None:
    """Begin with an empty table."""
    connection.execute(_TABLE)


def upsert(connection: Connection, frames: Iterable[bytes]) -> None:
    """Take in `#commit` frames, record by record, each durable before the next is looked at."""
    for frame in frames:
        _, event = libipld.decode_dag_cbor_multi(frame)
        _, blocks = libipld.decode_car(event["blocks"])
        for op in event["ops"]:
            collection, _, rkey = op["path"].partition("/")
            if collection in KINDS and op["cid"] is not None:
                where = event["repo"], collection, rkey, cid_text(op["cid"]), event["rev"]
                connection.execute(_UPSERT, _row(*where, record=blocks[op["cid"]]))


def count(connection: Connection) -> int:
    """How many records the table holds."""
    row = connection.execute("SELECT count(*) FROM records").fetchone()
    assert row is not None
    return int(row[0])


def about(connection: Connection) -> str:
    """The version, and the settings that say whether a commit waits for the disk."""
    sql = "SELECT name, setting FROM pg_settings WHERE name = ANY (%s) ORDER BY name"
    names = ["fsync", "full_page_writes", "synchronous_commit", "wal_sync_method"]
    settings = " ".join(f"{name}={value}" for name, value in connection.execute(sql, [names]))
    return f"PostgreSQL {connection.info.server_version // 10_000}: {settings}"


def _row(
    did: str, collection: str, rkey: str, cid: str, rev: str, *, record: Mapping[str, Any]
) -> tuple[Any, ...]:
    body = {key: value for key, value in record.items() if not isinstance(value, bytes)}
    return (
        f"at://{did}/{collection}/{rkey}",
        did,
        collection,
        rkey,
        cid,
        rev,
        record["name"],
        record.get("version"),
        record.get("schemaRef") or record.get("sourceSchema"),
        record.get("targetSchema"),
        record.get("tags", []),
        record["createdAt"],
        Jsonb(body),
    )


def _programs() -> Path | None:
    """The folder of the programs of the oldest version that will do."""
    versions = (int(path.parent.parent.name) for path in _LIBRARY.glob("[0-9]*/bin/initdb"))
    version = min((one for one in versions if one >= OLDEST), default=None)
    return None if version is None else _LIBRARY / str(version) / "bin"


def _run(command: list[str], folder: str, user: str | None, log: Any) -> "subprocess.Popen[bytes]":
    """Start one of PostgreSQL's programs as a user it accepts."""
    program, *arguments = command
    programs = _programs()
    assert programs is not None
    return subprocess.Popen(
        [programs / program, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )


def _connected(server: "subprocess.Popen[bytes]", folder: str) -> Connection:
    """A connection, as soon as the server takes one."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return psycopg.connect(host=folder, user="bench", dbname="postgres", autocommit=True)
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                log = Path(folder, "log").read_text(errors="replace")
                raise SystemExit(f"PostgreSQL does not start: {error}\n{log}") from error
            time.sleep(0.05)
