"""The index to go: its datasets, schemas, lenses and tags as Parquet files.

The rows are those that are visible, as of one moment; each carries its record as JSON beside the
columns that are asked for most. Rows come in groups of GROUP, or fewer where their records are
long: neither a writer nor a reader need hold more than a group. The order is any.
"""

import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from atdata_indexer.index.fields import INVALID_HANDLE, fold
from atdata_indexer.index.files import sync_folder
from atdata_indexer.index.store import Store
from atdata_indexer.index.tables import shown
from atdata_schemas.errors import ValidationError
from atdata_schemas.records import Dataset, Lens, Record, Schema, parse_record

GROUP = 10_000
GROUP_TEXT = 16 << 20
"""How many characters of records a group has; the one that reaches it is its last."""
_BATCH = 16
"""How many rows are fetched at once; each may be as long as a repo's block."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SCHEMAS = (
    "SELECT r.uri, r.name, r.version FROM records r JOIN repos p ON p.did = r.did"
    " WHERE r.kind = 'schema' AND "
)
_ROWS = (
    "SELECT r.uri, r.cid, r.did, p.handle, r.collection, r.rkey, r.body, r.indexed_us,"
    " a.uri, a.name, a.version, b.uri, b.name, b.version"
    " FROM records r JOIN repos p ON p.did = r.did"
    " LEFT JOIN schemas a ON a.uri = r.schema_uri LEFT JOIN schemas b ON b.uri = r.target_uri"
    " WHERE r.kind = ? AND "
)

_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = pa.list_(pa.string())


def _columns(*own: tuple[str, pa.DataType]) -> pa.Schema:
    """The columns of a file of records: those that all have, with those of its kind between."""
    texts = ("uri", "cid", "did", "handle", "name", "description")
    columns: list[tuple[str, pa.DataType]] = [(name, pa.string()) for name in texts]
    columns += own
    columns += [("created_at", _TIME), ("indexed_at", _TIME), ("record", pa.string())]
    return pa.schema(columns)


_LINK = ("uri", "name", "version")
_TAGS: list[tuple[str, pa.DataType]] = [("tag", pa.string()), ("datasets", pa.int64())]
COLUMNS: Mapping[str, pa.Schema] = {
    "datasets": _columns(
        *((f"schema_{part}", pa.string()) for part in _LINK),
        ("tags", _TEXTS),
        ("license", pa.string()),
        ("urls", _TEXTS),
        ("samples", pa.int64()),
        ("bytes", pa.int64()),
    ),
    "schemas": _columns(("version", pa.string()), ("fields", _TEXTS)),
    "lenses": _columns(
        *((f"{end}_{part}", pa.string()) for end in ("source", "target") for part in _LINK),
    ),
    "tags": pa.schema(_TAGS),
}
"""The files by name, and their columns."""

_KINDS = {"datasets": "dataset", "schemas": "schema", "lenses": "lens"}


def write(store: Store, folder: Path) -> tuple[int, Mapping[str, int]]:
    """Write all files into an empty folder, and bring them to the disk; any thread.

    Gives the seq of the last change that is in them, and how many rows each has. Raises StoreError
    and OSError, the latter also where the database may not take the memory that it needs.
    """
    counts: dict[str, int] = {}
    tags: Counter[str] = Counter()
    with store.reader() as db:
        try:
            db.execute("BEGIN")  # all files as of the same moment
            ((seq,),) = db.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchall()
            for name, kind in _KINDS.items():
                rows = _rows(db, kind, tags.update if kind == "dataset" else lambda found: None)
                counts[name] = _write(folder, name, rows, store.epoch, seq)
        except duckdb.OutOfMemoryException as error:  # the database is sound
            raise OSError(errno.ENOMEM, str(error)) from error
    counted = sorted(tags.items(), key=lambda item: (-item[1], item[0]))
    rows = ({"tag": tag, "datasets": count} for tag, count in counted)
    counts["tags"] = _write(folder, "tags", rows, store.epoch, seq)
    sync_folder(folder)
    return seq, counts


def _rows(
    db: duckdb.DuckDBPyConnection, kind: str, tagged: Callable[[Iterable[str]], None]
) -> Iterator[dict[str, Any]]:
    found = db.execute(f"WITH schemas AS ({_SCHEMAS}{shown()}) {_ROWS}{shown()}", [kind])
    while batch := found.fetchmany(_BATCH):
        for uri, cid, did, handle, collection, rkey, body, indexed_us, *links in batch:
            try:
                own = _own(parse_record(collection, rkey, json.loads(body)), links)
            except ValidationError:  # a rule that is younger than the record: it says itself
                own = {}
            head = {"uri": uri, "cid": cid, "did": did, "handle": handle or INVALID_HANDLE}
            tail = {"indexed_at": _EPOCH + timedelta(microseconds=indexed_us), "record": body}
            row = head | own | tail
            tagged({fold(tag) for tag in row.get("tags", ())} - {""})
            yield row


def _own(record: Record, links: Sequence[str | None]) -> dict[str, Any]:
    """The columns that a record fills by what it says itself."""
    match record:
        case Dataset():
            own: dict[str, Any] = {
                "schema_uri": record.schema_ref,
                "schema_name": links[1],
                "schema_version": links[2],
                "tags": list(record.tags),
                "license": record.license,
                "urls": list(record.urls),
                "samples": record.samples,
                "bytes": record.size_bytes,
            }
        case Schema():
            own = {"version": record.version, "fields": [field.name for field in record.fields]}
        case Lens():
            own = {"source_uri": record.source_schema, "target_uri": record.target_schema}
            own |= {"source_name": links[1], "source_version": links[2]}
            own |= {"target_name": links[4], "target_version": links[5]}
        case _:
            raise AssertionError(f"no file holds {type(record).__name__}")
    said = {"name": record.name, "description": record.description}
    return said | own | {"created_at": record.created_at}


def _write(folder: Path, name: str, rows: Iterable[dict[str, Any]], epoch: str, seq: int) -> int:
    """Write one file, and bring it to the disk; gives how many rows it has."""
    made_from = {"epoch": epoch, "seq": str(seq)}
    columns = COLUMNS[name].with_metadata(made_from)
    count = 0
    with (folder / f"{name}.parquet").open("wb") as file:
        with pq.ParquetWriter(file, columns, compression="zstd") as writer:
            for group in _groups(rows):
                writer.write_table(pa.Table.from_pylist(group, columns), row_group_size=GROUP)
                count += len(group)
            writer.add_key_value_metadata(made_from)
        file.flush()
        os.fsync(file.fileno())
    return count


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    text = 0
    for row in rows:
        group.append(row)
        text += len(row.get("record", ""))
        if len(group) == GROUP or text >= GROUP_TEXT:
            yield group
            group.clear()  # also for who has it still: two of them are twice the memory
            text = 0
    if group:
        yield group
