"""An account's records as a file, and such a file as records: JSON lines, or Parquet.

One line (or row) is one record: `uri` and `cid` as its PDS has them, and its `value` in JSON form,
which Parquet keeps as text beside the `collection`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from atdata_client._extras import part
from atdata_client._records.lexicon import check_record
from atdata_client._records.plan import Plan, Write, carry_out
from atdata_schemas.records import KINDS
from atdata_schemas.syntax import AtUri

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from atdata_client._records.plan import Progress
    from atdata_client._records.stored import StoredRecord
    from atdata_client.client import ATProtoClient

type Format = Literal["jsonl", "parquet"]

_SUFFIXES: Mapping[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}


def export_records(
    client: ATProtoClient,
    path: str | os.PathLike[str],
    *,
    did: str | None = None,
    collections: Sequence[str] = tuple(KINDS),
    format: Format | None = None,
) -> int:
    """Write an account's records (one's own without `did`) to a file; returns how many.

    Of its schemas, datasets and lenses, or of `collections`. The file is written whole or not at
    all; its `format` is by default that of its suffix: `.jsonl`, `.ndjson`, `.json` or `.parquet`
    (which needs pyarrow, of the extra `frames`). Raises ValueError when not logged in and no `did`
    is given, or for another suffix; IdentityError, PdsError.
    """
    target = Path(path)
    write = {"jsonl": _write_jsonl, "parquet": _write_parquet}[_format(target, format)]
    rows = [row for collection in collections for row in client.iter_records(collection, did)]
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        write(beside, rows)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return len(rows)


def import_records(
    client: ATProtoClient,
    path: str | os.PathLike[str],
    *,
    format: Format | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Create the records of a file in one's own repository; returns their AT-URIs, in its order.

    They keep their keys, and what refers to another record of the file refers to it in its new
    place. What is there already, word for word, is left alone: an import that was cut short is
    simply made again. Everything is checked before anything is published; then records go out at
    most 200 to a commit, each of which is done wholly or not at all.

    Raises ValueError when not logged in, for a line that is no schema, dataset or lens, and for a
    record that differs from the one that has its place; ValidationError naming field and rule;
    PublishInterrupted, PdsError.
    """
    did, source = client.did, Path(path)
    read = {"jsonl": _read_jsonl, "parquet": _read_parquet}[_format(source, format)]
    places: dict[str, str] = {}
    values: dict[str, dict[str, Any]] = {}
    for number, (uri, value) in enumerate(read(source), 1):
        try:
            own = _own_place(uri, value, did)
            check_record(value)
        except ValueError as error:
            error.add_note(f"in record {number} of {source}")
            raise
        if own in values:
            raise ValueError(f"record {number} of {source} has the key of one before it: {own}")
        places[uri], values[own] = own, value
    moved = {uri: _moved(value, places) for uri, value in values.items()}
    there = _there(client, {AtUri.parse(uri).collection for uri in moved})
    changed = [uri for uri, value in moved.items() if there.get(uri, value) != value]
    if changed:
        raise ValueError(f"{len(changed)} records are there and differ, {changed[0]} among them")
    # What others refer to first.
    order = list(KINDS)
    missing = sorted(
        (uri for uri in moved if uri not in there),
        key=lambda uri: order.index(AtUri.parse(uri).collection),
    )
    writes = tuple(Write(uri, moved[uri]) for uri in missing)
    return carry_out(client, Plan(did, writes, tuple(moved)), begun=False, progress=progress)


def _own_place(uri: object, value: object, did: str) -> str:
    if not isinstance(uri, str) or not isinstance(value, dict):
        raise ValueError("not a record: it needs a uri and a value")
    target = AtUri.parse(uri)
    if target.collection not in KINDS or value.get("$type") != target.collection:
        raise ValueError(f"neither schema, dataset nor lens: {value.get('$type')!r} at {uri}")
    return f"at://{did}/{target.collection}/{target.rkey}"


def _moved(value: Any, places: Mapping[str, str]) -> Any:
    """A record whose references follow the records that have moved."""
    match value:
        case dict():
            return {
                key: places.get(item, item)
                if key in {"schemaRef", "sourceSchema", "targetSchema"} and isinstance(item, str)
                else _moved(item, places)
                for key, item in value.items()
            }
        case list():
            return [_moved(item, places) for item in value]
    return value


def _there(client: ATProtoClient, collections: Iterable[str]) -> dict[str, dict[str, Any]]:
    """One's own records by AT-URI."""
    return {
        record.uri: record.value
        for collection in collections
        for record in client.iter_records(collection)
    }


def _format(path: Path, format: Format | None) -> Format:
    found = format or _SUFFIXES.get(path.suffix.lower())
    if found not in ("jsonl", "parquet"):
        raise ValueError(f"is {path.name} JSON lines or Parquet? Say format='jsonl' or 'parquet'")
    return found


def _write_jsonl(path: Path, rows: Iterable[StoredRecord]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            line = {"uri": row.uri, "cid": row.cid, "value": row.value}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _read_jsonl(path: Path) -> Iterator[tuple[Any, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                held = json.loads(line)
                yield held["uri"], held["value"]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise ValueError(f"line {number} of {path} is no record: {error}") from error


def _write_parquet(path: Path, rows: Sequence[StoredRecord]) -> None:
    pa = part("pyarrow", of="frames", for_="Parquet")
    pq = part("pyarrow.parquet", of="frames", for_="Parquet")
    columns = {
        "uri": [row.uri for row in rows],
        "cid": [row.cid for row in rows],
        "collection": [AtUri.parse(row.uri).collection for row in rows],
        "value": [json.dumps(row.value, ensure_ascii=False) for row in rows],
    }
    schema = pa.schema([(name, pa.string()) for name in columns])
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")


def _read_parquet(path: Path) -> Iterator[tuple[Any, Any]]:
    pa = part("pyarrow", of="frames", for_="Parquet")
    pq = part("pyarrow.parquet", of="frames", for_="Parquet")
    try:
        table = pq.read_table(path, columns=["uri", "value"])
        rows = table.to_pylist()
        yield from [(row["uri"], json.loads(row["value"])) for row in rows]
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} holds no records: {error}") from error
