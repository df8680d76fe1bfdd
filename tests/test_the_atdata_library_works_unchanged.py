"""The published `atdata` library, as it is, works against this AppView without a login.

Every call that it makes of an AppView is made here by the library itself; what it would do when the
AppView fails it (fall back to other ways, with a warning) is counted as a failure.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib.metadata import version
from typing import Any

import atdata
import pytest
from atdata._exceptions import AppViewUnavailableError
from atdata.atmosphere import (
    Atmosphere,
    DatasetLoader,
    LabelLoader,
    LensLoader,
    SchemaLoader,
)
from atdata.atmosphere._lexicon_types import DatasetMetadata
from atdata.atmosphere.schema import SchemaPublisher
from atdata.search import AppViewSearchBackend
from numpy.typing import NDArray

from atdata_api.server import AppView
from tests import builders
from tests.alt_records import (
    ALT,
    BLOB,
    CHECKSUM,
    Publisher,
    created,
    entry,
    external,
    label,
    lens,
    schema,
    serving,
)
from tests.fixtures.catalogue import as_bytes

MANY = 230


@atdata.packable
class Bird:
    """A bird and its name."""

    image: NDArray  # type: ignore[type-arg]  # bare, as the library must have it
    name: str
    age: int | None = None


@dataclass(frozen=True)
class World:
    """What is published, and by whom."""

    birds: Publisher
    other: Publisher
    schemas: Sequence[str]
    http: str
    s3: str
    blobs: str
    external: str
    sketches: str
    own: str
    lens: str
    labels: Sequence[str]


def published() -> World:
    """Everything the calls ask for, and enough of it for several pages."""
    birds, other = Publisher("birds"), Publisher("other")
    publisher = SchemaPublisher(Atmosphere(_client=object()))
    made = publisher._build_schema_record(
        Bird, name=None, version="1.9.0", description="A bird.", metadata={"license": "MIT"}
    ).to_record() | {"createdAt": created()}
    schemas = [
        birds.put(made),
        birds.put(made | {"version": "1.10.0", "createdAt": created(-5)}),
        birds.put(schema("Sketch"), rkey="org.example.sketch-2.0.0"),
    ]
    for number in range(MANY - 3):
        birds.put(schema(f"Other{number}"))
    about = DatasetMetadata(split="train", custom={"model": "x"}).to_record()
    http = birds.put(
        entry(
            schemas[0],
            name="Wrens over HTTP",
            description="Troglodytes troglodytes in hedges.",
            tags=["wren", "hedge"],
            size={"samples": 10, "bytes": 100, "shards": 1},
            license="MIT",
            metadata=about,
            metadataSchemaRef=schemas[2],
            contentMetadata={"camera": "a", "iso": 100},
        )
    )
    s3_shards = [{"key": "a/0.tar", "checksum": CHECKSUM}, {"key": "a/1.tar", "checksum": CHECKSUM}]
    s3_storage = {"$type": f"{ALT}.storageS3", "bucket": "birds", "shards": s3_shards}
    s3 = birds.put(entry(schemas[1], name="Wrens in S3", storage=s3_storage | {"region": "eu"}))
    blobs_storage = {"$type": f"{ALT}.storageBlobs", "blobs": [{"blob": BLOB}]}
    blobs = birds.put(entry(schemas[1], name="Wrens as blobs", storage=blobs_storage))
    older = external("https://data.example/w-{000000..000003}.tar")
    packed = as_bytes(b"\x81\xa4site\xa4pond")
    by_urls = birds.put(entry(schemas[1], name="Wrens by URL", storage=older, metadata=packed))
    sketches = birds.put(entry(schemas[2], 9999))
    for number in range(MANY - 5):
        birds.put(entry(schemas[1], number))
    own = other.put(builders.dataset(name="Newts of the other namespace", schemaRef=schemas[0]))
    way = birds.put(lens(schemas[0], schemas[2]))
    birds.put(lens(schemas[0], schemas[1], 1))
    for number in range(MANY - 2):
        birds.put(lens(schemas[2], schemas[1], number + 2))
    labels = [
        birds.put(label("wrens", http, 1, version="1.0.0")),
        birds.put(label("wrens", s3, 2, version="2.0.0", description="Moved.")),
    ]
    for number in range(MANY - 2):
        birds.put(label(f"label{number}", http, number))
    return World(birds, other, schemas, http, s3, blobs, by_urls, sketches, own, way, labels)


@pytest.fixture(scope="module")
def world() -> World:
    return published()


@pytest.fixture(scope="module")
def appview(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppView]:
    with serving(tmp_path_factory.mktemp("alt"), world.birds, world.other) as view:
        yield view


@contextmanager
def atmosphere(base_url: str, appview: str) -> Iterator[Atmosphere]:
    """The library's client, with its connections closed, which it has no way to do itself."""
    client = Atmosphere(base_url=base_url, appview=appview)
    try:
        yield client
    finally:
        client._client.request._client.close()
        client._get_httpx_client().close()


@pytest.fixture
def atmo(appview: AppView, caplog: pytest.LogCaptureFixture) -> Iterator[Atmosphere]:
    """The library's client; it must not have had to fall back to anything."""
    with (
        caplog.at_level(logging.WARNING, "atdata"),
        atmosphere(appview.url, appview.url) as client,
    ):
        yield client
    assert [one.getMessage() for one in caplog.records if one.name == "atdata"] == []


def uris(views: Sequence[Any]) -> list[str]:
    return [view["uri"] for view in views]


def test_it_is_the_published_library() -> None:
    assert version("atdata") == "0.7.0b1"


def test_a_search_without_text_is_paged_to_the_end(world: World, atmo: Atmosphere) -> None:
    backend = AppViewSearchBackend(atmo)
    assert backend.health_check()
    found: list[str] = []
    page = backend.search(limit=100)
    while True:
        found += [one.uri for one in page.items]
        if page.cursor is None:
            break
        page = backend.search(limit=100, cursor=page.cursor)
    assert len(found) == len(set(found)) == MANY + 1
    assert set(found) == {*world.birds.of("entry"), world.own}


def test_searches_filter_by_everything_they_may(world: World, atmo: Atmosphere) -> None:
    backend = AppViewSearchBackend(atmo)
    one = backend.search(text="troglodytes").items[0]
    assert (one.uri, one.name, one.tags) == (world.http, "Wrens over HTTP", ["wren", "hedge"])
    assert (one.schema_ref, one.source) == (world.schemas[0], "atmosphere")
    assert one.record is not None
    assert one.record["contentMetadata"] == {"camera": "a", "iso": 100}
    assert [hit.uri for hit in backend.search(tags=["Hedge", "wren"]).items] == [world.http]
    assert backend.search(tags=["wren", "newt"]).items == []
    of_schema = backend.search(schema_ref=world.schemas[0]).items
    assert {hit.uri for hit in of_schema} == {world.http, world.own}
    for repo in (world.other.did, world.other.handle):
        assert [hit.uri for hit in backend.search(repo=repo).items] == [world.own]
    asked = atmo.search_datasets("wrens", repo=world.birds.handle, schema_ref=world.schemas[1])
    assert set(uris(asked)) >= {world.s3, world.blobs, world.external}


def test_datasets_are_got_as_they_were_written(world: World, atmo: Atmosphere) -> None:
    loader = DatasetLoader(atmo)
    got = loader.get(world.http)
    assert world.birds.records[world.http].items() <= got.items()
    assert (got["uri"], got["did"], got["$type"]) == (world.http, world.birds.did, f"{ALT}.entry")
    typed = loader.get_typed(world.http)
    assert typed.metadata == DatasetMetadata(split="train", custom={"model": "x"})
    assert loader.get_metadata(world.http) == {"split": "train", "model": "x"}
    assert loader.get_metadata(world.external) == {"site": "pond"}
    assert loader.get_metadata_typed(world.blobs) is None
    assert loader.get_content_metadata(world.http) == {"camera": "a", "iso": 100}
    assert loader.get_metadata_schema_ref(world.http) == world.schemas[2]
    three = [world.s3, world.own, world.http]
    assert uris(atmo.get_entries(three)) == three
    stats = atmo.get_entry_stats(world.s3, "month")
    assert (stats["views"], stats["searchAppearances"], stats["period"]) == (0, 0, "month")
    assert stats["labels"] == 1


def test_every_kind_of_storage_is_placed(world: World, atmo: Atmosphere, appview: AppView) -> None:
    loader = DatasetLoader(atmo)
    kinds = [loader.get_storage_type(u) for u in (world.http, world.s3, world.blobs, world.own)]
    assert kinds == ["http", "s3", "blobs", "external"]
    assert loader.get_urls(world.http) == ["https://data.example/0.tar"]
    assert loader.get_urls(world.s3) == ["s3://birds/a/0.tar", "s3://birds/a/1.tar"]
    assert loader.get_urls(world.own) == world.other.records[world.own]["urls"]
    info = loader.get_s3_info(world.s3)
    assert (info["bucket"], info["keys"], info["region"]) == ("birds", ["a/0.tar", "a/1.tar"], "eu")
    assert loader.get_blobs(world.blobs) == [{"blob": BLOB}]
    pds = appview.indexer.pds(world.birds.did)
    assert pds
    asked = f"did={world.birds.did}&cid={BLOB['ref']['$link']}"  # type: ignore[index]  # a link
    place = f"{pds}/xrpc/com.atproto.sync.getBlob?{asked.replace(':', '%3A')}"
    assert loader.get_blob_urls(world.blobs) == [place]
    assert loader.get_blob_urls(world.http) == [], "its shards are no blobs"
    shards = loader.to_dataset(world.external, Bird).list_shards()
    assert shards == [f"https://data.example/w-00000{n}.tar" for n in range(4)]
    assert loader.to_dataset(world.blobs, Bird).url == place
    loaded = atdata.load_dataset(world.sketches, split="train", atmosphere=atmo)
    assert loaded.list_shards() == ["https://data.example/9999.tar"]
    assert [one.name for one in fields(loaded.sample_type)] == ["image", "label"]


def test_lists_are_paged_to_the_end(world: World, atmo: Atmosphere) -> None:
    for repo in (world.birds.did, world.birds.handle):
        for loader, kind in (
            (DatasetLoader(atmo), "entry"),
            (SchemaLoader(atmo), "schema"),
            (LensLoader(atmo), "lens"),
        ):
            found = uris(loader.list_all(repo, limit=1000))
            assert len(found) == MANY
            assert set(found) == set(world.birds.of(kind))
    assert len(DatasetLoader(atmo).list_all(limit=1000)) == MANY + 1


def test_schemas_are_got_and_resolved(world: World, atmo: Atmosphere) -> None:
    loader = SchemaLoader(atmo)
    did, handle = world.birds.did, world.birds.handle
    assert loader.get(world.schemas[0]) == world.birds.records[world.schemas[0]]
    assert loader.get_typed(world.schemas[0]).version == "1.9.0"
    for who in (did, handle):
        assert loader.resolve(who, "Bird") == world.birds.records[world.schemas[1]], "1.10 > 1.9"
        assert loader.resolve(who, "Bird", "1.9.0") == world.birds.records[world.schemas[0]]
        assert loader.resolve(who, "org.example.sketch")["name"] == "Sketch"
    assert loader.get(f"@{handle}/Bird@1.9.0") == world.birds.records[world.schemas[0]]


def test_lenses_are_got_and_found_by_both_ends(world: World, atmo: Atmosphere) -> None:
    loader = LensLoader(atmo)
    assert loader.get(world.lens) == world.birds.records[world.lens]
    assert loader.get_typed(world.lens).putter_code.language == "python"
    source, target = world.schemas[0], world.schemas[2]
    assert uris(loader.find_by_schemas(source, target)) == [world.lens]
    assert len(loader.find_by_schemas(source)) == 2
    assert len(loader.find_by_schemas(world.schemas[2])) == MANY - 2
    assert uris(atmo.search_lenses(target_schema=target)) == [world.lens]


def test_labels_are_got_listed_and_resolved(world: World, atmo: Atmosphere) -> None:
    loader = LabelLoader(atmo)
    assert loader.get(world.labels[0]) == world.birds.records[world.labels[0]]
    assert loader.get_typed(world.labels[1]).description == "Moved."
    for who in (world.birds.did, world.birds.handle):
        assert loader.resolve(who, "wrens") == world.s3, "made last"
        assert loader.resolve(who, "wrens", "1.0.0") == world.http
    with pytest.warns(UserWarning, match="more exist"):
        assert len(loader.list_all(world.birds.did)) == 100


@pytest.mark.parametrize("kind", ["schema", "entry", "lens", "label"])
def test_records_are_listed_as_a_pds_would(world: World, atmo: Atmosphere, kind: str) -> None:
    found: list[Any] = []
    cursor = None
    while True:
        some, cursor = atmo.list_records(f"{ALT}.{kind}", repo=world.birds.did, cursor=cursor)
        found += some
        if cursor is None:
            break
    wanted = world.birds.of(kind).values()
    assert len(found) == len(wanted)
    assert all(record in found for record in list(wanted)[:: MANY // 10])


def test_a_handle_is_resolved(world: World, atmo: Atmosphere) -> None:
    assert atmo.resolve_did(world.birds.handle) == world.birds.did


def test_the_service_describes_itself(world: World, atmo: Atmosphere) -> None:
    about = atmo.describe_service()
    assert set(about["availableCollections"]) >= {f"{ALT}.entry", f"{ALT}.label"}
    assert about["recordCount"][f"{ALT}.entry"] == MANY
    assert about["recordCount"][f"{ALT}.label"] == MANY


def test_the_remaining_queries_answer_flat_views(world: World, atmo: Atmosphere) -> None:
    for name, uri in (
        ("getSchema", world.schemas[0]),
        ("getLens", world.lens),
        ("getLabel", world.labels[0]),
    ):
        view = atmo.xrpc_query(f"{ALT}.{name}", {"uri": uri})
        assert world.birds.records[uri].items() <= view.items()
        assert (view["uri"], view["did"], view["handle"]) == (
            uri,
            world.birds.did,
            world.birds.handle,
        )
    labels = atmo.xrpc_query(f"{ALT}.listLabels", {"repo": world.birds.handle, "limit": 100})
    assert len(labels["labels"]) == 100
    assert labels["cursor"]


def test_an_appview_that_fails_would_have_been_noticed(
    appview: AppView, caplog: pytest.LogCaptureFixture
) -> None:
    """The library warns when it falls back: what the other tests rely on."""
    with atmosphere(appview.url, "http://127.0.0.1:9") as lost:
        with caplog.at_level(logging.WARNING, "atdata"):
            SchemaLoader(lost).list_all("did:plc:nobodynobodynobodynobody")
        assert any(one.name == "atdata" for one in caplog.records)
        with pytest.raises(AppViewUnavailableError):
            lost.describe_service()
