"""`serve` answers searches from the index alone, and asks the indexer for the rest."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from atdata_indexer.playback import recorded
from tests.appview import AppViewProcess, playing, wait_until
from tests.asking import NS, Api, uris_of
from tests.builders import recorded_frames

DATASET = uris_of("dataset")[0]


@pytest.fixture
def host() -> Iterator[str]:
    with playing(recorded()) as host:
        yield host


def index(data_dir: Path, host: str) -> AppViewProcess:
    return AppViewProcess(data_dir, host, command=["index"])


def serve(data_dir: Path, host: str, *arguments: str) -> AppViewProcess:
    return AppViewProcess(data_dir, host, command=["serve", *arguments])


def answers(api: Api, name: str, **params: str) -> bool:
    """Whether a query is answered; while it is not, it must say that it cannot be, or not yet."""
    try:
        response = api.query(name, **params)
    except httpx.TransportError:  # a worker that has not begun
        return False
    if response.status_code != 200:
        said = response.status_code, response.json()["error"]
        not_now = {(503, "IndexerUnavailable"), (503, "IndexUnavailable"), (404, "NotFound")}
        assert said in not_now, response.text
    return response.status_code == 200


def unavailable(api: Api, name: str, **params: str) -> None:
    response = api.query(name, **params)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["error"] == "IndexerUnavailable"
    assert body["message"]


def test_searches_go_on_while_the_indexer_is_killed_and_the_rest_comes_back_with_it(
    tmp_path: Path, host: str
) -> None:
    with serve(tmp_path, host) as server, Api(server.url) as api:
        with index(tmp_path, host) as indexer:
            wait_until(lambda: answers(api, "getDataset", uri=DATASET))
            wait_until(lambda: api.ask("describeService")["index"]["pending"] == 0)
            assert api.ask("getRecordStatus", uri=DATASET)["status"] == "indexed"
            before = api.ask("searchDatasets", q="speech")
            indexer.kill()
        for _ in range(3):
            unavailable(api, "getRecordStatus", uri=DATASET)
            unavailable(api, "describeService")
            assert api.ask("searchDatasets", q="speech")["hitsTotal"] >= before["hitsTotal"]
            assert api.get("/xrpc/_health").status_code == 200
        with index(tmp_path, host) as indexer:
            wait_until(lambda: answers(api, "getRecordStatus", uri=DATASET))
            assert api.ask("describeService")["sources"]
            assert indexer.stop() == 0
        unavailable(api, "getRecordStatus", uri=DATASET)
        assert server.stop() == 0


def test_without_any_index_it_starts_and_says_so_until_there_is_one(
    tmp_path: Path, host: str
) -> None:
    with serve(tmp_path, host) as server, Api(server.url) as api:
        wait_until(lambda: not answers(api, "listDatasets"))
        assert api.query("listDatasets").json()["error"] == "IndexUnavailable"
        with index(tmp_path, host):
            wait_until(lambda: answers(api, "getDataset", uri=DATASET))


def test_what_the_indexer_writes_is_found_within_a_moment(tmp_path: Path) -> None:
    playback = recorded()
    last = [frame for _, frame in playback.frames[-400:]]
    del playback.frames[-400:]
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(playback.serve()) as host,
        index(tmp_path, host),
        serve(tmp_path, host) as server,
        Api(server.url) as api,
    ):
        wait_until(lambda: answers(api, "listDatasets"))
        wait_until(lambda: api.ask("describeService")["sources"][0]["cursor"] == playback.last_seq)
        seq = api.ask("describeService")["index"]["seq"]
        for frame in last:
            portal.call(playback.append, frame)
        wait_until(lambda: api.ask("describeService")["index"]["seq"] > seq)
    assert len(playback.frames) == len(recorded_frames())


def test_several_workers_share_one_port_and_a_dead_one_is_replaced(
    tmp_path: Path, host: str
) -> None:
    with (
        index(tmp_path, host),
        serve(tmp_path, host, "--workers", "2") as server,
        Api(server.url) as api,
    ):
        wait_until(lambda: answers(api, "getDataset", uri=DATASET))
        wait_until(lambda: len(workers_of(server.pid)) == 2)
        first = workers_of(server.pid)
        os.kill(first[0], signal.SIGKILL)
        server.wait_for_log("worker_died")
        for _ in range(20):
            with Api(server.url) as other:  # a connection of its own, to whichever worker takes it
                assert other.ask("getDataset", uri=DATASET)["dataset"]["uri"] == DATASET
        wait_until(lambda: len(set(workers_of(server.pid)) - set(first)) == 1)
        everyone = workers_of(server.pid)
        assert server.stop() == 0
        assert not [pid for pid in everyone if Path(f"/proc/{pid}").exists()]


def test_workers_end_when_their_parent_is_killed(tmp_path: Path, host: str) -> None:
    with serve(tmp_path, host, "--workers", "2") as server:
        wait_until(lambda: len(workers_of(server.pid)) == 2)
        with Api(server.url) as api:
            wait_until(lambda: not answers(api, "listTags"))
        everyone = workers_of(server.pid)
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not [pid for pid in everyone if _runs(pid)])


def test_every_query_that_asks_the_indexer_is_named_in_the_reference() -> None:
    page = (Path(__file__).parents[1] / "docs" / "queries.md").read_text("utf-8")
    head = page.partition("## ")[0]
    assert "`IndexerUnavailable` (503)" in head
    assert all(name in head for name in ("getRecordStatus", "describeService"))
    assert f"## {NS}.getRecordStatus" in page


def workers_of(pid: int) -> list[int]:
    """The worker processes of `serve` (its children but for multiprocessing's own helper)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
