"""Records of both namespaces are in one index: found together, shown in the words asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import httpx
import pytest

from atdata_api.server import AppView
from atdata_client import DatasetLoader, DatasetView, IndexClient
from atdata_client._records.stored import StoredRecord
from atdata_client._schemas.linked import linked_schemas
from atdata_indexer.admin_client import AdminClient
from atdata_schemas.lexicon import lexicons
from atdata_schemas.records import COLLECTIONS, KINDS
from tests import builders
from tests.alt_records import ALT, BLOB, Publisher, entry, external, label, lens, schema, serving
from tests.asking import NS, Api

FIELDS = [
    {"name": "image", "type": {"kind": "ndarray", "dtype": "uint8", "shape": [None, None]}},
    {"name": "caption", "type": {"kind": "primitive", "primitive": "str"}, "optional": True},
]


@dataclass(frozen=True)
class World:
    """What is published: `own` and `lossless` can be said in both namespaces, `lossy` cannot."""

    ada: Publisher
    bob: Publisher
    own_schema: str
    schema: str
    own: str
    lossless: str
    lossy: str
    lens: str
    kept: str
    versions: dict[str, str]


@pytest.fixture(scope="module")
def world() -> World:
    ada, bob = Publisher("ada"), Publisher("bob")
    own_schema = ada.put(builders.schema(name="Captioned", fields=FIELDS))
    listed = {"caption": {"type": "string"}, "tags": {"type": "array"}}
    inner = {"$type": f"{ALT}.schema#jsonSchemaFormat", "properties": listed, "required": []}
    own_lists = bob.put(schema("Listed", schema=inner))
    own = ada.put(builders.dataset(name="Newts in ponds", schemaRef=own_lists))
    odd = builders.dataset(name="Newts with an odd member", schemaRef=own_lists, storage=[])
    ada.put(odd)
    older = external("s3://newts/{000000..000009}.tar")
    lossless = bob.put(entry(own_schema, name="Newts by URL", storage=older, tags=["Pond"]))
    lossy = bob.put(entry(own_schema, name="Newts over HTTP", tags=["pond"]))
    way = bob.put(lens(own_lists, own_schema))
    bob.put(label("newts", lossy))
    bob.put(label("lost", f"at://{bob.did}/{ALT}.entry/nowhere"))
    kept = bob.put({"$type": f"{ALT}.index", "name": 5, "tags": {"a": 1}})
    bob.put({"$type": f"{ALT}.schema", "name": "broken"})
    versions = {}
    for version in ("1.9.0", "1.10.0", "2.0.0-rc.1", "1.10.1-beta"):
        versions[version] = bob.put(schema("Ladder", version))
        bob.put(schema("ladder", "9.0.0"), rkey=f"org.example.ladder.big-{version}")
        bob.put(schema("Rungs", version), rkey=f"org.example.rungs-{version}")
    return World(ada, bob, own_schema, own_lists, own, lossless, lossy, way, kept, versions)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("both")


@pytest.fixture(scope="module")
def appview(world: World, folder: Path) -> Iterator[AppView]:
    with serving(folder, world.ada, world.bob) as view:
        yield view


@pytest.fixture(scope="module")
def api(appview: AppView) -> Iterator[Api]:
    with Api(appview.url) as api:
        yield api


def query(api: Api, nsid: str, /, **params: Any) -> httpx.Response:
    response = api.get(f"/xrpc/{nsid}", params=params)
    if response.status_code == 200:
        lexicons().check_output(nsid, response.json())
    return response


def ask(api: Api, query_name: str, /, **params: Any) -> Any:
    response = query(api, f"{ALT}.{query_name}", **params)
    assert response.status_code == 200, response.text
    return response.json()


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


def uris(views: list[Any]) -> set[str]:
    return {view["uri"] for view in views}


# --- asked in this project's own words ---------------------------------------------------------


def test_datasets_of_both_are_found_together(world: World, api: Api) -> None:
    found = api.ask("searchDatasets", q="newts", facets="tags")
    lexicons().check_output(f"{NS}.searchDatasets", found)
    assert uris(found["datasets"]) >= {world.own, world.lossless, world.lossy}
    assert {"value": "pond", "count": 2} in found["facets"][0]["values"], "Pond and pond"
    for namespace, wanted in ((ALT, {world.lossless, world.lossy}), (NS, {world.own})):
        narrowed = uris(api.ask("searchDatasets", q="newts", namespace=namespace)["datasets"])
        assert narrowed >= wanted
        assert narrowed.isdisjoint({world.own, world.lossless, world.lossy} - wanted)


def test_the_client_loads_a_foreign_dataset_where_nothing_is_lost(
    world: World, appview: AppView
) -> None:
    with IndexClient(appview.url) as index:
        loader = DatasetLoader(index=index)
        dataset = loader.load_dataset(world.lossless)
        assert dataset.url == "s3://newts/{000000..000009}.tar"
        names = [field["name"] for field in world.ada.records[world.own_schema]["fields"]]
        assert sorted(field.name for field in fields(dataset.sample_type)) == sorted(names)
        with pytest.raises(ValueError, match="has no words for"):
            loader.load_dataset(world.lossy)
        with pytest.raises(ValueError, match="is not a schema record"):
            linked_schemas(world.own, lambda uri: StoredRecord(uri, "", world.ada.records[uri]))


def test_a_foreign_record_is_shown_as_written_and_translated_where_nothing_is_lost(
    world: World, api: Api
) -> None:
    lossless = api.ask("getDataset", uri=world.lossless)["dataset"]
    assert lossless["record"] == world.bob.records[world.lossless]
    lexicons().check_record(f"{NS}.dataset", "2" * 13, lossless["translation"])
    assert lossless["translation"]["urls"] == ["s3://newts/{000000..000009}.tar"]
    assert DatasetView.from_json(lossless).urls == ("s3://newts/{000000..000009}.tar",)
    assert lossless["schema"]["name"] == "Captioned", "a reference to the other namespace"
    assert "translation" not in api.ask("getDataset", uri=world.lossy)["dataset"]
    assert "translation" not in api.ask("getDataset", uri=world.own)["dataset"]


def test_schemas_of_both_are_searched_by_their_structure(world: World, api: Api) -> None:
    captions = uris(api.ask("searchSchemas", field="caption:str", limit=100)["schemas"])
    assert captions == {world.own_schema, world.schema}
    assert uris(api.ask("searchDatasets", field="tags:list")["datasets"]) >= {world.own}
    kinds = api.ask("searchDatasets", author=world.ada.did, facets="fieldKind")["facets"]
    assert {one["value"] for one in kinds[0]["values"]} == {"str", "list"}


def test_a_dataset_is_viewable_through_a_lens_of_the_other_namespace(
    world: World, api: Api
) -> None:
    found = api.ask("searchDatasets", viewableAs=world.own_schema, sort="newest")["datasets"]
    paths = {view["uri"]: view["lensPath"] for view in found}
    assert paths[world.own] == [world.lens]
    assert paths[world.lossy] == []
    usage = api.ask("getSchemaUsage", uri=world.own_schema)
    assert (usage["datasets"], usage["lensesTo"]) == (2, 1)


def test_labels_are_links_to_their_datasets(world: World, api: Api) -> None:
    found = api.ask("getBacklinks", subject=world.lossy)
    assert [one["sources"] for one in found["backlinks"]] == [[f"{ALT}.label:datasetUri"]]


# --- asked in the words of the wider network ---------------------------------------------------


def test_own_datasets_are_shown_as_entries_unless_they_cannot_be(world: World, api: Api) -> None:
    entries = {one["uri"]: one for one in ask(api, "listEntries", limit=100)["entries"]}
    assert entries.keys() == {world.own, world.lossless, world.lossy}
    own = entries[world.own]
    assert own["storage"] == external(*world.ada.records[world.own]["urls"])
    assert (own["$type"], own["handle"]) == (f"{ALT}.entry", world.ada.handle)
    assert ask(api, "getEntry", uri=world.own)["entry"] == own
    (odd,) = world.ada.records.keys() - {world.own, world.own_schema}
    assert error(query(api, f"{ALT}.getEntry", uri=odd)) == (404, "NotFound")
    assert api.ask("getDataset", uri=odd)["dataset"]["record"]["storage"] == []


def test_a_page_with_nothing_to_show_is_not_taken_for_the_end(world: World, api: Api) -> None:
    """Clients stop at an empty page: one whose only dataset cannot be shown is passed over."""
    found: list[str] = []
    page = ask(api, "listEntries", limit=1)
    while True:
        found += [one["uri"] for one in page["entries"]]
        if "cursor" not in page:
            break
        page = ask(api, "listEntries", limit=1, cursor=page["cursor"])
        assert page["entries"] or "cursor" not in page
    assert sorted(found) == sorted([world.own, world.lossless, world.lossy])


def test_an_own_schema_is_got_where_it_can_be_said(world: World, api: Api) -> None:
    view = ask(api, "getSchema", uri=world.own_schema)
    assert view["schema"]["properties"]["image"]["dtype"] == "uint8"
    assert view["schema"]["required"] == ["image"]
    listed = ask(api, "listSchemas", limit=100, repo=world.ada.handle)["schemas"]
    assert listed == [], "lists are of one namespace, but for datasets"


@pytest.mark.parametrize(
    ("named", "version", "wanted"),
    [
        ("Ladder", None, "2.0.0-rc.1"),
        ("Ladder", "1.9.0", "1.9.0"),
        ("Ladder", "1.10.1-beta", "1.10.1-beta"),
        ("org.example.rungs", None, "2.0.0-rc.1"),
        ("org.example.rungs", "1.10.0", "1.10.0"),
        ("org.example.rungs-1.9.0", None, "1.9.0"),
    ],
)
def test_a_schema_is_resolved_by_name_or_key_in_the_order_of_versions(
    world: World, api: Api, named: str, version: str | None, wanted: str
) -> None:
    asked = {} if version is None else {"version": version}
    for who in (world.bob.did, world.bob.handle):
        found = ask(api, "resolveSchema", handle=who, schemaId=named, **asked)
        assert found["record"]["version"] == wanted
        assert found["record"] == world.bob.records[found["uri"]]


def test_a_schema_is_resolved_by_its_tid(world: World, api: Api) -> None:
    uri = world.versions["1.10.0"]
    key = uri.rpartition("/")[2]
    assert ask(api, "resolveSchema", handle=world.bob.did, schemaId=key)["uri"] == uri


@pytest.mark.parametrize("named", ["LADDER", "org.example", "org.example.ladder", "Captioned", "x"])
def test_what_is_named_otherwise_is_not_resolved(world: World, api: Api, named: str) -> None:
    response = query(api, f"{ALT}.resolveSchema", handle=world.bob.did, schemaId=named)
    assert error(response) == (400, "SchemaNotFound")


def test_a_label_is_resolved_though_its_dataset_is_not_here(world: World, api: Api) -> None:
    found = ask(api, "resolveLabel", handle=world.bob.handle, name="newts")
    assert found["uri"] == world.lossy
    assert found["cid"] == ask(api, "getEntry", uri=world.lossy)["entry"]["cid"]
    lost = ask(api, "resolveLabel", handle=world.bob.handle, name="lost")
    assert lost["uri"].endswith("/nowhere")
    assert "cid" not in lost
    for asked in ({"name": "newts", "version": "9"}, {"name": "Newts"}):
        response = query(api, f"{ALT}.resolveLabel", handle=world.bob.did, **asked)
        assert error(response) == (400, "LabelNotFound")


def test_blobs_that_cannot_be_placed_say_why(world: World, api: Api) -> None:
    blobs = ask(api, "resolveBlobs", uris=[world.own, f"at://{world.bob.did}/{ALT}.entry/x"])
    errors = [one["error"] for one in blobs["blobs"]]
    assert errors == ["its shards are not blobs", "not in the index"]


def test_a_pds_is_told_through_the_socket_as_well(
    world: World, appview: AppView, folder: Path
) -> None:
    """What `serve` needs to place blobs, apart from the indexer."""
    client = AdminClient(folder)
    assert client.pds(world.bob.did) == appview.indexer.pds(world.bob.did) is not None
    assert client.pds("did:plc:nobodynobodynobodynobody") is None


# --- asked as a PDS is -------------------------------------------------------------------------


def test_records_are_answered_word_for_word(world: World, api: Api) -> None:
    for publisher in (world.ada, world.bob):
        for uri, record in publisher.records.items():
            repo, collection, rkey = uri.removeprefix("at://").split("/")
            for who in (repo, publisher.handle):
                asked = {"repo": who, "collection": collection, "rkey": rkey}
                response = query(api, "com.atproto.repo.getRecord", **asked)
                if record.get("name") == "broken":
                    assert error(response) == (400, "RecordNotFound")
                    continue
                found = response.json()
                assert (found["uri"], found["value"]) == (uri, record)
                other = query(api, "com.atproto.repo.getRecord", **asked, cid=BLOB["ref"]["$link"])  # type: ignore[index]  # a link
                assert error(other) == (400, "RecordNotFound")


@pytest.mark.parametrize("reverse", ["true", "false"])
def test_listed_records_are_those_of_one_collection(world: World, api: Api, reverse: str) -> None:
    for collection in COLLECTIONS:
        wanted = {uri for uri in world.bob.records if f"/{collection}/" in uri}
        wanted -= {u for u, record in world.bob.records.items() if record.get("name") == "broken"}
        found: list[str] = []
        asked = {"repo": world.bob.did, "collection": collection, "limit": 3, "reverse": reverse}
        page = query(api, "com.atproto.repo.listRecords", **asked).json()
        while True:
            found += [one["uri"] for one in page["records"]]
            if "cursor" not in page:
                break
            asked["cursor"] = page["cursor"]
            page = query(api, "com.atproto.repo.listRecords", **asked).json()
        assert sorted(found) == sorted(wanted)


def test_who_and_what_is_not_here_is_said_to_be(world: World, api: Api) -> None:
    nobody = {"repo": "no.one.test", "collection": f"{ALT}.entry"}
    assert query(api, "com.atproto.repo.listRecords", **nobody).json() == {"records": []}
    elsewhere = {"repo": world.bob.did, "collection": "app.bsky.feed.post"}
    assert query(api, "com.atproto.repo.listRecords", **elsewhere).json() == {"records": []}
    response = query(api, "com.atproto.repo.getRecord", **elsewhere, rkey="x")
    assert error(response) == (400, "RecordNotFound")
    response = query(api, "com.atproto.repo.getRecord", **nobody, rkey="x")
    assert error(response) == (400, "RecordNotFound")
    response = query(api, "com.atproto.identity.resolveHandle", handle="no.one.test")
    assert error(response) == (400, "HandleNotFound")
    response = query(api, "com.atproto.identity.resolveHandle", handle=world.bob.handle)
    assert response.json() == {"did": world.bob.did}


# --- which namespaces are indexed --------------------------------------------------------------


def test_a_namespace_that_is_left_out_is_not_indexed(world: World, tmp_path: Path) -> None:
    ada, bob = fresh(world.ada), fresh(world.bob)
    with serving(tmp_path, ada, bob, namespaces=NS) as view, Api(view.url) as api:
        about = api.ask("describeService")
        assert about["collections"] == list(KINDS)
        assert about["counts"]["datasets"] == 2
        assert about["counts"]["accounts"] == 1, "who has nothing of ours is not tracked"
        assert query(api, f"{ALT}.describeService").json()["recordCount"] == {}


def fresh(publisher: Publisher) -> Publisher:
    """The same author again, who has not published yet."""
    new = Publisher(publisher.did[8:].rstrip("a"))
    assert new.did == publisher.did
    new.records = publisher.records
    return new
