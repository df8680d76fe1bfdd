"""What the operator takes down vanishes from every answer at once, and comes back as it was."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from atdata_api import operator as commands
from atdata_api.export import ExportRoutes
from atdata_api.server import AppView
from atdata_api.xrpc import add_error_bodies
from atdata_indexer.admin_client import AdminClient
from atdata_indexer.errors import StoreError
from atdata_indexer.export import COLUMNS
from atdata_indexer.exports import Export, Exports
from atdata_indexer.index.backup import DATABASE
from atdata_indexer.ingest import Work
from atdata_indexer.playback import recorded
from atdata_indexer.settings import Settings
from atdata_indexer.upkeep import Upkeep
from atdata_schemas.lexicon import lexicons
from tests.appview import answer_of, operator, serving, wait_until
from tests.asking import NS, Api, uris_of
from tests.builders import Write, commit
from tests.builders import dataset as whales
from tests.small_index import ALICE, BOB, DATASET, NOW_US, SmallIndex, dataset, lens, schema

PHOTO = schema().uri
WHALES = dataset(PHOTO).uri
CROP = lens("", "").uri


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SmallIndex]:
    small = SmallIndex(tmp_path)
    photo, other = schema(), schema(did=BOB, rkey="3kschemabbbbb", name="Crop")
    small.put([photo, other, dataset(photo.uri), lens(photo.uri, other.uri)])
    yield small
    small.close()


def take_down(index: SmallIndex, named: str) -> None:
    index.store.take_down(named, "spam", NOW_US)
    index.writer.catch_up()


def put_back(index: SmallIndex, named: str) -> None:
    index.store.put_back(named)
    index.writer.catch_up()


@pytest.mark.parametrize("named", [WHALES, BOB, f"at://{BOB}", PHOTO, ALICE, CROP])
def test_what_is_taken_down_is_gone_until_it_is_put_back(index: SmallIndex, named: str) -> None:
    before = index.views()
    take_down(index, named)
    hidden = before.keys() - index.views().keys()
    assert hidden == {uri for uri in before if uri.startswith(named.removeprefix("at://"), 5)}
    for uri in hidden:
        status = index.store.record_status(uri)
        assert (status.status, status.rule) == ("hidden", "takedown")
        assert status.reason == "taken down by the operator of this index: spam"
    index.reopen()
    assert before.keys() - index.views().keys() == hidden
    index.writer.rebuild()
    assert before.keys() - index.views().keys() == hidden
    put_back(index, named)
    assert index.views() == before
    assert all(index.store.record_status(uri).status == "indexed" for uri in hidden)


@pytest.mark.parametrize("named", [PHOTO, ALICE])
def test_a_schema_that_is_taken_down_is_missing_where_it_is_used(
    index: SmallIndex, named: str
) -> None:
    take_down(index, named)
    views = index.views()
    assert views[WHALES]["schema"] == {"uri": PHOTO, "status": "missing"}
    assert views[CROP]["source"] == {"uri": PHOTO, "status": "missing"}
    put_back(index, named)
    assert index.views()[WHALES]["schema"]["name"] == "Photo"


def test_what_comes_later_of_an_account_is_hidden_too(index: SmallIndex) -> None:
    take_down(index, BOB)
    index.put([dataset(PHOTO, rkey="3kdatasetbbbb")])
    write: Write = ("create", f"{DATASET}/3kdatasetcccc", whales())
    index.ingest.apply(Work([commit(9, did=BOB, rev="3mabcdefghik2", ops=[write])], {"test": 9}))
    assert set(index.views()) == {PHOTO}
    index.account(BOB, False, "deactivated")
    index.account(BOB, True)
    assert set(index.views()) == {PHOTO}, "its own word does not undo the operator's"
    put_back(index, BOB)
    assert len(index.views()) == 6


def test_a_record_that_is_not_there_yet_never_shows(index: SmallIndex) -> None:
    late = dataset(PHOTO, rkey="3kdatasetbbbb")
    take_down(index, late.uri)
    index.put([late])
    assert late.uri not in index.views()
    assert set(index.views()) >= {WHALES, PHOTO}


def test_an_update_does_not_bring_a_record_back(index: SmallIndex) -> None:
    take_down(index, WHALES)
    write: Write = ("update", WHALES.split("/", 3)[3], whales(name="Others"))
    index.ingest.apply(Work([commit(9, did=BOB, rev="3mabcdefghik2", ops=[write])], {"test": 9}))
    assert index.ingest.counts["commits"] == 1
    assert WHALES not in index.views()


def test_two_takedowns_are_undone_one_by_one(index: SmallIndex) -> None:
    take_down(index, BOB)
    take_down(index, WHALES)
    put_back(index, BOB)
    assert WHALES not in index.views()
    assert CROP in index.views()
    take_down(index, BOB)
    put_back(index, WHALES)
    assert set(index.views()) == {PHOTO}


def test_an_account_can_be_named_by_its_handle(index: SmallIndex) -> None:
    index.handle(BOB, "bob.test")
    before = index.views()
    take_down(index, "bob.test")
    assert set(index.views()) == {PHOTO}
    put_back(index, "at://bob.test")
    take_down(index, WHALES.replace(BOB, "bob.test"))
    assert before.keys() - index.views().keys() == {WHALES}


@pytest.mark.parametrize(
    "named", ["", "nobody.test", "at://", "did:plc:", "https://x.test", f"{BOB}/x/y", f"{WHALES}/z"]
)
def test_what_names_nothing_is_refused_and_hides_nothing(index: SmallIndex, named: str) -> None:
    before = index.views()
    with pytest.raises(StoreError):
        take_down(index, named)
    with pytest.raises(StoreError, match="not taken down"):
        index.store.put_back(WHALES)
    assert index.store.takedowns() == []
    assert index.views() == before


# --- over HTTP, by the command ------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("moderated")


@pytest.fixture(scope="module")
def view(folder: Path) -> Iterator[AppView]:
    with serving(recorded(), folder) as view:
        yield view


def answers(view: AppView) -> dict[str, Any]:
    """What every query says, of every kind of record."""
    dataset_uri, schema_uri = uris_of("dataset")[0], uris_of("schema")[0]
    asked: dict[str, Any] = {"uri": dataset_uri, "uris": uris_of("dataset")[:25], "q": "a"}
    asked |= {"subject": schema_uri, "source": schema_uri, "target": schema_uri}
    with Api(view.url) as api:
        found: dict[str, Any] = {}
        for nsid in lexicons().queries():
            name = nsid.removeprefix(f"{NS}.")
            if name not in {nsid, "getRecordStatus", "describeService"}:
                declared = lexicons().document(nsid)["defs"]["main"]["parameters"]
                params = {one: asked[one] for one in declared.get("required", ())}
                found[name] = api.query(name, **params).json()
        for name in ("Datasets", "Schemas", "Lenses"):
            found[f"all {name}"] = api.walk(f"list{name}")
        found["counts"] = api.ask("describeService")["counts"]
        return found


def test_an_author_is_hidden_from_every_query(view: AppView, folder: Path) -> None:
    before, uri = answers(view), uris_of("dataset")[0]
    did = uri.split("/")[2]
    naming = {name for name, answer in before.items() if did in json.dumps(answer)}
    assert len(naming) > 8
    client = AdminClient(folder)
    client.take_down(did, "spam")
    after = answers(view)
    for name in naming:
        if "error" in after[name]:
            continue  # names what was asked for
        text = json.dumps(after[name])
        assert f'"did": "{did}"' not in text, name
        # What others link to is named, as what is missing.
        others = re.sub(rf'{{"uri": "at://{did}/[^"]*", "status": "missing"}}', "", text)
        records = re.sub(r'"(schemaRef|sourceSchema|targetSchema)": "[^"]*"', "", others)
        assert f"at://{did}/" not in records, name
    assert after["getDataset"]["error"] == "NotFound"
    assert after["counts"]["datasets"] < before["counts"]["datasets"]
    assert [(one.subject, one.reason) for one in client.takedowns()] == [(did, "spam")]
    audit = client.verify()
    assert audit.missing.count == audit.surplus.count == 0
    client.put_back(did)
    again = answers(view)
    # Which of equally similar ones is told depends on how the index lies.
    del again["getSimilarDatasets"], before["getSimilarDatasets"]
    assert again == before


def test_a_command_hides_a_record_and_its_status_says_why(
    view: AppView,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = uris_of("dataset")[1]

    def here(*arguments: str) -> str:
        """The command in this process."""
        settings = Settings(data_dir=folder)
        monkeypatch.setattr(commands, "read_settings", lambda **_: settings)
        assert commands.takedown([*arguments]) == 0
        return capsys.readouterr().out

    done = answer_of(operator(folder, "takedown", uri, "--reason", "spam", "--json"))
    assert (done["subject"], done["reason"]) == (uri, "spam")
    with Api(view.url) as api:
        assert api.query("getDataset", uri=uri).status_code == 404
        status = api.ask("getRecordStatus", uri=uri)
        assert (status["status"], status["rule"]) == ("hidden", "takedown")
        assert status["reason"].endswith("spam")
        table = here("--table")
        assert uri in "".join(table.split())
        assert "spam" in table
        assert json.loads(here(uri, "--undo", "--json"))["subject"] == uri
        assert json.loads(here("--json")) == []
        assert api.ask("getDataset", uri=uri)["dataset"]["uri"] == uri
    with pytest.raises(StoreError, match="not taken down"):
        AdminClient(folder).put_back(uri)


def test_nothing_taken_down_can_be_had_of_an_export(view: AppView, folder: Path) -> None:
    """Not from the moment the command is done, by any path that leads to the files."""
    uri, client, exports = uris_of("dataset")[0], AdminClient(folder), Exports(folder)
    page = f"/at/{uri.removeprefix('at://')}"
    files = [f"/export/{name}.parquet" for name in COLUMNS]
    for _ in range(3):
        made = client.export()
        assert uri in rows_of(exports, made)
        with Api(view.url) as api:
            tags = {path: api.head(path).headers["etag"] for path in files}
            assert page in api.get("/sitemap/0.xml").text
            client.take_down(uri, "spam")
            assert exports.current() != made
            for path in files:
                old = tags[path]
                known = api.get(path, headers={"If-None-Match": old})
                part = api.get(path, headers={"Range": "bytes=0-3", "If-Range": old})
                for answer in (api.get(path), api.head(path), known, part):
                    assert answer.status_code in (200, 503), "all of another one, or none"
                    assert answer.headers.get("etag") != old
            assert page not in api.get("/sitemap/0.xml").text
            assert not exports.path(made, "datasets").exists()
            wait_until(lambda: api.get("/export/").status_code == 200)
        anew = exports.current()
        assert anew is not None
        rows = rows_of(exports, anew)
        assert uri not in rows
        assert uris_of("dataset")[1] in rows
        client.put_back(uri)


def rows_of(exports: Exports, made: Export) -> set[str]:
    """The datasets in an export."""
    table = pq.read_table(exports.path(made, "datasets"), columns=["uri"])
    return {row["uri"] for row in table.to_pylist()}


def test_a_takedown_while_no_indexer_runs_withdraws_the_export(tmp_path: Path) -> None:
    """Those who serve the folder apart from the indexer offer it no longer."""
    small = SmallIndex(tmp_path)
    small.put([schema(), dataset(PHOTO)])
    small.close()
    (tmp_path / "db").rename(tmp_path / DATABASE)
    made = answer_of(operator(tmp_path, "export", "--json"))
    assert made["files"]["datasets"]["rows"] == 1
    app = FastAPI()
    add_error_bodies(app)
    ExportRoutes(Exports(tmp_path)).add_to(app)
    with TestClient(app) as served:
        assert served.get("/export/datasets.parquet").status_code == 200
        refused = operator(tmp_path, "takedown", "nobody.test")
        assert refused.returncode == 3
        assert served.get("/export/datasets.parquet").status_code == 200, "nothing was hidden"
        answer_of(operator(tmp_path, "takedown", WHALES, "--json"))
        for path in ("/export/", *(f"/export/{name}.parquet" for name in COLUMNS)):
            answer = served.get(path)
            assert (answer.status_code, answer.json()["error"]) == (503, "NotExported")
    assert not list((tmp_path / "export").glob("*/*.parquet"))
    again = answer_of(operator(tmp_path, "export", "--json"))
    assert again["files"]["datasets"]["rows"] == 0


def test_it_can_be_done_while_no_indexer_runs(index: SmallIndex) -> None:
    index.close()
    (index.folder / "db").rename(index.folder / DATABASE)
    with Upkeep.open(Settings(data_dir=index.folder)) as upkeep:
        upkeep.take_down(WHALES, "spam")
    (index.folder / DATABASE).rename(index.folder / "db")
    index.open()
    assert index.writer.rebuilt is None
    assert WHALES not in index.views()
    assert index.store.takedowns()[0].reason == "spam"
