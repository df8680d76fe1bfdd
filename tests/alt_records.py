"""Records of `science.alt.dataset` as the `atdata` library writes them, and a network of them."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cbor2
from anyio.from_thread import start_blocking_portal

from atdata_api.server import AppView
from benchmarks.repos import Write
from tests.appview import caught_up, settings
from tests.builders import block_of
from tests.network import Network
from tests.signed import Author, frame, tid

ALT = "science.alt.dataset"
NDARRAY = "https://alt.science/schemas/atdata-ndarray-bytes"
BLOB = {
    "$type": "blob",
    "ref": {"$link": "bafkreibabalobzn6cd366ukcsjycp4yymjymgfxcv6xczmlgpemzkz3cfa"},
    "mimeType": "application/x-tar",
    "size": 10_240,
}
CHECKSUM = {"algorithm": "sha256", "digest": "ab" * 32}
START = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)

type Record = dict[str, Any]


def created(number: int = 0) -> str:
    """When the record of a number was made, as the library writes times."""
    return (START + timedelta(minutes=number)).isoformat()


def schema(name: str = "Photo", version: str = "1.0.0", **changes: Any) -> Record:
    """A schema as the library writes it: a flat JSON Schema."""
    record: Record = {
        "$type": f"{ALT}.schema",
        "name": name,
        "version": version,
        "schemaType": "jsonSchema",
        "schema": {
            "$type": f"{ALT}.schema#jsonSchemaFormat",
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {
                "image": {"$ref": f"{NDARRAY}/1.0.0#/$defs/ndarray"},
                "label": {"type": "string"},
            },
            "required": ["image"],
            "arrayFormatVersions": {"ndarrayBytes": "1.0.0"},
        },
        "createdAt": created(),
        "atdataSchemaVersion": 1,
    }
    return record | changes


def entry(schema_ref: str, number: int = 0, **changes: Any) -> Record:
    """A dataset in the shape that newer clients write: shards over HTTP, one by one."""
    record: Record = {
        "$type": f"{ALT}.entry",
        "name": f"Garden birds {number}",
        "schemaRef": schema_ref,
        "storage": {
            "$type": f"{ALT}.storageHttp",
            "shards": [{"url": f"https://data.example/{number}.tar", "checksum": CHECKSUM}],
        },
        "createdAt": created(number),
    }
    return record | changes


def external(*urls: str) -> Record:
    """Storage as older clients wrote it, and as datasets of the other namespace have it."""
    return {"$type": f"{ALT}.storageExternal", "urls": list(urls)}


def label(name: str, dataset: str, number: int = 0, **changes: Any) -> Record:
    """A label."""
    record = {"$type": f"{ALT}.label", "name": name, "datasetUri": dataset}
    return {**record, "createdAt": created(number), **changes}


def lens(source: str, target: str, number: int = 0, **changes: Any) -> Record:
    """A lens."""
    code = {"repository": "https://git.example/lenses", "commit": "2f6b1f0c", "path": "a.py:get"}
    record: Record = {
        "$type": f"{ALT}.lens",
        "name": f"crop {number}",
        "sourceSchema": source,
        "targetSchema": target,
        "getterCode": code,
        "putterCode": {**code, "path": "a.py:put", "language": "python"},
        "createdAt": created(number),
    }
    return record | changes


class Publisher:
    """An author whose records are noted and then committed, a hundred at a time."""

    def __init__(self, name: str) -> None:
        self.author = Author(name)
        self.did = self.author.did
        self.handle = f"{self.did[8:14]}.test"
        self.records: dict[str, Record] = {}

    def put(self, record: Record, rkey: str | None = None) -> str:
        """Note a record; its AT-URI."""
        key = rkey or tid(20_000 + len(self.records))
        uri = f"at://{self.did}/{record['$type']}/{key}"
        self.records[uri] = record
        return uri

    def of(self, kind: str) -> dict[str, Record]:
        """The records of one collection of `science.alt.dataset`."""
        return {uri: one for uri, one in self.records.items() if f"/{ALT}.{kind}/" in uri}

    def commits(self) -> Iterator[Mapping[str, Any]]:
        """The bodies of the commits that hold all of it."""
        writes = [
            Write("create", uri.removeprefix(f"at://{self.did}/"), cbor2.loads(block_of(record)))
            for uri, record in self.records.items()
        ]
        for at in range(0, len(writes), 100):
            yield self.author.write(*writes[at : at + 100])


@contextmanager
def serving(folder: Path, *publishers: Publisher, **more: Any) -> Iterator[AppView]:
    """An AppView over HTTP that has indexed all that they publish, in a thread beside the test."""
    network = Network(*(one.author for one in publishers))

    @asynccontextmanager
    async def start() -> AsyncIterator[AppView]:
        async with (
            network.serve() as host,
            AppView.start(settings(folder, host, **more)) as (view, _),
        ):
            for one in publishers:
                for body in one.commits():
                    network.playback.append(frame(body))
            network.serve_repos()
            await caught_up(view.indexer, network.playback)
            yield view

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(start()) as view:
        yield view
