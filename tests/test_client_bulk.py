"""Many records in a few commits: each whole or not at all, and what was cut short goes on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import atdata
import pytest
from atdata import packable

from atdata_client import (
    ATProtoClient,
    DatasetItem,
    LensItem,
    PdsError,
    PublishInterrupted,
    SchemaItem,
    SchemaRegistry,
    UnsupportedTypeError,
    ValidationError,
    publish_many,
)
from atdata_client._records.plan import MAX_BYTES, MAX_WRITES, Plan, Write
from atdata_client.bulk import Item
from atdata_client.errors import Failure
from tests.logged_in import logged_in
from tests.real_pds import RealPds

SCHEMA = "app.bsky.atdata.schema"
DATASET = "app.bsky.atdata.dataset"
LENS = "app.bsky.atdata.lens"
CODE: Any = {"code_repository": "https://git.example.com/x", "code_commit": "0" * 40}


@packable
class Box:
    """Where something is."""

    left: int


@packable
class Boxed:
    """A label and its place."""

    box: Box
    label: str


@packable
class Caption:
    text: str


@atdata.lens  # type: ignore[untyped-decorator]  # atdata is untyped
def caption_of(boxed: Boxed) -> Caption:
    raise AssertionError("never called")


@pytest.fixture
def writer(pds: RealPds) -> Iterator[ATProtoClient]:
    with logged_in(pds) as client:
        yield client


def dataset(cls: type = Caption, **more: Any) -> DatasetItem:
    typed: Any = atdata.Dataset
    made = typed[cls]("https://data.example.com/x-{0..9}.tar")
    return DatasetItem(dataset=made, **({"name": "x"} | more))


def many(count: int) -> list[DatasetItem]:
    return [dataset(name=f"set {number}") for number in range(count)]


class Breaking:
    """Lets a client's first commits through and then fails, before or after the PDS has heard."""

    def __init__(self, client: ATProtoClient, commits: int, *, heard: bool = False) -> None:
        self.client, self.left, self.heard = client, commits, heard
        self.broke = 0
        self._create = client.create_records
        client.create_records = self.create  # type: ignore[method-assign]  # a link that breaks

    def create(self, records: Any) -> dict[str, str]:
        if self.left == 0:
            self.broke += 1
            if self.heard:
                self._create(records)
            raise PdsError(Failure("https://pds.example.com", None, "Unreachable", "cut off"))
        self.left -= 1
        return self._create(records)

    def mend(self) -> None:
        self.client.create_records = self._create  # type: ignore[method-assign]  # as it was


def test_schemas_datasets_and_lenses_are_published_in_one_call(
    pds: RealPds, writer: ATProtoClient
) -> None:
    items: list[Item] = [
        dataset(Boxed, name="boxed", tags=["a"], license="MIT", size={"samples": 3}),
        SchemaItem(sample_type=Boxed, version="2.1.0", description="Labels"),
        LensItem(getter=caption_of, name="caption", **CODE),
        dataset(name="captions", schema="at://did:web:example.com/app.bsky.atdata.schema/3a"),
    ]
    uris = publish_many(writer, items)
    boxed, schema, lens, captions = (pds.stored(uri)["value"] for uri in uris)
    assert (boxed["name"], boxed["schemaRef"], boxed["size"]) == ("boxed", uris[1], {"samples": 3})
    assert (schema["name"], schema["version"], schema["description"]) == (
        "Boxed",
        "2.1.0",
        "Labels",
    )
    box = pds.stored(schema["fields"][0]["type"]["schemaRef"])["value"]
    assert (box["name"], box["version"]) == ("Box", "2.1.0")
    assert lens["sourceSchema"] == uris[1]
    assert pds.stored(lens["targetSchema"])["value"]["name"] == "Caption"
    assert lens["getterCode"]["path"] == f"{__name__}:caption_of"
    assert captions["schemaRef"] == "at://did:web:example.com/app.bsky.atdata.schema/3a"
    # Each class once, what is nested and what a lens leads to as well.
    names = [record["name"] for record in writer.list_records(SCHEMA)]
    assert sorted(names) == ["Box", "Boxed", "Caption"]


def test_commits_hold_200_records_and_progress_is_told(writer: ATProtoClient) -> None:
    told: list[tuple[int, int]] = []
    uris = publish_many(writer, many(250), progress=lambda done, of: told.append((done, of)))
    assert told == [(200, 251), (251, 251)]
    names = {record["uri"]: record["name"] for record in writer.list_records(DATASET)}
    assert [names[uri] for uri in uris] == [f"set {number}" for number in range(250)]
    assert len(writer.list_records(SCHEMA)) == 1


def test_long_records_are_cut_into_commits_a_pds_takes(writer: ATProtoClient) -> None:
    items = [dataset(name=f"{n}", metadata={"x": "y" * 60_000}) for n in range(4)]
    told: list[int] = []
    publish_many(writer, items, progress=lambda done, _: told.append(done))
    assert told == [2, 3, 4, 5]  # the schema with the first
    assert len(writer.list_records(DATASET)) == 4


def test_the_cut_is_the_same_each_time_and_within_bounds() -> None:
    sizes = [50_000, 90_000, 100, MAX_BYTES + 1, 5] + [10] * 500
    writes = tuple(Write(f"at://x/y/{n}", {"v": "x" * size}) for n, size in enumerate(sizes))
    plan = Plan("did:plc:x", writes, ())
    commits = list(plan.commits)
    assert [write for commit in commits for write in commit] == list(writes)
    assert commits == list(plan.commits)
    for commit in commits:
        assert len(commit) <= MAX_WRITES
        size = sum(len(json.dumps(write.record)) for write in commit)
        assert size <= MAX_BYTES or len(commit) == 1
    assert max(len(commit) for commit in commits) == MAX_WRITES


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (dataset(name="x" * 201), ValidationError),
        (dataset(tags=["t"] * 21), ValidationError),
        (SchemaItem(sample_type=Caption, version="one"), ValidationError),
        (SchemaItem(sample_type=int), ValueError),
        (
            LensItem(getter=len, putter=sorted, name="x", source=Box, target=Box),
            NotImplementedError,
        ),
        (LensItem(getter=len, putter=sorted, name="x", **CODE), ValueError),
        (dataset(schema=type("Odd", (), {})), ValueError),
    ],
)
def test_one_bad_item_and_nothing_is_published(
    pds: RealPds, item: Any, error: type[Exception]
) -> None:
    account = pds.create_account()
    with logged_in(pds, account) as client:
        broken = Breaking(client, 0)
        with pytest.raises(error):
            publish_many(client, [*many(2), item])
        assert broken.broke == 0


def test_a_class_is_there_once_and_a_field_must_be_one_of_a_schema() -> None:
    @packable
    class Listed:
        words: list[str]

    with logged_out() as client:
        with pytest.raises(ValueError, match="Box is there twice"):
            publish_many(client, [SchemaItem(sample_type=Box), SchemaItem(sample_type=Box)])
        with pytest.raises(UnsupportedTypeError, match="'words'"):
            publish_many(client, [SchemaItem(sample_type=Listed)])


def logged_out() -> ATProtoClient:
    class Fake(ATProtoClient):
        is_authenticated = True

    return Fake()


def test_what_is_no_item_is_said_to_be_none(writer: ATProtoClient) -> None:
    odd: Any = [atdata.Dataset[Boxed]("x.tar")]
    with pytest.raises(TypeError, match="neither SchemaItem, DatasetItem nor LensItem: Dataset"):
        publish_many(writer, odd)


def test_publishing_needs_a_login() -> None:
    with pytest.raises(ValueError, match=r"^Client must be authenticated$"):
        publish_many(ATProtoClient(), many(1))


@pytest.mark.parametrize("heard", [False, True])
def test_what_was_cut_short_goes_on_and_nothing_is_there_twice(
    writer: ATProtoClient, heard: bool
) -> None:
    link = Breaking(writer, 1, heard=heard)
    with pytest.raises(PublishInterrupted, match="200 of 251 records are published") as caught:
        publish_many(writer, many(250))
    assert link.broke == 1
    error = caught.value
    assert isinstance(error.__cause__, PdsError)
    assert len(error.published) == 200
    # A commit is done wholly or not at all.
    there = {record["uri"] for record in writer.list_records(DATASET)}
    assert len(there) == (250 if heard else 199)
    link.mend()
    uris = publish_many(writer, error.plan)
    assert {record["uri"] for record in writer.list_records(DATASET)} == set(uris)
    assert len(set(uris)) == 250
    assert publish_many(writer, error.plan) == uris
    assert len(writer.list_records(DATASET)) == 250


def test_a_journal_goes_on_after_a_crash(writer: ATProtoClient, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    link = Breaking(writer, 1)
    with pytest.raises(PublishInterrupted):
        publish_many(writer, many(250), journal=journal)
    assert link.broke == 1
    assert journal.exists()
    link.mend()
    # Another program, which knows no more than its items and the file.
    uris = publish_many(writer, many(250), journal=journal)
    assert not journal.exists()
    names = {record["uri"]: record["name"] for record in writer.list_records(DATASET)}
    assert [names[uri] for uri in uris] == [f"set {number}" for number in range(250)]
    assert len(names) == 250
    assert len(writer.list_records(SCHEMA)) == 1


def test_a_journal_of_other_items_or_of_another_account_is_refused(
    pds: RealPds, writer: ATProtoClient, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    link = Breaking(writer, 0)
    with pytest.raises(PublishInterrupted):
        publish_many(writer, many(2), journal=journal)
    assert link.broke == 1
    link.mend()
    with pytest.raises(ValueError, match="is of other items"):
        publish_many(writer, many(3), journal=journal)
    with logged_in(pds) as other, pytest.raises(ValueError, match="not of "):
        publish_many(other, many(2), journal=journal)
    journal.write_text("nonsense")
    with pytest.raises(ValueError, match="holds no plan"):
        publish_many(writer, many(2), journal=journal)
    assert writer.list_records(DATASET) == []


def test_a_registry_keeps_what_is_published_from_being_published_again(
    writer: ATProtoClient,
) -> None:
    registry = SchemaRegistry()
    first = publish_many(writer, [dataset(Boxed)], registry=registry)
    again = publish_many(writer, [dataset(Boxed), dataset()], registry=registry)
    refs = {writer.get_record(uri)["schemaRef"] for uri in (*first, again[0])}
    assert len(refs) == 1
    known = registry.of_class(Boxed)
    assert known is not None
    assert (known.uri, known.cid) == (refs.pop(), writer.fetch_record(known.uri).cid)
    assert len(writer.list_records(SCHEMA)) == 3


def test_a_failed_look_up_is_not_taken_for_a_missing_record(writer: ATProtoClient) -> None:
    link = Breaking(writer, 0)
    with pytest.raises(PublishInterrupted) as caught:
        publish_many(writer, many(1))
    link.mend()
    plan, fetch, asked = caught.value.plan, writer.fetch_record, 0

    def fails(uri: str, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        raise PdsError(Failure("https://pds.example.com", 503, "Busy", "later"))

    writer.fetch_record = fails  # type: ignore[method-assign]  # a PDS that is busy
    with pytest.raises(PublishInterrupted, match="0 of 2"):
        publish_many(writer, plan)
    assert asked == 1
    writer.fetch_record = fetch  # type: ignore[method-assign]  # as it was
    assert writer.list_records(DATASET) == []
