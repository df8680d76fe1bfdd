"""getRecordStatus says of any record why it is, or is not, in the index."""

from collections.abc import Iterator
from typing import Any

import pytest

from atdata_api.server import AppView
from atdata_schemas.lexicon import lexicons
from atdata_schemas.syntax import AtUri, is_tid, micros, parse_datetime
from tests.asking import NS, TRUTH, Api

RECORDS = TRUTH["records"]
ACCOUNTS = TRUTH["accounts"]
GET = {"dataset": "getDataset", "schema": "getSchema", "lens": "getLens"}


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


def status(api: Api, uri: str) -> Any:
    """The whole answer, which is what the lexicon says and about the record asked for."""
    answer = api.ask("getRecordStatus", uri=uri)
    lexicons().check_output(f"{NS}.getRecordStatus", answer)
    assert answer.pop("uri") == uri
    return answer


def test_every_valid_record_is_indexed(api: Api) -> None:
    for uri, one in RECORDS.items():
        if one["valid"]:
            answer = status(api, uri)
            assert answer.keys() == {"status", "cid", "rev", "indexedAt", "verified"}
            assert answer["verified"] is True
            assert (answer["status"], answer["cid"]) == ("indexed", one["cid"])
            assert is_tid(answer["rev"])


def test_every_invalid_record_is_quarantined_with_rule_path_and_reason(api: Api) -> None:
    for uri, one in RECORDS.items():
        if not one["valid"]:
            answer = status(api, uri)
            assert answer["status"] == "quarantined"
            assert {name: answer.get(name) for name in ("cid", "rule", "path")} == {
                name: one[name] for name in ("cid", "rule", "path")
            }
            assert len(answer["reason"]) > 5
            assert is_tid(answer["rev"])
            assert micros(parse_datetime(answer["indexedAt"])) > 0


def test_records_of_hidden_accounts_say_no_more_than_why_the_account_is_hidden(api: Api) -> None:
    seen = set()
    for account in TRUTH["hidden"].values():
        if account["status"] == "deleted":
            continue
        seen.add(account["status"])
        for uri in account["records"]:
            assert status(api, uri) == {"status": "hidden", "accountStatus": account["status"]}
    assert seen == {"deactivated", "takendown"}


def test_records_of_a_deleted_account_are_deleted_without_a_trace(api: Api) -> None:
    (account,) = (one for one in TRUTH["hidden"].values() if one["status"] == "deleted")
    for uri in account["records"]:
        assert status(api, uri) == {"status": "deleted", "accountStatus": "deleted"}


def test_deleted_records_are_deleted(api: Api) -> None:
    cases = TRUTH["cases"]
    for uri in cases["deleted"] + cases["deleted_in_a_mixed_commit"]:
        answer = status(api, uri)
        assert answer.keys() == {"status", "rev"}
        assert answer["status"] == "deleted"
        assert is_tid(answer["rev"])


def test_the_newest_state_counts(api: Api) -> None:
    cases = TRUTH["cases"]
    wanted = {
        "valid_then_broken": "quarantined",
        "broken_then_mended": "indexed",
        "deleted_and_recreated": "indexed",
        "updated": "indexed",
        "updated_in_a_mixed_commit": "indexed",
        "created_in_a_mixed_commit": "indexed",
    }
    for case, state in wanted.items():
        assert {status(api, uri)["status"] for uri in cases[case]} == {state}
    for did in cases["hidden_for_a_while"]:
        theirs = [uri for uri, one in RECORDS.items() if one["valid"] and did in uri]
        assert {status(api, uri)["status"] for uri in theirs} == {"indexed"}


@pytest.mark.parametrize(
    "uri",
    [
        "at://did:plc:abcdefghijklmnopqrstuvwx/app.bsky.atdata.dataset/3lhzqk2mfd22s",
        "at://did:web:nowhere.example/app.bsky.atdata.lens/3lhzqk2mfd22s",
        f"at://{next(iter(ACCOUNTS))}/app.bsky.atdata.dataset/3lhzqk2mfd22s",
        f"at://{next(iter(ACCOUNTS))}/app.bsky.atdata.dataset",
        f"at://{next(iter(ACCOUNTS))}",
        f"{next(iter(RECORDS))}x",
        next(iter(RECORDS)).replace("atdata.schema", "atdata.lens"),
        next(iter(RECORDS)).replace("atdata", "atData"),
    ],
)
def test_anything_else_is_unseen(api: Api, uri: str) -> None:
    assert status(api, uri) == {"status": "unseen"}


def test_status_and_get_agree(api: Api) -> None:
    deleted = TRUTH["cases"]["deleted"]
    hidden = [uri for one in TRUTH["hidden"].values() for uri in one["records"]]
    for uri in [*list(RECORDS)[::7], *deleted, *hidden]:
        kind = AtUri.parse(uri).collection.rpartition(".")[2]
        code = api.query(GET[kind], uri=uri).status_code
        assert code == (200 if status(api, uri)["status"] == "indexed" else 404)
