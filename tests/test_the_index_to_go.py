"""The Parquet export: the index row for row, over HTTP, and nothing of it that is hidden."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from fsspec.implementations.http import HTTPFileSystem

from atdata_api.export import ExportRoutes
from atdata_api.server import AppView
from atdata_api.xrpc import add_error_bodies
from atdata_indexer.export import COLUMNS
from atdata_indexer.exports import Export, Exports
from atdata_indexer.index.backup import DATABASE
from atdata_indexer.index.fields import fold
from tests.appview import answer_of, operator, until
from tests.asking import Api
from tests.contents import searchable
from tests.exporting import FILES, Kept
from tests.small_index import ALICE, BOB, SmallIndex, dataset, schema


@pytest.fixture(scope="module")
def exported(recorded_appview: AppView) -> Export:
    return recorded_appview.indexer.export()


class Http(HTTPFileSystem):  # type: ignore[misc]  # it has no types
    """HTTP as DuckDB wants it, which asks when a file was modified."""

    def modified(self, path: str) -> datetime:
        return parsedate_to_datetime(httpx.head(path).headers["last-modified"])


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with HTTP by fsspec: its own httpfs is an extension that must be fetched first."""
    with duckdb.connect() as db:
        db.register_filesystem(Http(skip_instance_cache=True))
        yield db
        db.unregister_filesystem("http")


def rows_of(db: duckdb.DuckDBPyConnection, url: str) -> list[dict[str, Any]]:
    found = db.sql("SELECT * FROM read_parquet(?)", params=[url])
    return list(found.to_arrow_table().to_pylist())


@pytest.mark.parametrize("name", FILES)
def test_asked_over_http_it_equals_the_index_row_for_row(
    recorded_appview: AppView, exported: Export, duck: duckdb.DuckDBPyConnection, name: str
) -> None:
    rows = rows_of(duck, f"{recorded_appview.url}/export/{name}.parquet")
    assert len(rows) == exported.files[name].rows > 20
    views = searchable(recorded_appview.indexer.reader)
    collection = f"/app.bsky.atdata.{FILES[name]}/"
    shown = {uri: view for uri, view in views.items() if collection in uri}
    assert {row["uri"] for row in rows} == shown.keys()
    for row in rows:
        view = shown[row["uri"]]
        assert json.loads(row["record"]) == view["record"]
        assert (row["cid"], row["did"], row["handle"]) == (
            view["cid"],
            view["author"]["did"],
            view["author"]["handle"],
        )
        assert set(row) == set(COLUMNS[name].names)
        _says_what_its_record_says(row, view)


def _says_what_its_record_says(row: Mapping[str, Any], view: Mapping[str, Any]) -> None:
    record = view["record"]
    assert row["name"] == record["name"]
    assert row["description"] == (record.get("description") or None)
    assert row["created_at"] == datetime.fromisoformat(record["createdAt"])
    match row:
        case {"tags": tags, "license": license, "urls": urls}:
            size = record.get("size", {})
            assert (tags, urls) == (record.get("tags", []), record["urls"])
            assert license == (record.get("license") or None)
            assert (row["samples"], row["bytes"]) == (size.get("samples"), size.get("bytes"))
            linked = {"schema": view["schema"]}
        case {"fields": fields}:
            assert fields == [field["name"] for field in record["fields"]]
            linked = {}
        case _:
            linked = {end: view[end] for end in ("source", "target")}
    for end, link in linked.items():
        assert row[f"{end}_uri"] == link["uri"]
        assert (row[f"{end}_name"], row[f"{end}_version"]) == (
            link.get("name"),
            link.get("version"),
        )


def test_tags_are_those_of_the_index(
    recorded_appview: AppView, exported: Export, duck: duckdb.DuckDBPyConnection
) -> None:
    rows = rows_of(duck, f"{recorded_appview.url}/export/tags.parquet")
    counted = {row["tag"]: row["datasets"] for row in rows}
    for tag, count in recorded_appview.indexer.reader.tags(100):
        assert counted[tag] == count
    views = searchable(recorded_appview.indexer.reader).values()
    used = [{fold(tag) for tag in view["record"].get("tags", ())} - {""} for view in views]
    assert counted == Counter(tag for tags in used for tag in tags)


def test_a_query_reads_only_the_parts_it_needs(
    recorded_appview: AppView, exported: Export, duck: duckdb.DuckDBPyConnection
) -> None:
    url = f"{recorded_appview.url}/export/datasets.parquet"
    found = duck.execute(
        "SELECT count(*) FROM read_parquet(?) WHERE list_contains(tags, 'speech')", [url]
    )
    counted = dict(recorded_appview.indexer.reader.tags(100))
    assert found.fetchall() == [(counted["speech"],)]


def test_a_file_has_a_tag_and_gives_parts(recorded_appview: AppView, exported: Export) -> None:
    with Api(recorded_appview.url) as api:
        overview = api.get("/export/").json()
        assert (overview["seq"], overview["epoch"]) == (exported.seq, exported.epoch)
        for about in overview["files"]:
            path = f"/export/{about['name']}"
            whole = api.get(path)
            tag = whole.headers["etag"]
            assert tag == f'"{about["sha256"]}"'
            assert len(whole.content) == about["bytes"]
            head = api.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(about["bytes"])
            part = api.get(path, headers={"Range": "bytes=4-11", "If-Range": tag})
            assert (part.status_code, part.content) == (206, whole.content[4:12])
            other = api.get(path, headers={"Range": "bytes=4-11", "If-Range": '"other"'})
            assert (other.status_code, other.content) == (200, whole.content)
            same = api.get(path, headers={"If-None-Match": tag})
            assert (same.status_code, same.content) == (304, b"")
            beyond = api.get(path, headers={"Range": "bytes=999999999-"})
            assert (beyond.status_code, beyond.json()["error"]) == (416, "InvalidRequest")
            broken = api.get(path, headers={"Range": "bytes=b-a"})
            assert (broken.status_code, broken.json()["error"]) == (400, "InvalidRequest")
        assert api.get("/export/records.parquet").json()["error"] == "NotFound"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallIndex]:
    index = SmallIndex(tmp_path)
    yield index
    index.close()


PHOTO = schema()


async def test_what_is_hidden_is_withdrawn_and_the_rest_exported_anew(small: SmallIndex) -> None:
    small.put([PHOTO, dataset(PHOTO.uri)])
    kept = Kept(small, None)
    first = await kept.exporter.make()
    assert any(uri.startswith(f"at://{BOB}/") for uri in kept.uris())
    path = kept.exports.path(first, "datasets")
    small.account("did:plc:nobodynobodynobodynobody", active=False)
    small.reader.refresh()
    kept.exporter.check()
    assert kept.exports.current() == first
    small.account(BOB, active=False)
    small.reader.refresh()
    kept.exporter.check()
    assert kept.exports.current() is None
    assert not path.exists()
    running = asyncio.create_task(kept.exporter.run())
    await until(lambda: kept.exports.current() is not None)
    running.cancel()
    assert kept.uris() == {PHOTO.uri}


async def test_what_was_hidden_while_nothing_ran_is_withdrawn_at_the_start(
    small: SmallIndex,
) -> None:
    small.put([PHOTO])
    await Kept(small, None).exporter.make()
    small.account(ALICE, active=False)
    assert Kept(small, None).exports.current() is None


@pytest.mark.parametrize("damage", ["gone", "cut"])
async def test_one_that_cannot_be_read_is_withdrawn_when_something_is_hidden(
    small: SmallIndex, damage: str
) -> None:
    small.put([PHOTO, dataset(PHOTO.uri)])
    kept = Kept(small, None)
    path = kept.exports.path(await kept.exporter.make(), "schemas")
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:50])
    small.account(BOB, active=False)
    small.reader.refresh()
    kept.exporter.check()
    assert kept.exports.current() is None


async def test_withdrawing_leaves_what_is_in_the_making(small: SmallIndex) -> None:
    small.put([PHOTO])
    kept = Kept(small, None)
    made = await kept.exporter.make()
    unfinished = kept.exports.path(made, "schemas").parents[1] / "unfinished"
    unfinished.mkdir()
    kept.exports.withdraw()
    assert unfinished.exists()
    assert not kept.exports.path(made, "schemas").exists()


async def test_an_export_of_another_database_is_withdrawn(small: SmallIndex) -> None:
    small.put([PHOTO])
    await Kept(small, None).exporter.make()
    assert Kept(small, None).exports.current() is not None
    small.store.renew_epoch()
    assert Kept(small, None).exports.current() is None


async def test_it_is_made_every_night(small: SmallIndex) -> None:
    small.put([PHOTO])
    kept = Kept(small, 3)
    made = []
    running = asyncio.create_task(kept.exporter.run())

    def is_new() -> bool:
        now = kept.exports.current()
        return now is not None and now.folder not in made

    for _ in range(3):
        await until(is_new)
        now = kept.exports.current()
        assert now is not None
        made.append(now.folder)
        kept.now_us += 24 * 3_600_000_000
    running.cancel()
    assert not running.done() or running.cancelled()


def test_an_operator_makes_one_when_it_is_wanted(small: SmallIndex, tmp_path: Path) -> None:
    small.put([PHOTO])
    small.close()
    (small.folder / "db").rename(small.folder / DATABASE)
    made = answer_of(operator(small.folder, "export", "--json"))
    assert made["files"]["schemas"]["rows"] == 1
    small.open()


def test_without_one_the_answer_is_not_now(tmp_path: Path) -> None:
    app = FastAPI()
    add_error_bodies(app)
    ExportRoutes(Exports(tmp_path)).add_to(app)
    with TestClient(app) as api:
        answer = api.get("/export/datasets.parquet")
    assert (answer.status_code, answer.json()["error"]) == (503, "NotExported")
