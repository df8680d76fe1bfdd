"""Reading and writing records: one's own PDS for writing, every author's own for reading."""

import pytest

from atdata_client import (
    ATProtoClient,
    IdentityError,
    RecordNotFound,
    SwapConflict,
    ValidationError,
)
from tests.real_pds import RealPds

SCHEMA = "app.bsky.atdata.schema"
DATASET = "app.bsky.atdata.dataset"


def test_a_created_record_is_on_the_pds_and_read_back_as_written(
    pds: RealPds, author: ATProtoClient
) -> None:
    record = {"name": "X", "shape": [None, 3], "nested": {"snake_case": 1, "_data": [True, None]}}
    uri = author.create_record(SCHEMA, record)
    assert uri.startswith(f"at://{author.did}/{SCHEMA}/")
    assert pds.stored(uri)["value"] == {"$type": SCHEMA, **record}
    assert author.get_record(uri) == {"$type": SCHEMA, **record}


def test_bytes_travel_as_base64_and_are_read_in_that_form(author: ATProtoClient) -> None:
    uri = author.create_record(DATASET, {"metadata": b"\x00\xffab", "deep": [{"b": b""}]})
    record = author.get_record(uri)
    assert record["metadata"] == {"$bytes": "AP9hYg"}
    assert record["deep"] == [{"b": {"$bytes": ""}}]
    again = author.create_record(DATASET, record)
    assert author.fetch_record(again).cid == author.fetch_record(uri).cid


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"size": {"ratio": 1.5}}, r"size\.ratio: .*floats"),
        ({"n": [0, 2**53]}, r"n\[1\]: integer beyond"),
        ({"n": {3: "x"}}, "n: key 3 is not a string"),
        ({"when": {1, 2}}, "when: no value of the data model: set"),
    ],
)
def test_what_the_data_model_cannot_hold_is_named_and_not_sent(
    author: ATProtoClient, record: dict[str, object], fault: str
) -> None:
    with pytest.raises(ValidationError, match=fault):
        author.create_record(DATASET, record)


def test_a_record_of_another_type_is_not_sent(author: ATProtoClient) -> None:
    with pytest.raises(ValueError, match=f"a {SCHEMA}, not a {DATASET}"):
        author.create_record(DATASET, {"$type": SCHEMA})


def test_list_records_returns_every_page_with_uri_and_cid(
    pds: RealPds, author: ATProtoClient, reader: ATProtoClient
) -> None:
    write = "com.atproto.repo.applyWrites#create"
    account = pds.create_account()
    for start in (0, 150):
        writes = [
            {"$type": write, "collection": SCHEMA, "value": {"$type": SCHEMA, "name": f"s{number}"}}
            for number in range(start, start + 150)
        ]
        body = {"repo": account.did, "writes": writes}
        pds.post("com.atproto.repo.applyWrites", body, account.access_jwt)
    records = reader.list_records(SCHEMA, account.did)
    assert sorted(record["name"] for record in records) == sorted(f"s{n}" for n in range(300))
    assert len({record["uri"] for record in records}) == 300
    for record in records[:3]:
        stored = pds.stored(record["uri"])
        assert record == {**stored["value"], "uri": stored["uri"], "cid": stored["cid"]}


def test_list_records_without_a_did_lists_ones_own(author: ATProtoClient) -> None:
    assert author.list_records(SCHEMA) == []
    uri = author.create_record(SCHEMA, {"name": "mine"})
    assert [record["uri"] for record in author.list_records(SCHEMA)] == [uri]
    assert author.list_records(DATASET) == []


def test_anothers_records_are_read_from_the_pds_that_other_names(
    pds: RealPds, author: ATProtoClient
) -> None:
    other = pds.create_account()
    body = {"repo": other.did, "collection": SCHEMA, "record": {"$type": SCHEMA, "name": "theirs"}}
    uri = pds.post("com.atproto.repo.createRecord", body, other.access_jwt)["uri"]
    assert author.get_record(uri)["name"] == "theirs"
    assert [record["uri"] for record in author.list_records(SCHEMA, other.did)] == [uri]
    # A handle in place of the DID, in either.
    assert author.get_record(uri.replace(other.did, other.handle))["name"] == "theirs"
    assert [record["uri"] for record in author.list_records(SCHEMA, other.handle)] == [uri]


def test_reading_needs_no_login(author: ATProtoClient, reader: ATProtoClient) -> None:
    uri = author.create_record(SCHEMA, {"name": "open"})
    assert reader.get_record(uri) == author.get_record(uri)


def test_a_record_that_is_not_there_is_record_not_found(
    author: ATProtoClient, reader: ATProtoClient
) -> None:
    uri = f"at://{author.did}/{SCHEMA}/3aaaaaaaaaaaa"
    for client in (author, reader):
        with pytest.raises(RecordNotFound):
            client.get_record(uri)


def test_an_account_nobody_has_is_an_identity_error(reader: ATProtoClient) -> None:
    with pytest.raises(IdentityError, match="does not resolve"):
        reader.get_record(f"at://did:plc:{'2' * 24}/{SCHEMA}/3aaaaaaaaaaaa")


@pytest.mark.parametrize(
    "uri", ["", "at://did:plc:abc", "https://example.com/x", "at://a.b/c.d.e/"]
)
def test_what_is_no_record_uri_is_a_value_error(reader: ATProtoClient, uri: str) -> None:
    with pytest.raises(ValueError, match="not the AT-URI of a record"):
        reader.get_record(uri)


def test_put_replaces_a_record_and_returns_its_cid(author: ATProtoClient) -> None:
    uri = author.create_record(SCHEMA, {"name": "before"})
    cid = author.put_record(uri, {"name": "after"})
    stored = author.fetch_record(uri)
    assert (stored.cid, stored.value["name"]) == (cid, "after")


def test_a_swap_only_replaces_the_version_it_names(author: ATProtoClient) -> None:
    uri = author.create_record(SCHEMA, {"name": "one"})
    first = author.fetch_record(uri).cid
    second = author.put_record(uri, {"name": "two"}, swap_cid=first)
    with pytest.raises(SwapConflict):
        author.put_record(uri, {"name": "three"}, swap_cid=first)
    with pytest.raises(SwapConflict):
        author.delete_record(uri, swap_cid=first)
    assert author.get_record(uri)["name"] == "two"
    author.delete_record(uri, swap_cid=second)
    assert author.list_records(SCHEMA) == []


def test_a_deleted_record_is_gone_and_may_be_deleted_again(author: ATProtoClient) -> None:
    uri = author.create_record(SCHEMA, {"name": "short-lived"})
    author.delete_record(uri)
    author.delete_record(uri)
    with pytest.raises(RecordNotFound):
        author.get_record(uri)


def test_anothers_record_cannot_be_written(pds: RealPds, author: ATProtoClient) -> None:
    uri = f"at://{pds.create_account().did}/{SCHEMA}/3aaaaaaaaaaaa"
    with pytest.raises(ValueError, match="not in the repository of"):
        author.put_record(uri, {"name": "x"})
    with pytest.raises(ValueError, match="not in the repository of"):
        author.delete_record(uri)


def test_a_record_key_can_be_chosen(author: ATProtoClient) -> None:
    uri = author.create_record(SCHEMA, {"name": "x"}, rkey="3aaaaaaaaaaaa")
    assert uri == f"at://{author.did}/{SCHEMA}/3aaaaaaaaaaaa"


def test_records_come_page_by_page_as_their_pds_holds_them(author: ATProtoClient) -> None:
    # A field of the record's own called like what `list_records` adds.
    uri = author.create_record(SCHEMA, {"name": "x", "uri": "its own", "cid": "too"})
    [stored] = author.iter_records(SCHEMA)
    assert (stored.uri, stored.value["uri"], stored.value["cid"]) == (uri, "its own", "too")
    assert stored == author.fetch_record(uri)
    [listed] = author.list_records(SCHEMA)
    assert (listed["uri"], listed["cid"]) == (uri, stored.cid)
    with pytest.raises(ValueError, match=r"^Not authenticated$"):
        ATProtoClient().iter_records(SCHEMA)
