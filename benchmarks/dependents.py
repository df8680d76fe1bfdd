"""How soon a change shows on all that carries it: `python -m benchmarks.dependents`, see `--help`.

Many datasets of one schema and one author. The schema gets another name, then the author another
handle; the clock runs from the change until a search by the new name, or handle, finds them all.
The last line is JSON: milliseconds of each, and the number of datasets.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atdata_indexer.changes import Change, Changes, Repo, Row
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index.query import Search
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.ingest import Ingest, Work, wall_clock
from atdata_schemas.records import DATASET_NSID, SCHEMA_NSID

DEPENDENTS = 10_000
BATCH = 500
AUTHOR = "did:plc:" + "a" * 24
CREATED_US = 1_750_000_000_000_000
_ABOUT = "Recordings made under water with hydrophones on many cruises, annotated by hand. " * 3


def main() -> int:
    """Fill an index, change what all of it carries, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dependents")
    parser.add_argument("--records", type=int, default=DEPENDENTS, help="default: %(default)s")
    parser.add_argument("--small", action="store_true", help="the default: it is quick")
    print(json.dumps(measure(parser.parse_args().records)))
    return 0


def measure(records: int) -> dict[str, float]:
    """How long a renamed schema and a changed handle take to show on so many datasets."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "db")
        writer = IndexWriter(Path(folder) / "index", store)
        ingest = Ingest(store, writer, wall_clock, verify=False)
        reader = Reader(Path(folder) / "index")

        def put(rows: Sequence[Row]) -> None:
            changes = Changes(rows={row.uri: row for row in rows})
            changes.repos = {AUTHOR: Repo(AUTHOR, rows[0].rev)}
            changes.outbox = [Change(r.uri, r.did, r.cid, r.rev, "create") for r in rows]
            store.commit(changes, {}, wall_clock())
            writer.catch_up()
            reader.refresh()

        put([_schema("Recording", 1)])
        for start in range(0, records, BATCH):
            put([_dataset(number) for number in range(start, min(start + BATCH, records))])
        began = time.perf_counter()
        put([_schema("Hydrophone", 2)])
        schema_ms = (time.perf_counter() - began) * 1000
        assert reader.search(Search("dataset", "hydrophone"), sort="newest").total == records
        began = time.perf_counter()
        ingest.apply(Work(identities=[ResolvedIdentity(AUTHOR, "sea.example.com", None, None)]))
        reader.refresh()
        handle_ms = (time.perf_counter() - began) * 1000
        assert reader.search(Search("dataset", author="sea.example.com")).total == records
        writer.close()
        store.close()
    return {"records": records, "schema_ms": round(schema_ms), "handle_ms": round(handle_ms)}


def _schema(name: str, version: int) -> Row:
    image = {"kind": "ndarray", "dtype": "float32", "shape": [None]}
    fields = [{"name": "sound", "type": image}]
    body = {"name": name, "version": f"{version}.0.0", "fields": fields}
    return _row(SCHEMA_NSID, "3kaaaaaaaaaa2", version, body, version=f"{version}.0.0")


def _dataset(number: int) -> Row:
    schema = f"at://{AUTHOR}/{SCHEMA_NSID}/3kaaaaaaaaaa2"
    name, tags = f"Cruise {number}", ["sea", f"leg-{number % 50}"]
    body = {"name": name, "description": _ABOUT, "tags": tags, "schemaRef": schema}
    return _row(DATASET_NSID, f"3k{number:011}", 1, body, schema_uri=schema)


def _row(
    collection: str,
    rkey: str,
    number: int,
    body: Mapping[str, Any],
    *,
    version: str | None = None,
    schema_uri: str | None = None,
) -> Row:
    return Row(
        uri=f"at://{AUTHOR}/{collection}/{rkey}",
        did=AUTHOR,
        collection=collection,
        rkey=rkey,
        kind="schema" if collection == SCHEMA_NSID else "dataset",
        cid=f"bafy{rkey}{number}",
        rev=f"3maaaaaaaaaa{number}",
        op_index=0,
        state="live",
        name=str(body["name"]),
        version=version,
        schema_uri=schema_uri,
        created_us=CREATED_US,
        body=json.dumps({"$type": collection, **body}),
    )


if __name__ == "__main__":
    sys.exit(main())
