"""With a registry a schema is published once, and changes only under another version."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from atdata import packable

from atdata_client import (
    ATProtoClient,
    PdsError,
    SchemaChanged,
    SchemaPublisher,
    SchemaRegistry,
    UnsupportedTypeError,
    ValidationError,
)
from atdata_client.errors import Failure
from tests.schema_records import BOX, OTHER, nested, plain, schema

SCHEMA = "app.bsky.atdata.schema"
DID = BOX.split("/")[2]


@packable
class Box:
    label: str


@packable
class Photo:
    caption: str
    box: Box


def sample(name: str = "Photo", /, **fields: Any) -> Any:
    """A sample class with these fields, as if it had been edited."""
    return packable(type(name, (), {"__annotations__": fields, "__module__": __name__}))


class Author:
    """A publisher with a registry, and what it published: its repository takes anything."""

    def __init__(self, registry: SchemaRegistry | None = None, did: str = DID) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.registry = SchemaRegistry() if registry is None else registry
        self.client = Mock(is_authenticated=True, did=did, create_record=self._create)
        self.client.fetch_record = lambda uri: Mock(cid=f"bafy{uri[-3:]}")
        self.publisher = SchemaPublisher(self.client, registry=self.registry)
        self.publish: Callable[..., str] = self.publisher.publish_schema

    def _create(self, collection: str, record: dict[str, Any]) -> str:
        uri = f"at://{self.client.did}/{collection}/3mabcdefgh{len(self.records):03d}"
        self.records[uri] = record
        return uri


@pytest.fixture(params=["memory", "folder"])
def alice(request: pytest.FixtureRequest, tmp_path: Path) -> Author:
    folder = None if request.param == "memory" else tmp_path / "made" / "on demand"
    return Author(SchemaRegistry(folder))


def test_an_unchanged_schema_is_published_once_on_a_real_pds(
    author: ATProtoClient, tmp_path: Path
) -> None:
    registry = SchemaRegistry(tmp_path)
    first = SchemaPublisher(author, registry=registry).publish_schema(Photo)
    again = SchemaPublisher(author, registry=SchemaRegistry(tmp_path)).publish_schema(Photo)
    assert again == first
    assert len(author.list_records(SCHEMA)) == 2  # the photo and its box
    stored = author.fetch_record(first)
    entry = registry.of_cid(stored.cid)
    assert entry is not None
    assert (entry.uri, entry.record) == (first, stored.value)


def test_class_uri_and_cid_lead_to_one_another(alice: Author) -> None:
    uri = alice.publish(Photo)
    entry = alice.registry.of_class(Photo)
    assert entry is not None
    assert entry.uri == uri
    assert entry.cid is not None
    assert alice.registry.of_uri(uri) == alice.registry.of_cid(entry.cid) == entry
    assert alice.registry.class_of(uri) is Photo
    assert (entry.name, entry.version, entry.author) == ("Photo", "1.0.0", DID)
    assert entry.sample_class == f"{__name__}:Photo"


def test_what_nobody_registered_is_unknown(alice: Author) -> None:
    assert alice.registry.schemas() == []
    assert alice.registry.of_class(Photo) is None
    assert alice.registry.of_uri(BOX) is None
    assert alice.registry.of_cid("bafy") is None
    assert alice.registry.class_of(BOX) is None
    assert alice.registry.compatibility(Photo) is None


def test_a_changed_schema_needs_another_version_and_is_told_how_it_differs(alice: Author) -> None:
    uri = alice.publish(sample(x=int, y=str))
    changed = sample(x=int)
    with pytest.raises(SchemaChanged) as caught:
        alice.publish(changed)
    assert str(caught.value) == (
        f"Photo 1.0.0 is published as {uri} and has changed since (breaking: field 'y' was "
        "removed): publish it as another version, such as 2.0.0"
    )
    assert isinstance(caught.value, ValueError)
    assert (caught.value.uri, caught.value.version) == (uri, "2.0.0")
    assert caught.value.compatibility.reasons == ("field 'y' was removed",)
    assert list(alice.records) == [uri]
    second = alice.publish(changed, version="2.0.0")
    assert alice.records[second]["version"] == "2.0.0"


@pytest.mark.parametrize(
    ("version", "fields", "suggested"),
    [
        ("1.0.0", {"x": int, "y": int | None}, "1.1.0"),
        ("1.4.2", {"x": str}, "2.0.0"),
        ("0.3.1", {"x": float}, "0.3.2"),
        ("0.3.1", {"x": str}, "0.4.0"),
    ],
)
def test_the_version_that_fits_the_change_is_suggested(
    version: str, fields: dict[str, Any], suggested: str
) -> None:
    alice = Author()
    alice.publish(sample(x=int), version=version)
    with pytest.raises(SchemaChanged, match=f"such as {suggested}$"):
        alice.publish(sample(**fields), version=version)


def test_a_version_that_hides_a_break_is_warned_of(alice: Author) -> None:
    alice.publish(sample(x=int))
    with pytest.warns(
        UserWarning, match=r"1\.1\.0 does not say that it breaks 1\.0\.0, as 2\.0\.0"
    ) as caught:
        alice.publish(sample(x=str), version="1.1.0")
    assert caught[0].filename == __file__
    alice.publish(sample(x=str, y=int | None), version="1.2.0")
    alice.publish(sample(y=int | None), version="2.0.0")


def test_an_unchanged_class_is_found_whatever_its_version(alice: Author) -> None:
    uri = alice.publish(sample(x=int), version="3.0.0")
    assert alice.publish(sample(x=int)) == uri
    with pytest.warns(UserWarning, match=r"has not changed since 3\.0\.0: it is not published"):
        assert alice.publish(sample(x=int), version="4.0.0") == uri
    assert len(alice.records) == 1


def test_an_unchanged_nested_class_is_linked_and_not_published_again(alice: Author) -> None:
    alice.publish(Photo)
    box = alice.registry.of_class(Box)
    assert box is not None
    second = alice.publish(sample(caption=str, box=Box, score=float | None), version="1.1.0")
    assert len(alice.records) == 3
    assert alice.records[second]["fields"][1]["type"] == nested(box.uri)


def test_a_change_within_a_nested_class_changes_what_holds_it(alice: Author) -> None:
    alice.publish(sample(box=sample("Box", label=str)))
    wider = sample(box=sample("Box", label=str, score=float | None))
    with pytest.raises(
        SchemaChanged, match=r"^Box 1\.0\.0 .*field 'score' was added and is optional"
    ):
        alice.publish(wider)
    found = alice.registry.compatibility(wider)
    assert found is not None
    assert str(found) == "compatible: in 'box': field 'score' was added and is optional"
    alice.publish(wider, version="1.1.0")
    assert [record["name"] for record in alice.records.values()] == ["Box", "Photo"] * 2
    found = alice.registry.compatibility(sample(box=sample("Box", score=float | None)))
    assert found is not None
    assert found.reasons == ("in 'box': field 'label' was removed",)


def test_nothing_is_published_where_one_part_would_be_refused(alice: Author) -> None:
    alice.publish(sample(x=int))
    with pytest.raises(SchemaChanged):
        alice.publish(sample(x=int, box=Box))
    assert len(alice.records) == 1


def test_the_history_of_a_schema_says_how_each_version_differs(alice: Author) -> None:
    alice.publish(sample(x=float), version="1.10.0")
    alice.publish(sample(x=int), version="1.9.0")
    alice.publish(sample(y=int), version="2.0.0")
    alice.publish(Box)
    told = [(entry.version, str(found)) for entry, found in alice.registry.history("Photo")]
    assert told == [
        ("1.9.0", "None"),
        ("1.10.0", "compatible: field 'x' was int, now is float"),
        ("2.0.0", "breaking: field 'x' was removed; field 'y' was added and is not optional"),
    ]
    assert [entry.name for entry in alice.registry.schemas()] == ["Box"] + ["Photo"] * 3


def test_accounts_do_not_share_what_they_published(alice: Author) -> None:
    alice.publish(Box)
    other = Author(alice.registry, did="did:plc:bobbobbobbobbobbobbobbob")
    assert other.publish(Box) in other.records
    assert len(alice.registry.schemas("Box")) == 2
    assert len(alice.registry.schemas("Box", author=DID)) == 1


def test_what_was_published_elsewhere_can_be_registered_and_forgotten(alice: Author) -> None:
    alice.registry.register(OTHER, schema(x=plain("int")), cid="bafyother")
    assert alice.publish(sample(x=int)) == OTHER
    assert alice.registry.class_of(OTHER) is None
    alice.registry.forget(OTHER)
    alice.registry.forget(OTHER)
    assert alice.publish(sample(x=int)) != OTHER
    with pytest.raises(ValidationError, match=r"^fields"):
        alice.registry.register(OTHER, {"name": "x", "version": "1.0.0"})


def test_a_record_replaced_by_its_author_replaces_what_is_kept(alice: Author) -> None:
    alice.registry.register(OTHER, schema(x=plain("int")), cid="one")
    alice.registry.register(OTHER, schema(x=plain("int")) | {"name": "New"}, cid="two")
    assert [(entry.name, entry.cid) for entry in alice.registry.schemas()] == [("New", "two")]


def test_a_schema_whose_cid_was_never_told_is_not_published_twice(alice: Author) -> None:
    failed = PdsError(Failure("https://pds.example.com", 502, "Unavailable", "not now"))
    alice.client.fetch_record = Mock(side_effect=failed)
    with pytest.raises(PdsError):
        alice.publish(Box)
    [uri] = alice.records
    assert alice.publish(Box) == uri
    assert alice.client.fetch_record.call_count == 1
    entry = alice.registry.of_uri(uri)
    assert entry is not None
    assert entry.cid is None


def test_a_folder_outlives_the_program_and_imports_nothing(tmp_path: Path) -> None:
    uri = Author(SchemaRegistry(tmp_path)).publish(
        Box, name='Böx "/\\" ' + "x" * 80, version="1.0.0+a"
    )
    [file] = tmp_path.iterdir()
    registry = SchemaRegistry(tmp_path)
    assert registry.class_of(uri) is Box
    text = file.read_text("utf-8")
    file.write_text(text.replace(f"{__name__}:Box", "antigravity:geohash"), "utf-8")
    assert registry.class_of(uri) is None
    file.write_text(text.replace(f"{__name__}:Box", f"{__name__}:DID"), "utf-8")
    assert registry.class_of(uri) is None


@pytest.mark.parametrize("text", ["", "[]", '{"uri": "at://x/y/z"}', '{"uri":1}'])
def test_a_foreign_file_in_the_folder_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json holds no registered schema"):
        SchemaRegistry(tmp_path).schemas()


def test_a_class_no_schema_can_express_has_no_compatibility() -> None:
    cls = dataclasses.make_dataclass("Photo", [("x", list[int])])
    with pytest.raises(UnsupportedTypeError):
        SchemaRegistry().compatibility(cls)


def test_a_folder_may_be_named_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # what Windows calls it
    SchemaRegistry("~/schemas").register(BOX, schema(x=plain("int")))
    assert len(list((tmp_path / "schemas").glob("*.json"))) == 1
