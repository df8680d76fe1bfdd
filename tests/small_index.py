"""A small index driven by hand: records in, events in, views out. No network."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from atdata_indexer.changes import Change, Changes, Repo, Row
from atdata_indexer.frames import Account
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.store import Store
from atdata_indexer.index.writer import IndexWriter
from atdata_indexer.ingest import Ingest, Work
from tests.contents import searchable

ALICE = "did:plc:alicealicealicealicealic"
BOB = "did:plc:bobbobbobbobbobbobbobbob"
NOW_US = 1_790_000_000_000_000
SCHEMA = "app.bsky.atdata.schema"
DATASET = "app.bsky.atdata.dataset"
LENS = "app.bsky.atdata.lens"


class SmallIndex:
    """Store, writer and reader over one folder. `seq` counts what was applied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seq = 0
        self.open()

    def open(self) -> None:
        self.store = Store(self.folder / "db")
        self.writer = IndexWriter(self.folder / "index", self.store)
        self.ingest = Ingest(self.store, self.writer, lambda: NOW_US, verify=False)
        self.reader = Reader(self.folder / "index")

    def close(self) -> None:
        self.writer.close()
        self.store.close()

    def reopen(self) -> None:
        """What a restart does."""
        self.close()
        self.open()
        self.writer.catch_up()

    def put(self, rows: Iterable[Row]) -> None:
        """Store rows and make them searchable, in one transaction."""
        self.store_only(rows)
        self.writer.catch_up()

    def store_only(self, rows: Iterable[Row]) -> None:
        """Store rows and leave tantivy behind."""
        self.seq += 1
        rows = list(rows)
        changes = Changes(rows={row.uri: row for row in rows})
        changes.repos = {row.did: Repo(row.did, row.rev) for row in rows}
        changes.outbox = [Change(row.uri, row.did, row.cid, row.rev, "create") for row in rows]
        self.store.commit(changes, {"test": self.seq}, NOW_US)

    def account(self, did: str, active: bool, status: str | None = None) -> None:
        """An `#account` event."""
        self.seq += 1
        self.ingest.apply(Work([Account(self.seq, did, active, status)], {"test": self.seq}))

    def handle(self, did: str, handle: str | None) -> None:
        """A resolved identity."""
        self.resolved(ResolvedIdentity(did, handle, None, None))

    def resolved(self, identity: ResolvedIdentity) -> None:
        """A resolved identity, as it is."""
        self.ingest.apply(Work(identities=[identity]))

    def views(self) -> Mapping[str, Any]:
        """Every searchable view by URI."""
        self.reader.refresh()
        return searchable(self.reader)


def row(
    did: str, collection: str, rkey: str, body: str, rev: str = "3mabcdefghij2", **columns: Any
) -> Row:
    """A live row with this JSON body."""
    return Row(
        uri=f"at://{did}/{collection}/{rkey}",
        did=did,
        collection=collection,
        rkey=rkey,
        kind=collection.rpartition(".")[2],  # type: ignore[arg-type]  # one of the three kinds
        cid=f"bafy{did[8:12]}{rkey}{rev}",
        rev=rev,
        op_index=0,
        state="live",
        body=body,
        **({"created_us": NOW_US} | columns),
    )


def schema(did: str = ALICE, rkey: str = "3kschemaaaaaa", name: str = "Photo", **more: Any) -> Row:
    body = f'{{"$type":"{SCHEMA}","name":"{name}","version":"1.0.0"}}'
    return row(did, SCHEMA, rkey, body, name=name, version="1.0.0", **more)


def dataset(schema_uri: str, did: str = BOB, rkey: str = "3kdatasetaaaa", **more: Any) -> Row:
    body = f'{{"$type":"{DATASET}","name":"Whale calls","schemaRef":"{schema_uri}","tags":["sea"]}}'
    return row(did, DATASET, rkey, body, name="Whale calls", schema_uri=schema_uri, **more)


def lens(source: str, target: str, did: str = BOB, rkey: str = "3klensaaaaaaa", **more: Any) -> Row:
    body = f'{{"$type":"{LENS}","name":"crop","sourceSchema":"{source}","targetSchema":"{target}"}}'
    return row(did, LENS, rkey, body, name="crop", schema_uri=source, target_uri=target, **more)
