"""What was read before is not asked for again, and never trusted further than it can be checked."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import pytest

from atdata_client import ATProtoClient, IdentityError, PdsError
from atdata_client._net.cache import MAX_IN_MEMORY, Cache, cid_of
from atdata_client._records.stored import StoredRecord
from tests.logged_in import logged_in
from tests.real_pds import RealPds

SCHEMA = "app.bsky.atdata.schema"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def writer(pds: RealPds) -> Iterator[ATProtoClient]:
    with logged_in(pds) as client:
        yield client


def stored(text: str = "x") -> StoredRecord:
    value = {"$type": SCHEMA, "name": text, "data": {"$bytes": "AP8"}, "n": [1, None, True]}
    cid = cid_of(value)
    assert cid is not None
    return StoredRecord(f"at://did:plc:{'a' * 24}/{SCHEMA}/3aaaaaaaaaaaa", cid, value)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_the_cid_is_the_one_the_pds_computes(writer: ATProtoClient) -> None:
    record = {
        "name": "Größe",
        "shape": [None, 3, -7, 2**40],
        "nested": {"snake_case": {}, "b": b"\x00\xff", "aa": [[]], "a": True},
    }
    uri = writer.create_record(SCHEMA, record)
    read = writer.fetch_record(uri)
    assert cid_of(read.value) == read.cid


@pytest.mark.parametrize("value", [{"x": {"$link": "bafy"}}, {"x": 1.5}])
def test_what_cannot_be_checked_has_no_cid(value: dict[str, object]) -> None:
    assert cid_of(value) is None


def test_what_is_kept_on_disk_is_found_by_another_process(tmp_path: Path) -> None:
    kept = stored()
    Cache(tmp_path / "new" / "folder").keep_record(kept)
    assert Cache(tmp_path / "new" / "folder").record(kept.uri) == kept
    assert Cache().record(kept.uri) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"null", b'{"key": 1}'])
def test_a_damaged_file_is_as_none(tmp_path: Path, damage: bytes) -> None:
    kept = stored()
    Cache(tmp_path).keep_record(kept)
    [file] = files(tmp_path)
    file.write_bytes(damage)
    assert Cache(tmp_path).record(kept.uri) is None


def test_a_record_that_was_altered_on_disk_is_not_believed(tmp_path: Path) -> None:
    kept = stored()
    Cache(tmp_path).keep_record(kept)
    [file] = files(tmp_path)
    held = json.loads(file.read_bytes())
    held["value"]["value"]["name"] = "forged"
    file.write_text(json.dumps(held))
    assert Cache(tmp_path).record(kept.uri) is None


def test_a_record_whose_content_is_not_its_cids_is_not_written(tmp_path: Path) -> None:
    Cache(tmp_path).keep_record(StoredRecord("at://x/y/z", stored().cid, {"other": 1}))
    assert files(tmp_path) == []


def test_age_and_cid_decide(tmp_path: Path) -> None:
    clock = Clock()
    cache, kept = Cache(clock=clock), stored()
    cache.keep_record(kept)
    clock.now += 10
    assert cache.record(kept.uri, max_age=10) == kept
    assert cache.record(kept.uri, max_age=9) is None
    assert cache.record(kept.uri, cid=kept.cid) == kept
    assert cache.record(kept.uri, cid=stored("newer").cid) is None
    clock.now -= 20  # the clock was set back: how old it is, nobody knows
    assert cache.record(kept.uri) is None


def test_memory_is_bounded() -> None:
    cache = Cache()
    for number in range(MAX_IN_MEMORY + 10):
        cache.keep_identity(f"name{number}", "did:plc:x")
    known = [cache.identity(f"name{n}", max_age=60) for n in range(MAX_IN_MEMORY + 10)]
    assert known[:10] == [None] * 10
    assert None not in known[10:]


def test_a_schema_is_asked_for_once_and_again_when_it_may_have_changed(
    pds: RealPds, writer: ATProtoClient, tmp_path: Path
) -> None:
    uri = writer.create_record(SCHEMA, {"name": "one"})
    with ATProtoClient(plc_url=pds.plc, cache=tmp_path) as reader:
        first = reader.fetch_record(uri, max_age=300)
        writer.put_record(uri, {"name": "two"})
        assert reader.fetch_record(uri, max_age=300) == first
        assert reader.get_record(uri)["name"] == "two"
        assert reader.fetch_record(uri, max_age=300).value["name"] == "two"
    with ATProtoClient(plc_url="http://127.0.0.1:1", cache=tmp_path) as offline:
        assert offline.fetch_record(uri, max_age=300).value["name"] == "two"
        with pytest.raises(IdentityError):
            offline.get_record(uri)


def test_ones_own_change_is_seen_at_once(writer: ATProtoClient) -> None:
    uri = writer.create_record(SCHEMA, {"name": "one"})
    assert writer.fetch_record(uri, max_age=300).value["name"] == "one"
    writer.put_record(uri, {"name": "two"})
    assert writer.fetch_record(uri, max_age=300).value["name"] == "two"


def test_a_caller_may_change_what_it_got(writer: ATProtoClient) -> None:
    uri = writer.create_record(SCHEMA, {"name": "one", "fields": []})
    for max_age in (0, 300, 300):
        record = writer.fetch_record(uri, max_age=max_age).value
        assert record == {"$type": SCHEMA, "name": "one", "fields": []}
        record["fields"].append("changed")
        del record["name"]


def test_what_was_read_while_it_was_written_is_not_kept(
    writer: ATProtoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = writer.create_record(SCHEMA, {"name": "one"})
    write, read = writer._write, 0

    def reading(*arguments: Any) -> dict[str, Any]:
        nonlocal read
        read += 1
        assert writer.fetch_record(uri, max_age=300).value["name"] == "one"
        return write(*arguments)

    monkeypatch.setattr(writer, "_write", reading)
    writer.put_record(uri, {"name": "two"})
    assert read == 1
    assert writer.fetch_record(uri, max_age=300).value["name"] == "two"


def test_only_schemas_are_kept(writer: ATProtoClient, pds: RealPds, tmp_path: Path) -> None:
    uri = writer.create_record("app.bsky.atdata.dataset", {"name": "one"})
    with ATProtoClient(plc_url=pds.plc, cache=tmp_path) as reader:
        reader.fetch_record(uri, max_age=300)
        writer.put_record(uri, {"name": "two"})
        assert reader.fetch_record(uri, max_age=300).value["name"] == "two"


def moved(folder: Path, did: str, endpoint: str, *, seconds_ago: float) -> None:
    """As if the account's PDS had been looked up, and kept, at another address."""
    [file] = [file for file in files(folder) if did in file.read_text()]
    held = json.loads(file.read_bytes())
    file.write_text(json.dumps(held | {"value": endpoint, "at": held["at"] - seconds_ago}))


def test_an_account_that_moved_is_looked_up_again(
    pds: RealPds, writer: ATProtoClient, tmp_path: Path
) -> None:
    uri = writer.create_record("app.bsky.atdata.dataset", {"name": "x"})
    with ATProtoClient(plc_url=pds.plc, cache=tmp_path) as reader:
        reader.get_record(uri)
    moved(tmp_path, writer.did, "http://127.0.0.1:1", seconds_ago=3600)
    with ATProtoClient(plc_url=pds.plc, cache=tmp_path) as reader:
        assert reader.get_record(uri)["name"] == "x"
        assert reader.list_records("app.bsky.atdata.dataset", writer.did)


def test_one_that_was_just_looked_up_is_not(
    pds: RealPds, writer: ATProtoClient, tmp_path: Path
) -> None:
    uri = writer.create_record("app.bsky.atdata.dataset", {"name": "x"})
    with ATProtoClient(plc_url=pds.plc, cache=tmp_path) as reader:
        reader.get_record(uri)
    moved(tmp_path, writer.did, "http://127.0.0.1:1", seconds_ago=5)
    with (
        ATProtoClient(plc_url=pds.plc, cache=tmp_path) as reader,
        pytest.raises(PdsError, match="Unreachable"),
    ):
        reader.get_record(uri)


def test_a_kept_address_is_no_way_around_the_rules(
    pds: RealPds, writer: ATProtoClient, tmp_path: Path
) -> None:
    uri = writer.create_record("app.bsky.atdata.dataset", {"name": "x"})
    with ATProtoClient(plc_url=pds.plc, cache=tmp_path) as reader:
        reader.get_record(uri)
    moved(tmp_path, writer.did, "http://10.0.0.1", seconds_ago=5)
    with (
        ATProtoClient(plc_url=pds.plc, cache=tmp_path) as reader,
        pytest.raises(IdentityError, match="may not be asked"),
    ):
        reader.get_record(uri)


def test_where_the_directory_is_gone_too_the_first_failure_is_told(
    pds: RealPds, writer: ATProtoClient, tmp_path: Path
) -> None:
    uri = writer.create_record("app.bsky.atdata.dataset", {"name": "x"})
    gone = "http://127.0.0.1:1"
    Cache(tmp_path, clock=lambda: time() - 3600).keep_identity(f"{writer.did} by {gone}", gone)
    with (
        ATProtoClient(plc_url=gone, cache=tmp_path) as reader,
        pytest.raises(PdsError, match="Unreachable"),
    ):
        reader.get_record(uri)
