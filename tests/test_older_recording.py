"""The two older recordings of the real PDS end in one and the same state, all of it accounted for.

`frames-replay.bin` is the stream of `frames.bin` as it was replayed after one account's deletion
had purged that account's earlier events.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.playback import Playback
from atdata_indexer.sources.replay import read_recording
from atdata_schemas.records import KINDS
from tests.appview import indexing
from tests.contents import everything

PROTOCOL = Path(__file__).parent / "fixtures" / "protocol"
TRUTH = json.loads((PROTOCOL / "frames-truth.json").read_text("utf-8"))
RECORDS = {
    uri: cid for account in TRUTH["accounts"].values() for uri, cid in account["records"].items()
}
IDENTITIES = {
    account["did"]: {
        "handle": account["didDoc"]["alsoKnownAs"][0].removeprefix("at://"),
        "didDoc": account["didDoc"],
    }
    for account in TRUTH["accounts"].values()
    if account["didDoc"].get("alsoKnownAs")
}


@pytest.fixture(scope="module")
async def ends(tmp_path_factory: pytest.TempPathFactory) -> Any:
    states = []
    for name in ("frames.bin", "frames-replay.bin"):
        playback = Playback(list(read_recording(PROTOCOL / name)), IDENTITIES)
        folder = tmp_path_factory.mktemp(name)
        async with indexing(playback, folder, account_quarantine=1000) as indexer:
            states.append(everything(indexer))
    return states


async def test_both_end_in_the_same_rows_quarantine_and_documents(ends: Any) -> None:
    assert ends[0] == ends[1]


async def test_each_record_of_the_truth_is_indexed_or_quarantined_with_its_reason(
    ends: Any,
) -> None:
    rows, quarantine, views = ends[0]
    assert len(RECORDS) == 370
    ours = {uri: cid for uri, cid in RECORDS.items() if uri.split("/")[3] in KINDS}
    for uri, cid in ours.items():
        assert rows[uri][1] == cid
        if uri in views:
            assert views[uri]["cid"] == cid
        else:
            assert quarantine[uri]["cid"] == cid
            assert quarantine[uri]["rule"]
            assert quarantine[uri]["reason"]
    live = {uri for uri, row in rows.items() if row[0] != "deleted"}
    assert live == set(ours)
    assert (len(views), len(quarantine), len(RECORDS) - len(ours)) == (15, 340, 15)
