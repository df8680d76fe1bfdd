"""Datasets and schemas with everything that searches look at, for a small index."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atdata_indexer.changes import Change, Changes, Row
from atdata_indexer.index.fields import open_index
from atdata_indexer.index.snapshot import Snapshot
from atdata_indexer.index.writer import current
from tests.small_index import BOB, DATASET, NOW_US, SCHEMA, SmallIndex, row


def dataset(
    number: int,
    name: str,
    *,
    did: str = BOB,
    tags: Sequence[str] = (),
    description: str = "",
    license: str = "",
    schema: str = f"at://{BOB}/{SCHEMA}/3kmissingaaaa",
) -> Row:
    """A dataset; `number` makes it another record."""
    record: dict[str, Any] = {"$type": DATASET, "name": name, "schemaRef": schema}
    record |= {"tags": list(tags)} if tags else {}
    record |= {"description": description} if description else {}
    record |= {"license": license} if license else {}
    key = f"3k{number:011}"
    return row(did, DATASET, key, json.dumps(record), name=name, schema_uri=schema)


def schema(
    number: int,
    name: str,
    *,
    did: str = BOB,
    version: str = "1.0.0",
    kinds: Iterable[str] = (),
) -> Row:
    """A schema with a field of each of these primitive kinds, or `ndarray:dtype`."""
    fields = [{"name": f"field{at}", "type": _type(kind)} for at, kind in enumerate(kinds)]
    record = {"$type": SCHEMA, "name": name, "version": version, "fields": fields}
    return row(did, SCHEMA, f"3k{number:011}", json.dumps(record), name=name, version=version)


def delete(small: SmallIndex, *rows: Row) -> None:
    """Their authors delete these records."""
    small.seq += 1
    gone = [
        Row(
            uri=one.uri,
            did=one.did,
            collection=one.collection,
            rkey=one.rkey,
            kind=one.kind,
            cid=None,
            rev="3mzzzzzzzzzz2",
            op_index=0,
            state="deleted",
        )
        for one in rows
    ]
    changes = Changes(rows={one.uri: one for one in gone})
    changes.outbox = [Change(one.uri, one.did, None, one.rev, "delete") for one in gone]
    small.store.commit(changes, {"test": small.seq}, NOW_US)
    small.writer.catch_up()


def snapshot(small: SmallIndex) -> Snapshot:
    """The newest state of its index."""
    name = current(small.folder / "index")
    assert name is not None
    return Snapshot.of(open_index(str(small.folder / "index" / name)), name)


@contextmanager
def holding(folder: Path, rows: Iterable[Row]) -> Iterator[SmallIndex]:
    """A small index of these records."""
    small = SmallIndex(folder)
    try:
        small.put(rows)
        yield small
    finally:
        small.close()


def _type(kind: str) -> dict[str, Any]:
    if kind.startswith("ndarray:"):
        return {"kind": "ndarray", "dtype": kind.partition(":")[2]}
    return {"kind": "primitive", "primitive": kind}
