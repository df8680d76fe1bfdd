"""An author writes to a real PDS while the indexer is killed over and over: nothing is missing."""

import random
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from atdata_client import IndexClient
from atdata_schemas.records import DATASET_NSID
from tests.appview import AppViewProcess, wait_until
from tests.real_pds import Account, RealPds
from tests.signed import SCHEMA_URI


def dataset(number: int) -> dict[str, object]:
    return {
        "$type": DATASET_NSID,
        "name": f"Dataset {number}",
        "schemaRef": SCHEMA_URI,
        "urls": [f"https://data.example/{number}.tar"],
        "createdAt": "2026-01-02T03:04:05.000Z",
    }


class Writer(threading.Thread):
    """Writes records one by one, some of them changed or deleted again; `count` of them so far."""

    def __init__(self, pds: RealPds, author: Account, records: int) -> None:
        super().__init__()
        self._records = records
        self._pds = pds
        self._author = author
        self._turn = threading.Semaphore(0)
        self.count = 0
        self.failure: BaseException | None = None

    def allow(self, more: int) -> None:
        for _ in range(more):
            self._turn.release()

    def has_written(self, records: int) -> bool:
        return self.count >= records

    def run(self) -> None:
        try:
            self._write()
        except BaseException as failure:
            self.failure = failure

    def _write(self) -> None:
        rkeys: list[str] = []
        for number in range(self._records):
            self._turn.acquire()
            made = self._call("createRecord", record=dataset(number))
            rkeys.append(str(made["uri"]).rpartition("/")[2])
            if number % 10 == 3:
                self._call("putRecord", rkey=rkeys[-2], record=dataset(self._records + number))
            if number % 10 == 7:
                self._call("deleteRecord", rkey=rkeys.pop(0))
            self.count += 1

    def _call(self, method: str, **body: object) -> Mapping[str, object]:
        about = {"repo": self._author.did, "collection": DATASET_NSID}
        return self._pds.post(
            f"com.atproto.repo.{method}", about | body, token=self._author.access_jwt
        )


def listed(pds: RealPds, did: str) -> dict[str, str]:
    """URI and CID of what the PDS holds."""
    found: dict[str, str] = {}
    params: dict[str, str | int] = {"repo": did, "collection": DATASET_NSID, "limit": 100}
    while True:
        page = pds.get("com.atproto.repo.listRecords", params)
        found |= {one["uri"]: one["cid"] for one in page["records"]}
        if "cursor" not in page:
            return found
        params["cursor"] = page["cursor"]


@pytest.mark.parametrize(
    ("records", "kills"), [(100, 4), pytest.param(500, 20, marks=pytest.mark.long)]
)
def test_many_records_and_kills_end_as_the_pds_lists_them(
    pds: RealPds, tmp_path: Path, records: int, kills: int
) -> None:
    host = pds.url.removeprefix("http://")
    author = pds.create_account()
    writer = Writer(pds, author, records)
    writer.start()
    chance = random.Random(20)
    for kill in range(1, kills + 1):
        with AppViewProcess(
            tmp_path, host, command=["index"], plc_url=pds.plc, backfill=True
        ) as process:
            # Some writes meet a running indexer, some a dead one.
            share = records // kills
            enough = writer.count + chance.randrange(share)
            writer.allow(share)
            wait_until(partial(writer.has_written, enough))
            process.kill()
            assert process.exit_code == -9, f"kill {kill} did not happen"
    writer.join()
    assert writer.failure is None
    assert writer.count == records
    truth = listed(pds, author.did)
    assert len(truth) > records // 2
    with AppViewProcess(tmp_path, host, plc_url=pds.plc, backfill=True) as process:
        with IndexClient(process.url) as index:
            wait_until(
                lambda: truth == {v.uri: v.cid for v in index.list_datasets(author=author.did)}
            )
        assert process.stop() == 0
