"""Records as a file and back: word for word, checked, and in the reader's own repository."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from atdata_client import (
    ATProtoClient,
    PdsError,
    PublishInterrupted,
    ValidationError,
    export_records,
    import_records,
)
from atdata_client.errors import Failure
from tests.logged_in import logged_in
from tests.real_pds import RealPds

SCHEMA = "app.bsky.atdata.schema"
DATASET = "app.bsky.atdata.dataset"
LENS = "app.bsky.atdata.lens"
ELSEWHERE = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.atdata.schema/3aaaaaaaaaaaa"
CREATED = {"createdAt": "2026-01-01T00:00:00Z"}


def fill(client: ATProtoClient) -> None:
    """Two schemas, one nested in the other; a dataset of it with bytes; a lens to elsewhere."""
    text = {"kind": "primitive", "primitive": "str"}
    part = f"at://{client.did}/{SCHEMA}/3aaaaaaaaaaa2"
    whole = f"at://{client.did}/{SCHEMA}/3aaaaaaaaaaa3"
    shape = {"kind": "ndarray", "dtype": "uint8", "shape": [None, 3]}
    client.create_records(
        {
            part: {"name": "Größe", "version": "1.0.0", "fields": [{"name": "x", "type": shape}]}
            | CREATED,
            whole: {
                "name": "Whole",
                "version": "1.0.0",
                "fields": [
                    {"name": "part", "type": {"kind": "nested", "schemaRef": part}},
                    {"name": "text", "type": text},
                ],
            }
            | CREATED,
            f"at://{client.did}/{DATASET}/3aaaaaaaaaaa4": {
                "name": "Set",
                "schemaRef": whole,
                "urls": ["https://data.example.com/x.tar"],
                "metadata": b"\x81\xa1a\x01",
            }
            | CREATED,
            f"at://{client.did}/{LENS}/3aaaaaaaaaaa5": {
                "name": "Lens",
                "sourceSchema": whole,
                "targetSchema": ELSEWHERE,
            }
            | CREATED,
        }
    )


@pytest.fixture(scope="module")
def alice(pds: RealPds) -> Iterator[ATProtoClient]:
    with logged_in(pds) as client:
        fill(client)
        yield client


@pytest.fixture
def bob(pds: RealPds) -> Iterator[ATProtoClient]:
    with logged_in(pds) as client:
        yield client


def everything(client: ATProtoClient) -> dict[str, Any]:
    """One's records by AT-URI, with their CIDs."""
    return {
        record["uri"]: record
        for collection in (SCHEMA, DATASET, LENS)
        for record in client.list_records(collection)
    }


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("name", ["all.jsonl", "all.parquet"])
def test_what_was_exported_is_imported_word_for_word(
    pds: RealPds, alice: ATProtoClient, bob: ATProtoClient, tmp_path: Path, name: str
) -> None:
    assert export_records(bob, tmp_path / name, did=alice.did) == 4
    told: list[tuple[int, int]] = []
    uris = import_records(bob, tmp_path / name, progress=lambda *now: told.append(now))
    assert told == [(4, 4)]
    assert set(uris) == set(everything(bob))
    # Word for word, but for where they are.
    moved = json.dumps(everything(alice)).replace(alice.did, bob.did)
    for uri, record in json.loads(moved).items():
        stored = pds.stored(uri)
        assert stored["value"] | {"uri": uri, "cid": None} == record | {"cid": None}


def test_a_file_holds_each_record_with_its_uri_and_cid(
    alice: ATProtoClient, tmp_path: Path
) -> None:
    assert export_records(alice, tmp_path / "x.jsonl", collections=[DATASET]) == 1
    [line] = lines(tmp_path / "x.jsonl")
    [(uri, record)] = [one for one in everything(alice).items() if DATASET in one[0]]
    assert line["value"] | {"uri": line["uri"], "cid": line["cid"]} == record
    assert line["uri"] == uri
    export_records(alice, tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.column_names == ["uri", "cid", "collection", "value"]
    assert set(table["collection"].to_pylist()) == {SCHEMA, DATASET, LENS}
    assert json.loads(table["value"][2].as_py())["metadata"] == {"$bytes": "gaFhAQ"}


def test_an_export_is_whole_or_not_at_all(
    alice: ATProtoClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.jsonl"
    target.write_text("before")
    dumped = 0

    def fails(*arguments: Any, **more: Any) -> str:
        nonlocal dumped
        dumped += 1
        if dumped == 3:
            raise OSError("disk full")
        return "{}"

    with monkeypatch.context() as patch:
        patch.setattr("atdata_client.exchange.json.dumps", fails)
        with pytest.raises(OSError, match="disk full"):
            export_records(alice, target)
    assert dumped == 3
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_importing_again_changes_nothing(alice: ATProtoClient, tmp_path: Path) -> None:
    before = everything(alice)
    export_records(alice, tmp_path / "x.jsonl")
    assert set(import_records(alice, tmp_path / "x.jsonl")) == set(before)
    assert everything(alice) == before


def test_an_import_that_was_cut_short_is_made_again(
    alice: ATProtoClient, bob: ATProtoClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jsonl"
    export_records(alice, path)
    monkeypatch.setattr("atdata_client._records.plan.MAX_WRITES", 2)
    create, calls = bob.create_records, 0

    def breaking(records: Any) -> dict[str, str]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise PdsError(Failure("https://pds.example.com", None, "Unreachable", "cut off"))
        return create(records)

    monkeypatch.setattr(bob, "create_records", breaking)
    with pytest.raises(PublishInterrupted, match="2 of 4"):
        import_records(bob, path)
    assert calls == 2
    # What others refer to came first.
    assert {SCHEMA} == {uri.split("/")[3] for uri in everything(bob)}
    assert len(import_records(bob, path)) == 4
    assert calls == 3
    assert len(everything(bob)) == 4


def test_a_record_that_differs_from_the_one_there_stops_the_import(
    alice: ATProtoClient, bob: ATProtoClient, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    export_records(alice, path)
    uri = f"at://{bob.did}/{LENS}/3aaaaaaaaaaa5"
    bob.create_records({uri: {"name": "mine"}})
    with pytest.raises(ValueError, match=f"1 records are there and differ, {uri}"):
        import_records(bob, path)
    assert set(everything(bob)) == {uri}


def drop_urls(line: dict[str, Any]) -> None:
    del line["value"]["urls"]


def other_type(line: dict[str, Any]) -> None:
    line["value"]["$type"] = "app.bsky.feed.post"


def other_collection(line: dict[str, Any]) -> None:
    line["uri"] = line["uri"].replace(DATASET, LENS)


def bad_uri(line: dict[str, Any]) -> None:
    line["uri"] = "https://example.com"


def bad_key(line: dict[str, Any]) -> None:
    line["uri"] = line["uri"].rpartition("/")[0] + "/../x"


def no_record(line: dict[str, Any]) -> None:
    line["value"] = "text"


def no_value(line: dict[str, Any]) -> None:
    del line["value"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (drop_urls, ValidationError),
        (other_type, ValueError),
        (other_collection, ValueError),
        (bad_uri, ValueError),
        (bad_key, ValueError),
        (no_record, ValueError),
        (no_value, ValueError),
    ],
)
def test_one_bad_record_and_nothing_is_imported(
    alice: ATProtoClient,
    tmp_path: Path,
    fault: Callable[[dict[str, Any]], None],
    error: type[Exception],
) -> None:
    path = tmp_path / "x.jsonl"
    export_records(alice, path)
    held = lines(path)
    held[2]["uri"] = held[2]["uri"][:-1] + "7"
    fault(held[2])
    path.write_text("".join(json.dumps(line) + "\n" for line in held), "utf-8")
    before = everything(alice)
    with pytest.raises(error) as caught:
        import_records(alice, path)
    assert "3" in f"{caught.value} {getattr(caught.value, '__notes__', '')}"
    assert everything(alice) == before


def test_two_records_for_one_place_are_refused(alice: ATProtoClient, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    export_records(alice, path)
    path.write_text(path.read_text("utf-8") * 2, "utf-8")
    with pytest.raises(ValueError, match=r"record 5 of .* has the key of one before it"):
        import_records(alice, path)


@pytest.mark.parametrize(("name", "content"), [("x.jsonl", b"\x00"), ("x.parquet", b"nothing")])
def test_a_file_of_something_else_is_a_value_error(
    alice: ATProtoClient, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="no record"):
        import_records(alice, tmp_path / name)


def test_the_format_is_that_of_the_suffix_or_said(alice: ATProtoClient, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Say format="):
        export_records(alice, tmp_path / "x.csv")
    export_records(alice, tmp_path / "records", format="jsonl")
    assert len(import_records(alice, tmp_path / "records", format="jsonl")) == 4


def test_a_login_is_needed_for_ones_own(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^Not authenticated$"):
        export_records(ATProtoClient(), tmp_path / "x.jsonl")
    with pytest.raises(ValueError, match=r"^Not authenticated$"):
        import_records(ATProtoClient(), tmp_path / "x.jsonl")
