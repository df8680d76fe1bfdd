"""getRecord says which parameter nothing was found by, and what is there instead."""

from collections.abc import Iterator

import pytest

from atdata_api.server import AppView
from tests.asking import NS, TRUTH, Api, uris_of

DATASET = uris_of("dataset")[0]
DID, COLLECTION, RKEY = DATASET.removeprefix("at://").split("/")
CID = "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454"


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"repo": "nobody.test"}, "repo: no account in the index is nobody.test"),
        (
            {"collection": "app.bsky.feed.post"},
            "collection: records of app.bsky.feed.post are not indexed",
        ),
        (
            {"rkey": "3kaaaaaaaaaa2"},
            f"at://{DID}/{COLLECTION}/3kaaaaaaaaaa2 is not in the index; getRecordStatus says why",
        ),
        ({"cid": CID}, f"cid: the index has {DATASET} as {TRUTH['records'][DATASET]['cid']} only"),
    ],
)
def test_what_is_missing_is_named(api: Api, other: dict[str, str], message: str) -> None:
    asked = {"repo": DID, "collection": COLLECTION, "rkey": RKEY}
    path = "/xrpc/com.atproto.repo.getRecord"
    assert api.get(path, params=asked).json()["uri"] == DATASET
    answer = api.get(path, params=asked | other)
    assert answer.status_code == 400
    assert answer.json() == {"error": "RecordNotFound", "message": message}


def test_a_dataset_that_cannot_be_described_as_croissant_says_why(api: Api) -> None:
    schema = uris_of("schema")[0].removeprefix("at://")
    answer = api.get(f"/at/{schema}", params={"format": "croissant"})
    assert answer.status_code == 404
    assert answer.json()["message"] == "format: Croissant describes datasets; this is a schema"
    answer = api.get(f"/at/{schema}", params={"format": "xls"})
    assert answer.json()["message"] == "format: none of html, json, croissant"


def test_records_of_nobody_are_none(api: Api) -> None:
    asked = {"repo": "nobody.test", "collection": f"{NS}.dataset"}
    assert api.get("/xrpc/com.atproto.repo.listRecords", params=asked).json() == {"records": []}
