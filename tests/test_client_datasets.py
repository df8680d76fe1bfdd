"""Publishing datasets, and loading them back with their samples."""

from pathlib import Path
from typing import Any

import atdata
import msgpack
import numpy as np
import pytest
from atdata import packable
from numpy.typing import NDArray

from atdata_client import (
    ATProtoClient,
    DatasetLoader,
    DatasetPublisher,
    IndexClient,
    NotFound,
    SchemaLoader,
    UnsafeUrlError,
    ValidationError,
)
from atdata_client._records.shards import check_urls
from tests.canned_index import Canned, canned_index, dataset_view
from tests.real_pds import RealPds

SCHEMA = "app.bsky.atdata.schema"
DATASET = "app.bsky.atdata.dataset"


@packable
class Photo:
    """A photograph and what it shows."""

    image: NDArray[np.uint8]
    label: str
    score: float | None = None


def some_dataset(url: str = "https://data.example.com/x-{000000..000004}.tar") -> Any:
    return atdata.Dataset[Photo](url)


def with_metadata(dataset: Any, metadata: dict[str, Any]) -> Any:
    """As if `metadata` had been fetched from the dataset's metadata_url."""
    dataset.metadata_url, dataset._metadata = "https://data.example.com/metadata", metadata
    return dataset


def photos(folder: Path, count: int = 6) -> tuple[str, list[Any]]:
    """Samples, and the pattern of the two shards they were written to."""
    rng = np.random.default_rng(7)
    make: Any = Photo  # atdata is untyped: mypy does not see what `packable` makes of a class
    written = [
        make(
            image=rng.integers(0, 255, size=(4, 5, 3), dtype=np.uint8),
            label=f"photo {number}",
            score=None if number % 2 else number / 4,
        )
        for number in range(count)
    ]
    atdata.write_samples(written, folder / "photos.tar", maxcount=count // 2)
    shards = sorted(path.name for path in folder.glob("photos-*.tar"))
    assert len(shards) == 2
    first, last = (name.removesuffix(".tar").rpartition("-")[2] for name in shards)
    return f"{folder}/photos-{{{first}..{last}}}.tar", written


def assert_same(samples: list[Any], written: list[Any]) -> None:
    assert len(samples) == len(written)
    for sample, original in zip(samples, written, strict=True):
        assert isinstance(sample.image, np.ndarray)
        assert sample.image.dtype == original.image.dtype
        np.testing.assert_array_equal(sample.image, original.image)
        assert (sample.label, sample.score) == (original.label, original.score)


def test_a_dataset_is_published_with_its_schema(pds: RealPds, author: ATProtoClient) -> None:
    uri = DatasetPublisher(author).publish_dataset(
        with_metadata(some_dataset(), {"split": "train", "rate": 0.5}),
        name="My Training Data",
        description="Training data for my model",
        tags=["computer-vision", "training"],
        license="MIT",
    )
    record = pds.stored(uri)["value"]
    schema = author.get_record(record["schemaRef"])
    assert (schema["name"], schema["description"]) == ("Photo", "A photograph and what it shows.")
    del record["createdAt"], record["schemaRef"]
    packed = msgpack.packb({"split": "train", "rate": 0.5})
    assert record == {
        "$type": DATASET,
        "name": "My Training Data",
        "urls": ["https://data.example.com/x-{000000..000004}.tar"],
        "description": "Training data for my model",
        "metadata": record["metadata"],
        "tags": ["computer-vision", "training"],
        "license": "MIT",
    }
    again = author.create_record(DATASET, {"metadata": packed})
    assert author.get_record(again)["metadata"] == record["metadata"]


def test_what_is_unset_is_left_out(author: ATProtoClient) -> None:
    uri = DatasetPublisher(author).publish_dataset(
        some_dataset(), name="Plain", description="", tags=[], license=""
    )
    assert set(author.get_record(uri)) == {"$type", "name", "schemaRef", "urls", "createdAt"}


def test_a_given_schema_is_used_and_none_published(author: ATProtoClient) -> None:
    publisher = DatasetPublisher(author)
    first = publisher.publish_dataset(some_dataset(), name="first")
    schema_uri = author.get_record(first)["schemaRef"]
    untyped: Any = atdata.Dataset("https://data.example.com/y.tar")
    second = publisher.publish_dataset(
        untyped, name="second", schema_uri=schema_uri, auto_publish_schema=False
    )
    assert author.get_record(second)["schemaRef"] == schema_uri
    assert len(author.list_records(SCHEMA)) == 1


def test_a_dataset_of_several_shards_publishes_each(author: ATProtoClient) -> None:
    source = atdata.S3Source(bucket="b", keys=["x-0.tar", "x-1.tar"])
    dataset = atdata.Dataset[Photo](source)
    uri = DatasetPublisher(author).publish_dataset(dataset, name="In a bucket")
    assert author.get_record(uri)["urls"] == ["s3://b/x-0.tar", "s3://b/x-1.tar"]


def test_publishing_needs_a_login_and_a_schema(author: ATProtoClient) -> None:
    with pytest.raises(ValueError, match=r"^Client must be authenticated$"):
        DatasetPublisher(ATProtoClient()).publish_dataset(some_dataset(), name="x")
    publisher = DatasetPublisher(author)
    with pytest.raises(ValueError, match=r"^schema_uri required when auto_publish_schema=False$"):
        publisher.publish_dataset(some_dataset(), name="x", auto_publish_schema=False)
    untyped: Any = atdata.Dataset("https://data.example.com/y.tar")
    with pytest.raises(ValueError, match="no sample type"):
        publisher.publish_dataset(untyped, name="x")


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"name": "x" * 201}, "name"),
        ({"tags": ["t"] * 21}, "tags"),
        ({"tags": "birds"}, "tags"),
        ({"size": {"rows": 1}}, "size.rows"),
        ({"tags": ["fine", "x" * 51]}, "tags[1]"),
        ({"license": "x" * 101}, "license"),
        ({"schema_uri": "https://example.com"}, "schemaRef"),
        (
            {"schema_uri": "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3k"},
            "schemaRef",
        ),
    ],
)
def test_a_bad_record_is_refused_by_field_before_its_schema_is_published(
    author: ATProtoClient, arguments: dict[str, Any], path: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        DatasetPublisher(author).publish_dataset(some_dataset(), **{"name": "x", **arguments})
    assert caught.value.path == path
    assert author.list_records(SCHEMA) == []


def test_a_schema_that_is_named_by_a_handle_is_warned_of(author: ATProtoClient) -> None:
    """Handles change hands, and the index does not follow them."""
    by_handle = "at://alice.example.com/app.bsky.atdata.schema/3aaaaaaaaaaaa"
    with pytest.warns(UserWarning, match=r"schemaRef names an account by its handle") as caught:
        uri = DatasetPublisher(author).publish_dataset(
            some_dataset(), name="x", schema_uri=by_handle
        )
    assert author.get_record(uri)["schemaRef"] == by_handle
    assert caught[0].filename == __file__


@pytest.mark.parametrize("metadata", [{"x": "y" * 100_000}, {"x": {1, 2}}, {"x": 2**64}])
def test_metadata_too_long_or_not_for_msgpack_is_refused(
    author: ATProtoClient, metadata: dict[str, Any]
) -> None:
    dataset = with_metadata(some_dataset(), metadata)
    with pytest.raises(ValidationError, match=r"^metadata: "):
        DatasetPublisher(author).publish_dataset(dataset, name="x")


def test_samples_load_into_a_class_made_from_the_published_schema(
    author: ATProtoClient, reader: ATProtoClient, tmp_path: Path
) -> None:
    url, written = photos(tmp_path)
    dataset = with_metadata(some_dataset(url), {"split": "train"})
    uri = DatasetPublisher(author).publish_dataset(dataset, name="Photos")
    loaded = DatasetLoader(reader).load_dataset(uri)
    assert loaded.sample_type is not Photo
    assert loaded.sample_type.__name__ == "Photo"
    assert loaded.metadata == {"split": "train"}
    assert_same(list(loaded.ordered()), written)


def test_samples_load_into_a_class_of_ones_own(author: ATProtoClient, tmp_path: Path) -> None:
    @packable
    class Mine:
        image: NDArray  # type: ignore[type-arg]  # the form atdata makes arrays of
        label: str
        score: float | None = None

    url, written = photos(tmp_path)
    uri = DatasetPublisher(author).publish_dataset(some_dataset(url), name="Photos")
    loaded = DatasetLoader(author).load_dataset(uri, sample_type=Mine)
    assert loaded.sample_type is Mine
    assert loaded.metadata is None
    assert_same(list(loaded.ordered()), written)


def test_several_patterns_load_one_after_the_other(author: ATProtoClient, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, written = photos(tmp_path / "a")
    second, _ = photos(tmp_path / "b")
    uri = DatasetPublisher(author).publish_dataset(some_dataset(first), name="Photos")
    record = author.get_record(uri)
    author.put_record(uri, record | {"urls": [first, second]})
    loaded = DatasetLoader(author).load_dataset(uri)
    assert len(loaded.list_shards()) == 4
    assert_same(list(loaded.ordered()), written + written)
    with pytest.raises(KeyError):
        loaded.source.open_shard("elsewhere.tar")


def test_fields_load_whatever_their_order_and_name(author: ATProtoClient) -> None:
    text = {"kind": "primitive", "primitive": "str"}
    fields = [
        {"name": "first", "type": text, "optional": True},
        {"name": "array", "type": {"kind": "ndarray", "dtype": "int8"}, "optional": True},
        {"name": "self", "type": text},
    ]
    schema = {"name": "my 1st sample", "version": "1.0.0", "createdAt": "2026-01-01T00:00:00Z"}
    schema_uri = author.create_record(SCHEMA, schema | {"fields": fields})
    uri = DatasetPublisher(author).publish_dataset(some_dataset(), name="x", schema_uri=schema_uri)
    made: Any = DatasetLoader(author).load_dataset(uri).sample_type
    assert made.__name__ == "my_1st_sample"
    sample = made.from_bytes(made(self="s", array=np.arange(3, dtype=np.int8)).packed)
    assert (sample.first, sample.self) == (None, "s")
    np.testing.assert_array_equal(sample.array, np.arange(3, dtype=np.int8))


@pytest.mark.parametrize("names", [["class"], ["packed"], ["__init__"], ["x", "x"]])
def test_a_schema_that_makes_no_class_is_a_value_error(
    author: ATProtoClient, names: list[str]
) -> None:
    text = {"kind": "primitive", "primitive": "str"}
    schema = {
        "name": "X",
        "version": "1.0.0",
        "fields": [{"name": name, "type": text} for name in names],
        "createdAt": "2026-01-01T00:00:00Z",
    }
    schema_uri = author.create_record(SCHEMA, schema)
    uri = DatasetPublisher(author).publish_dataset(some_dataset(), name="x", schema_uri=schema_uri)
    with pytest.raises(ValueError, match=f"field '{names[-1]}' of the schema"):
        DatasetLoader(author).load_dataset(uri)


def test_a_schema_that_contains_itself_is_a_value_error(author: ATProtoClient) -> None:
    here = f"at://{author.did}/{SCHEMA}/3aaaaaaaaaaaa"
    schema = {
        "name": "Ring",
        "version": "1.0.0",
        "fields": [{"name": "inner", "type": {"kind": "nested", "schemaRef": here}}],
        "createdAt": "2026-01-01T00:00:00Z",
    }
    author.create_record(SCHEMA, schema, rkey="3aaaaaaaaaaaa")
    uri = DatasetPublisher(author).publish_dataset(some_dataset(), name="x", schema_uri=here)
    with pytest.raises(ValueError, match="contains itself"):
        DatasetLoader(author).load_dataset(uri)


def test_another_record_is_no_dataset(author: ATProtoClient) -> None:
    uri = author.create_record(SCHEMA, {"name": "no dataset"})
    with pytest.raises(ValueError, match=f"^Record at {uri} is not a dataset record$"):
        DatasetLoader(author).load_dataset(uri)


@pytest.mark.parametrize("metadata", [b"\xc1", b"\x93\x01", b"\x01", b"\x91" * 2000])
def test_metadata_that_is_no_msgpack_map_is_a_validation_error(
    author: ATProtoClient, metadata: bytes
) -> None:
    uri = DatasetPublisher(author).publish_dataset(some_dataset(), name="x")
    author.put_record(uri, author.get_record(uri) | {"metadata": metadata})
    with pytest.raises(ValidationError, match=r"^metadata: "):
        DatasetLoader(author).load_dataset(uri)


def test_a_record_cannot_make_its_reader_run_a_command(
    author: ATProtoClient, tmp_path: Path
) -> None:
    uri = DatasetPublisher(author).publish_dataset(some_dataset(), name="x")
    trap = tmp_path / "trap"
    author.put_record(uri, author.get_record(uri) | {"urls": [f"pipe:touch {trap}"]})
    with pytest.raises(UnsafeUrlError, match="may do more than read"):
        DatasetLoader(author).load_dataset(uri)
    assert not trap.exists()


@pytest.mark.parametrize(
    "url",
    [
        "pipe:id",
        "PIPE:id",
        " pipe:id",
        "pi\tpe:id",
        "{pipe,x}:id",
        "p{ipe:id,}",
        "pip\\e:id",
        "{pipe:id,https://example.com}",
        "x{,y}:id",
        "ais://x",
        "-",
        "-x",
        "javascript:x",
        "https:x",
        "",
    ],
)
def test_no_disguise_of_a_command_passes(url: str) -> None:
    with pytest.raises(UnsafeUrlError):
        check_urls(["https://example.com/x.tar", url])


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/x-{000000..000049}.tar",
        "http://localhost:8000/{a,b}.tar?x=y:z",
        "s3://bucket/x.tar",
        "gs://bucket/x.tar",
        "file:///data/x.tar",
        "/data/run: 2/x-{0..9}.tar",
        "./x.tar",
        "../x.tar",
        "x-{0..9}.tar",
        "data/x.tar",
    ],
)
def test_ordinary_shards_pass(url: str) -> None:
    check_urls([url])


def test_own_datasets_are_listed_from_the_pds(author: ATProtoClient) -> None:
    uri = DatasetPublisher(author).publish_dataset(some_dataset(), name="Mine")
    assert [record["uri"] for record in DatasetLoader(author).list_datasets()] == [uri]
    assert len(SchemaLoader(author).list_schemas()) == 1


def test_without_a_client_the_index_is_asked() -> None:
    view = dataset_view(urls=["pipe:id"])
    with canned_index(
        Canned({"datasets": [view]}),
        Canned({"dataset": view}),
        Canned({"error": "NotFound", "message": "no such dataset"}, status=404),
    ) as canned:
        loader = DatasetLoader(index=IndexClient(canned.url))
        with pytest.raises(ValueError, match=r"^Not authenticated$"):
            loader.list_datasets()
        [record] = loader.list_datasets(view["author"]["did"])
        assert (record["uri"], record["name"]) == (view["uri"], "Chest x-rays")
        with pytest.raises(UnsafeUrlError):
            loader.load_dataset(view["uri"])
        with pytest.raises(NotFound):
            loader.load_dataset(view["uri"])
        loader.index.close()
