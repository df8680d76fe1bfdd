"""Replaying the recording leaves exactly the PDS's own final records."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.playback import recorded
from tests.appview import indexing
from tests.contents import quarantined, searchable, stored

TRUTH = json.loads((Path(__file__).parent / "fixtures" / "recording-truth.json").read_text("utf-8"))


@pytest.fixture(scope="module")
async def replayed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    async with indexing(recorded(), tmp_path_factory.mktemp("replay")) as indexer:
        yield {
            "views": searchable(indexer.reader),
            "rows": stored(indexer.store),
            "quarantine": quarantined(indexer.store),
            "counts": dict(indexer.counts),
            "kinds": indexer.reader.counts(),
        }


async def test_every_valid_record_of_an_active_account_is_found_with_its_cid(replayed: Any) -> None:
    wanted = {uri: one["cid"] for uri, one in TRUTH["records"].items() if one["valid"]}
    assert {uri: view["cid"] for uri, view in replayed["views"].items()} == wanted


async def test_every_invalid_record_is_in_quarantine_under_its_rule(replayed: Any) -> None:
    wanted = {
        uri: (one["rule"], one["path"], one["cid"])
        for uri, one in TRUTH["records"].items()
        if not one["valid"]
    }
    found = {
        uri: (one["rule"], one["path"], one["cid"]) for uri, one in replayed["quarantine"].items()
    }
    assert found == wanted


async def test_hidden_accounts_keep_their_rows_and_deleted_ones_do_not(replayed: Any) -> None:
    for account in TRUTH["hidden"].values():
        for uri, one in account["records"].items():
            if account["status"] == "deleted":
                assert uri not in replayed["rows"]
            else:
                assert replayed["rows"][uri][1] == one["cid"]
                assert uri not in replayed["views"]


async def test_the_counts_are_those_of_the_recording(replayed: Any) -> None:
    assert replayed["kinds"] == {"dataset": 247, "schema": 94, "lens": 40}
    rules = Counter(one["rule"] for one in replayed["quarantine"].values())
    assert rules == Counter(one["rule"] for one in TRUTH["records"].values() if not one["valid"])
    assert rules.total() == 98
    assert replayed["counts"]["records_delete"] == 16
    assert "gaps" not in replayed["counts"] or replayed["counts"]["gaps"] == 0


async def test_authors_show_the_handle_they_ended_with(replayed: Any) -> None:
    handles = {view["author"]["handle"] for view in replayed["views"].values()}
    assert "framestack-lab.test" in handles
    assert "framestack.test" not in handles
    assert "handle.invalid" not in handles
