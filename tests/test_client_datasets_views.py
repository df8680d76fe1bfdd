"""Datasets loaded as the caller's classes: compatible ones, over registered lenses, checked."""

from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Any

import atdata
import numpy as np
import pytest
from atdata import packable
from numpy.typing import NDArray

from atdata_client import (
    ATProtoClient,
    DatasetLoader,
    DatasetPublisher,
    IncompatibleType,
    NoLensPath,
    RecordNotFound,
    SampleMismatch,
)
from atdata_client._schemas.lens_paths import shortest_path
from tests.logged_in import logged_in
from tests.real_pds import RealPds


def make[S](cls: type[S], **values: object) -> S:
    """A sample; mypy does not see what atdata's `packable` makes of a class."""
    build: Any = cls
    sample: S = build(**values)
    return sample


@packable
class Scan:
    image: NDArray = field(metadata={"dtype": "uint8", "shape": (None, 2)})  # type: ignore[type-arg]  # the form atdata makes arrays of
    label: str
    score: float | None = None


@packable
class Caption:
    text: str


@packable
class Length:
    letters: int


@packable
class Elsewhere:
    x: int


@atdata.lens  # type: ignore[untyped-decorator]  # atdata is untyped
def caption_of(scan: Scan) -> Caption:
    return make(Caption, text=f"{scan.label} {scan.image.shape}")


@atdata.lens  # type: ignore[untyped-decorator]  # atdata is untyped
def length_of(caption: Caption) -> Length:
    return make(Length, letters=len(caption.text))


@pytest.fixture(scope="module")
def writer(pds: RealPds) -> Iterator[ATProtoClient]:
    with logged_in(pds) as client:
        yield client


@pytest.fixture(scope="module")
def uri(writer: ATProtoClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three published scans: `a` to `c`."""
    return publish(writer, tmp_path_factory.mktemp("scans"), [scan(name) for name in "abc"])


def scan(name: str, **more: Any) -> Any:
    arguments = {"image": np.full((len(name), 2), 7, np.uint8), "label": name, **more}
    return make(Scan, **arguments)


def publish(writer: ATProtoClient, folder: Path, samples: list[Any]) -> str:
    atdata.write_samples(samples, folder / "scans.tar")
    dataset = atdata.Dataset[Scan](f"{folder}/scans.tar")
    return DatasetPublisher(writer).publish_dataset(dataset, name="Scans")


def test_samples_are_seen_over_the_lenses_the_caller_registered(
    writer: ATProtoClient, uri: str
) -> None:
    loader = DatasetLoader(writer)
    captions = list(loader.load_dataset(uri, as_type=Caption).ordered())
    assert [sample.text for sample in captions] == ["a (1, 2)", "b (1, 2)", "c (1, 2)"]
    lengths = loader.load_dataset(uri, as_type=Length)
    assert lengths.sample_type is Length
    assert [sample.letters for sample in lengths.ordered()] == [8, 8, 8]
    [batch] = lengths.ordered(batch_size=3)
    assert batch.letters == [8, 8, 8]


def test_a_class_of_the_schema_needs_no_lens(writer: ATProtoClient, uri: str) -> None:
    loaded = DatasetLoader(writer).load_dataset(uri, as_type=Scan)
    assert loaded.sample_type is Scan
    assert [sample.label for sample in loaded.ordered()] == ["a", "b", "c"]


def test_a_lens_may_start_from_a_class_of_another_name(writer: ATProtoClient, uri: str) -> None:
    @packable
    class Picture:
        image: NDArray  # type: ignore[type-arg]  # the form atdata makes arrays of
        label: str
        score: float | None = None

    def label_length(picture: Picture) -> Length:
        return make(Length, letters=len(picture.label))

    loader = DatasetLoader(writer)
    with pytest.raises(NoLensPath, match=r"from Picture .* to Length"):
        loader.load_dataset(uri, sample_type=Picture, as_type=Length)
    atdata.lens(label_length)
    loaded = loader.load_dataset(uri, sample_type=Picture, as_type=Length)
    assert [sample.letters for sample in loaded.ordered()] == [1, 1, 1]


def test_where_no_lens_leads_the_error_says_from_where_to_where(
    writer: ATProtoClient, uri: str
) -> None:
    with pytest.raises(NoLensPath, match=r"no registered lenses lead from Scan .* to Elsewhere"):
        DatasetLoader(writer).load_dataset(uri, as_type=Elsewhere)


def test_a_registered_class_that_does_not_fit_is_named_with_the_reason(
    writer: ATProtoClient, tmp_path: Path
) -> None:
    text = {"kind": "primitive", "primitive": "str"}
    schema = {"name": "Scan", "version": "2.0.0", "createdAt": "2026-01-01T00:00:00Z"}
    fields = [{"name": "label", "type": text}, {"name": "spare", "type": text}]
    ref = writer.create_record("app.bsky.atdata.schema", schema | {"fields": fields})
    dataset: Any = atdata.Dataset("https://data.example.com/x.tar")
    uri = DatasetPublisher(writer).publish_dataset(dataset, name="x", schema_uri=ref)
    with pytest.raises(NoLensPath, match=r"\.Scan is breaking: .*'spare'"):
        DatasetLoader(writer).load_dataset(uri, as_type=Length)


def test_the_shortest_path_wins_and_cycles_end() -> None:
    a, b, c, d = (type(name, (), {}) for name in "abcd")

    class Edge:
        def __init__(self, source: type, view: type) -> None:
            self.source_type, self.view_type = source, view

    ends = [(a, b), (b, c), (c, a), (a, c), (c, d), (b, d)]
    lenses: Any = {pair: Edge(*pair) for pair in ends}

    def path(starts: list[type], target: type) -> list[tuple[type, type]] | None:
        found = shortest_path(starts, target, lenses)
        return None if found is None else [(one.source_type, one.view_type) for one in found]

    assert path([a], c) == [(a, c)]
    assert path([a], d) == [(a, b), (b, d)]  # as long as over c, and registered first
    assert path([a, c], d) == [(c, d)]
    assert path([a], a) == []
    assert path([d], a) is None


def test_a_class_that_does_not_fit_is_refused_with_the_reasons(
    writer: ATProtoClient, uri: str
) -> None:
    loader = DatasetLoader(writer)
    with pytest.raises(IncompatibleType, match=r"do not load as Elsewhere \(breaking: ") as caught:
        loader.load_dataset(uri, sample_type=Elsewhere)
    assert isinstance(caught.value, TypeError)
    assert any("'x'" in reason for reason in caught.value.compatibility.reasons)
    assert any("'image'" in reason for reason in caught.value.compatibility.reasons)


def test_a_class_that_would_leave_bytes_for_arrays_is_refused(
    writer: ATProtoClient, uri: str
) -> None:
    @packable
    class Typed:
        image: NDArray[np.uint8]
        label: str
        score: float | None = None

    with pytest.raises(IncompatibleType, match="NDArray"):
        DatasetLoader(writer).load_dataset(uri, sample_type=Typed)


def test_where_the_schema_is_gone_a_class_of_ones_own_still_loads(
    writer: ATProtoClient, tmp_path: Path
) -> None:
    uri = publish(writer, tmp_path, [scan("a")])
    writer.delete_record(writer.get_record(uri)["schemaRef"])
    loader = DatasetLoader(writer)
    with pytest.raises(RecordNotFound):
        loader.load_dataset(uri)
    with pytest.raises(RecordNotFound):
        loader.load_dataset(uri, sample_type=Scan, validate=True)
    with pytest.warns(UserWarning, match="is gone"):
        loaded = loader.load_dataset(uri, sample_type=Scan)
    assert [sample.label for sample in loaded.ordered()] == ["a"]


def test_validation_lets_good_samples_pass(writer: ATProtoClient, uri: str) -> None:
    loader = DatasetLoader(writer)
    for loaded in (
        loader.load_dataset(uri, validate=True),
        loader.load_dataset(uri, sample_type=Scan, validate=True),
    ):
        assert [sample.label for sample in loaded.ordered()] == ["a", "b", "c"]
    captions = loader.load_dataset(uri, as_type=Caption, validate=True)
    assert len(list(captions.ordered())) == 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"image": np.zeros((1, 2), np.int16)}, "'image' breaks dtype: int16"),
        ({"image": np.zeros((1, 3), np.uint8)}, "'image' breaks shape: "),
        ({"label": 5}, "'label' breaks type: int"),
        ({"label": None}, "'label' breaks required: "),
    ],
)
def test_validation_names_field_and_rule_of_the_first_bad_sample(
    writer: ATProtoClient, tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    uri = publish(writer, tmp_path, [scan("good"), scan("bad", **more)])
    loader = DatasetLoader(writer)
    for as_type in (None, Caption):
        samples: Iterator[Any] = iter(
            loader.load_dataset(uri, as_type=as_type, validate=True).ordered()
        )
        next(samples)
        with pytest.raises(SampleMismatch, match=said):
            next(samples)
    # Without being asked, nothing is checked.
    assert len(list(loader.load_dataset(uri).ordered())) == 2


def test_a_view_is_not_published_as_if_its_shards_held_it(writer: ATProtoClient, uri: str) -> None:
    whole: Any = DatasetLoader(writer).load_dataset(uri, as_type=Scan)
    publisher = DatasetPublisher(writer)
    before = len(writer.list_records("app.bsky.atdata.dataset"))
    for view, made in (
        (whole.as_type(Caption), "as_type"),
        (whole.filter(lambda sample: True), "filter"),
        (whole.map(lambda sample: sample), "map"),
    ):
        with pytest.raises(ValueError, match=rf"is a view \({made}\)"):
            publisher.publish_dataset(view, name="x")
    assert len(writer.list_records("app.bsky.atdata.dataset")) == before


def test_a_loaded_dataset_is_published_again_with_all_its_patterns(writer: ATProtoClient) -> None:
    urls = [f"https://data.example.com/{name}-{{0..9}}.tar" for name in "ab"]
    first = DatasetPublisher(writer).publish_dataset(atdata.Dataset[Scan](urls[0]), name="x")
    writer.update_record(first, {"urls": urls})
    loaded = DatasetLoader(writer).load_dataset(first)
    again = DatasetPublisher(writer).publish_dataset(loaded, name="y")
    assert writer.get_record(again)["urls"] == urls
