"""Changing records of one's own: only what was read, only what stays valid, only all together."""

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from atdata_client import (
    ATProtoClient,
    PdsError,
    RecordNotFound,
    SwapConflict,
    ValidationError,
)
from atdata_client._records.lexicon import unpack_metadata
from tests.logged_in import logged_in
from tests.real_pds import RealPds

SCHEMA = "app.bsky.atdata.schema"
DATASET = "app.bsky.atdata.dataset"


@pytest.fixture(scope="module")
def writer(pds: RealPds) -> Iterator[ATProtoClient]:
    with logged_in(pds) as client:
        yield client


@pytest.fixture
def uri(writer: ATProtoClient) -> str:
    record = {
        "name": "Birds",
        "schemaRef": f"at://{writer.did}/{SCHEMA}/3aaaaaaaaaaaa",
        "urls": ["https://data.example.com/x.tar"],
        "description": "In the garden.",
        "createdAt": "2026-01-01T00:00:00Z",
    }
    return writer.create_record(DATASET, record)


def test_some_fields_change_and_the_rest_stay(writer: ATProtoClient, uri: str) -> None:
    before = writer.get_record(uri)
    cid = writer.update_record(uri, {"name": "Garden birds", "tags": ["bird"], "description": None})
    after = writer.fetch_record(uri)
    assert after.cid == cid
    expected = before | {"name": "Garden birds", "tags": ["bird"]}
    del expected["description"]
    assert after.value == expected


def test_metadata_is_changed_as_a_mapping(writer: ATProtoClient, uri: str) -> None:
    writer.update_record(uri, {"metadata": {"split": "train", "rate": 0.5}})
    held = writer.get_record(uri)
    assert unpack_metadata(held) == {"split": "train", "rate": 0.5}
    writer.update_record(uri, {"metadata": msgpack.packb({"split": "test"})})
    assert unpack_metadata(writer.get_record(uri)) == {"split": "test"}
    writer.update_record(uri, {"metadata": None})
    assert "metadata" not in writer.get_record(uri)


def test_a_change_that_breaks_the_lexicon_is_refused_by_field(
    writer: ATProtoClient, uri: str
) -> None:
    before = writer.fetch_record(uri)
    with pytest.raises(ValidationError) as caught:
        writer.update_record(uri, {"tags": ["fine", "x" * 51]})
    assert caught.value.path == "tags[1]"
    with pytest.raises(ValidationError, match="urls"):
        writer.update_record(uri, {"urls": None})
    with pytest.raises(ValueError, match=r"a app\.bsky\.atdata\.schema"):
        writer.put_record(uri, {"$type": SCHEMA})
    assert writer.fetch_record(uri) == before


def test_a_record_keeps_its_type(writer: ATProtoClient, uri: str) -> None:
    for other in (SCHEMA, "com.example.thing", None):
        with pytest.raises(ValueError, match=r"its \$type cannot change"):
            writer.update_record(uri, {"$type": other})
    writer.update_record(uri, {"$type": DATASET, "name": "Same"})
    assert writer.get_record(uri)["name"] == "Same"


def test_an_older_version_is_not_changed(writer: ATProtoClient, uri: str) -> None:
    first = writer.fetch_record(uri).cid
    second = writer.update_record(uri, {"name": "two"}, swap_cid=first)
    with pytest.raises(SwapConflict):
        writer.update_record(uri, {"name": "three"}, swap_cid=first)
    assert writer.get_record(uri)["name"] == "two"
    assert writer.update_record(uri, {"name": "three"}, swap_cid=second) != second


def test_a_change_in_between_is_not_overwritten(
    writer: ATProtoClient, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, changed_between = writer.fetch_record, 0

    def reading(target: str) -> object:
        nonlocal changed_between
        stored = read(target)
        writer.put_record(uri, stored.value | {"name": "somebody else's"})
        changed_between += 1
        return stored

    monkeypatch.setattr(writer, "fetch_record", reading)
    with pytest.raises(SwapConflict):
        writer.update_record(uri, {"name": "mine"})
    assert changed_between == 1
    assert writer.get_record(uri)["name"] == "somebody else's"


def test_anothers_record_and_none_are_not_changed(
    pds: RealPds, writer: ATProtoClient, uri: str
) -> None:
    other = f"at://{pds.create_account().did}/{DATASET}/3aaaaaaaaaaaa"
    with pytest.raises(ValueError, match="not in the repository of"):
        writer.update_record(other, {"name": "x"})
    with pytest.raises(RecordNotFound):
        writer.update_record(f"at://{writer.did}/{DATASET}/3zzzzzzzzzzzz", {"name": "x"})
    with pytest.raises(ValueError, match="Not authenticated"):
        ATProtoClient().update_record(uri, {"name": "x"})


def test_records_are_created_together_at_the_keys_chosen(
    pds: RealPds, writer: ATProtoClient
) -> None:
    records = {
        f"at://{writer.did}/{SCHEMA}/3baaaaaaaaaa{n}": {"name": f"s{n}", "data": b"\x00"}
        for n in "234"
    }
    cids = writer.create_records(records)
    assert list(cids) == list(records)
    for uri, cid in cids.items():
        stored = pds.stored(uri)
        assert stored["cid"] == cid
        assert stored["value"]["$type"] == SCHEMA
        assert stored["value"]["data"] == {"$bytes": "AA"}


def test_where_one_cannot_be_created_none_is(writer: ATProtoClient) -> None:
    taken = f"at://{writer.did}/{SCHEMA}/3caaaaaaaaaa2"
    new = f"at://{writer.did}/{SCHEMA}/3caaaaaaaaaa3"
    writer.create_records({taken: {"name": "first"}})
    with pytest.raises(PdsError):
        writer.create_records({new: {"name": "x"}, taken: {"name": "y"}})
    with pytest.raises(RecordNotFound):
        writer.get_record(new)
    assert writer.get_record(taken)["name"] == "first"


def test_a_pds_need_not_say_the_cids_of_what_it_created(
    writer: ATProtoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`results` is optional in the answer of applyWrites; older PDSs leave it out."""
    write, silent = writer._write, 0

    def silenced(name: str, body: Any) -> dict[str, Any]:
        nonlocal silent
        silent += 1
        write(name, body)
        return {}

    monkeypatch.setattr(writer, "_write", silenced)
    uri = f"at://{writer.did}/{DATASET}/3ccccccccccc2"
    cids = writer.create_records({uri: {"name": "x"}})
    assert silent == 1
    assert cids == {uri: writer.fetch_record(uri).cid}
