"""Two authors on a real PDS, and an index that follows it: publish, find, load, see through lenses.

Every record that is published on the way passes our validator and lexrpc's.
"""

import json
from collections.abc import Iterator
from dataclasses import field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import atdata
import numpy as np
import pytest
from lexrpc.base import Base
from multiformats import CID
from numpy.typing import NDArray

from atdata_client import (
    ATProtoClient,
    DatasetItem,
    DatasetLoader,
    DatasetPublisher,
    IndexClient,
    IndexUnavailable,
    LensLoader,
    LensPublisher,
    NotIndexed,
    SchemaPublisher,
    extend_atdata,
    publish_many,
)
from atdata_client._records.stored import StoredRecord
from atdata_schemas.records import KINDS, parse_record
from tests.appview import wait_until
from tests.following import following
from tests.logged_in import logged_in
from tests.real_pds import RealPds

DATASET = "app.bsky.atdata.dataset"
CODE: Any = {"code_repository": "https://git.example.com/lenses", "code_commit": "0" * 40}


def make[S](cls: type[S], **values: object) -> S:
    """A sample; mypy does not see what atdata's `packable` makes of a class."""
    build: Any = cls
    sample: S = build(**values)
    return sample


@atdata.packable
class XRay:
    """A chest x-ray and its report."""

    image: NDArray = field(metadata={"dtype": "uint8", "shape": (None, None)})  # type: ignore[type-arg]  # the form atdata makes arrays of
    mask: NDArray | None = field(default=None, metadata={"dtype": "bool"})  # type: ignore[type-arg]  # as above
    report: str = ""


@atdata.packable
class Report:
    report: str


@atdata.packable
class Length:
    letters: int


@atdata.packable
class Place:
    """A corner."""

    x: int


@atdata.packable
class Placed:
    """A label somewhere."""

    label: str
    place: Place


@atdata.lens  # type: ignore[untyped-decorator]  # atdata is untyped
def report_of(xray: XRay) -> Report:
    return make(Report, report=xray.report)


@report_of.putter  # type: ignore[untyped-decorator]  # atdata is untyped
def put_report(report: Report, xray: XRay) -> XRay:
    return make(XRay, image=xray.image, mask=xray.mask, report=report.report)


@atdata.lens  # type: ignore[untyped-decorator]  # atdata is untyped
def length_of(report: Report) -> Length:
    return make(Length, letters=len(report.report))


class World:
    """The index over the PDS, and two authors logged in."""

    def __init__(self, index: IndexClient, alice: ATProtoClient, bob: ATProtoClient) -> None:
        self.index, self.alice, self.bob = index, alice, bob


@pytest.fixture(scope="module")
def world(pds: RealPds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        following(pds, tmp_path_factory.mktemp("index")) as index,
        logged_in(pds) as alice,
        logged_in(pds) as bob,
    ):
        yield World(index, alice, bob)


@pytest.fixture(scope="module")
def xrays(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Any]]:
    """A dataset of two tar shards really written, and its samples."""
    folder, rng = tmp_path_factory.mktemp("xrays"), np.random.default_rng(3)
    samples = [
        make(
            XRay,
            image=rng.integers(0, 255, (n + 2, 3), np.uint8),
            mask=np.arange(n) % 2 == 0 if n % 2 else None,
            report="x" * n,
        )
        for n in range(6)
    ]
    atdata.write_samples(samples, folder / "x.tar", maxcount=3)
    assert len(list(folder.glob("*.tar"))) == 2
    return atdata.Dataset[XRay](f"{folder}/x-{{000000..000001}}.tar"), samples


@pytest.fixture(scope="module")
def published(world: World, xrays: tuple[Any, list[Any]]) -> str:
    """Alice's dataset, which the index shows."""
    publisher = DatasetPublisher(world.alice, index=world.index)
    return publisher.publish_dataset(
        xrays[0],
        name="Thorax films",
        description="Portable films of one ward",
        tags=["medical", "ward-7"],
        license="CC-BY-4.0",
        metadata={"split": "train"},
        count_size=True,
        wait_indexed=True,
    )


def test_what_is_published_is_indexed_when_the_call_returns(world: World, published: str) -> None:
    assert world.index.record_status(published).status == "indexed"
    found = DatasetLoader(world.bob, world.index).search_datasets(["ward-7"], "films")
    assert [record["uri"] for record in found] == [published]
    assert found[0]["size"]["samples"] == 6
    assert found[0]["cid"] == world.alice.fetch_record(published).cid


def test_the_samples_are_those_that_were_written(
    world: World, published: str, xrays: tuple[Any, list[Any]]
) -> None:
    for loader in (DatasetLoader(world.bob, world.index), DatasetLoader(index=world.index)):
        loaded = loader.load_dataset(published, validate=True)
        assert loaded.metadata == {"split": "train"}
        samples: list[Any] = list(loaded.ordered())
        assert len(samples) == 6
        for sample, written in zip(samples, xrays[1], strict=True):
            assert sample.image.dtype == np.uint8
            np.testing.assert_array_equal(sample.image, written.image)
            np.testing.assert_array_equal(sample.mask, written.mask)
            assert sample.report == written.report


def test_another_author_sees_it_through_two_lenses(world: World, published: str) -> None:
    source = world.alice.get_record(published)["schemaRef"]
    schemas = SchemaPublisher(world.bob)
    report, length = schemas.publish_schema(Report), schemas.publish_schema(Length)
    lenses = LensPublisher(world.bob)
    first = lenses.publish_lens(
        report_of, name="report", source_schema_uri=source, target_schema_uri=report, **CODE
    )
    second = lenses.publish_lens(
        length_of, name="length", source_schema_uri=report, target_schema_uri=length, **CODE
    )
    loader = DatasetLoader(world.bob, world.index)

    def path() -> Any:
        return next(loader.iter_datasets(viewable_as=length, author=world.alice.did), None)

    assert wait_until(path)["lensPath"] == [first, second]
    [known] = LensLoader(index=world.index).search_lenses(source_schema=source)
    assert (known["uri"], known["putterCode"]["path"]) == (first, f"{__name__}:put_report")
    samples: list[Any] = list(loader.load_dataset(published, as_type=Length).ordered())
    assert [sample.letters for sample in samples] == list(range(6))


def test_a_nested_schema_is_published_and_its_type_made(world: World) -> None:
    ref = SchemaPublisher(world.alice).publish_schema(Placed)
    dataset: Any = atdata.Dataset("https://data.example.com/x.tar")
    uri = DatasetPublisher(world.alice, index=world.index).publish_dataset(
        dataset, name="Placed", schema_uri=ref, wait_indexed=True
    )
    for loader in (DatasetLoader(world.bob), DatasetLoader(index=world.index)):
        made: Any = loader.load_dataset(uri).sample_type
        assert made.__name__ == "Placed"
        inner = made.__annotations__["place"]
        assert (inner.__name__, inner.__doc__) == ("Place", "A corner.")
    again = DatasetLoader(world.bob)
    assert again.load_dataset(uri).sample_type is again.load_dataset(uri).sample_type


def test_waiting_ends_with_the_reason_the_index_gives(
    world: World, pds: RealPds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record the index sets aside: written past the publisher's check."""
    monkeypatch.setenv("ATDATA_APPVIEW_URL", world.index.url)
    publisher = DatasetPublisher(world.alice)
    create, spoilt = world.alice.create_record, 0

    def spoiling(collection: str, record: Any) -> str:
        nonlocal spoilt
        spoilt += 1
        return create(collection, record | {"tags": ["fine", "x" * 51]})

    monkeypatch.setattr(world.alice, "create_record", spoiling)
    dataset: Any = atdata.Dataset("https://data.example.com/x.tar")
    schema = f"at://{world.alice.did}/app.bsky.atdata.schema/3aaaaaaaaaaaa"
    with pytest.raises(NotIndexed, match=r"quarantined.* at tags\[1\]") as caught:
        publisher.publish_dataset(dataset, name="x", schema_uri=schema, wait_indexed=True)
    assert spoilt == 1
    assert caught.value.status is not None
    assert caught.value.status.path == "tags[1]"
    # It is published all the same, and the error says where.
    assert pds.stored(caught.value.uri)["value"]["name"] == "x"
    world.alice.delete_record(caught.value.uri)


def test_waiting_ends_with_the_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that the index never hears of, as one whose relay is far behind."""
    fetch, asked = world.alice.fetch_record, 0

    def of_another_version(uri: str) -> StoredRecord:
        nonlocal asked
        asked += 1
        return replace(
            fetch(uri), cid="bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
        )

    monkeypatch.setattr(world.alice, "fetch_record", of_another_version)
    dataset: Any = atdata.Dataset("https://data.example.com/x.tar")
    schema = f"at://{world.alice.did}/app.bsky.atdata.schema/3aaaaaaaaaaaa"
    publisher = DatasetPublisher(world.alice, index=world.index)
    with pytest.raises(NotIndexed, match=r"not in the index after 0\.2 s: ") as caught:
        publisher.publish_dataset(
            dataset, name="x", schema_uri=schema, wait_indexed=True, timeout=0.2
        )
    assert asked == 1
    assert caught.value.status is not None


def test_an_index_that_does_not_answer_is_said_to_be_so(world: World) -> None:
    dataset: Any = atdata.Dataset("https://data.example.com/x.tar")
    schema = f"at://{world.alice.did}/app.bsky.atdata.schema/3aaaaaaaaaaaa"
    with IndexClient("http://127.0.0.1:1", attempts=1) as nowhere:
        publisher = DatasetPublisher(world.alice, index=nowhere)
        with pytest.raises(IndexUnavailable):
            publisher.publish_dataset(
                dataset, name="x", schema_uri=schema, wait_indexed=True, timeout=0.2
            )


def test_the_methods_of_dataset_do_it_all_too(world: World, xrays: tuple[Any, list[Any]]) -> None:
    extend_atdata()
    uri = xrays[0].publish_to_atproto(world.alice, name="By method")
    loaded: Any = atdata.Dataset
    assert len(list(loaded.from_atproto(world.bob, uri).ordered())) == 6


def test_every_published_record_passes_two_validators(world: World, published: str) -> None:
    publish_many(world.alice, [DatasetItem(dataset=atdata.Dataset[Placed]("x.tar"), name="many")])
    other = Base(lexicons=[json.loads(text) for text in documents()])
    checked = []
    for client in (world.alice, world.bob):
        for collection in KINDS:
            for record in client.list_records(collection):
                rkey = record.pop("uri").rpartition("/")[2]
                record.pop("cid")
                parse_record(collection, rkey, record)
                other.validate(collection, "record", for_other(record))
                checked.append(collection)
    assert set(checked) == set(KINDS)
    assert len(checked) > 8


def documents() -> Iterator[str]:
    folder = Path(str(files("atdata_schemas"))) / "lexicons"
    return (path.read_text("utf-8") for path in folder.rglob("*.json"))


def for_other(value: Any, key: str = "") -> Any:
    """A record as lexrpc wants it: bytes as bytes, unions with `$type`, no null in a shape."""
    match value:
        case {"$bytes": str()}:
            from atdata_schemas.lexicon import decode_bytes

            return decode_bytes(value, "")
        case {"$link": str(cid)}:
            return CID.decode(cid)
        case {"kind": str(kind), **rest}:
            nsid = "app.bsky.atdata.lens" if key.endswith("Code") else "app.bsky.atdata.schema"
            member = "codeReference" if key.endswith("Code") else kind
            held = {str(name): for_other(item, str(name)) for name, item in rest.items()}
            return {"$type": f"{nsid}#{member}", "kind": kind, **held}
        case dict():
            return {name: for_other(item, name) for name, item in value.items()}
        case list():
            return [0 if item is None else for_other(item, key) for item in value]
    return value
