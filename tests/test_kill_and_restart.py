"""`kill -9` at any moment, then a restart: the index ends as if nothing had happened."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal

from atdata_indexer.playback import Playback, recorded
from tests.appview import PATIENCE_S, AppViewProcess

TRUTH = json.loads((Path(__file__).parent / "fixtures" / "recording-truth.json").read_text("utf-8"))


@contextmanager
def playing(playback: Playback) -> Iterator[str]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(playback.serve()) as host,
    ):
        yield host


def ask(url: str, name: str, **params: Any) -> Any:
    answer = httpx.get(f"{url}/xrpc/app.bsky.atdata.{name}", params=params, timeout=PATIENCE_S)
    answer.raise_for_status()
    return answer.json()


def wait_until(url: str, cursor: int) -> dict[str, Any]:
    """The service's description once its cursor has reached `cursor`."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        about: dict[str, Any] = ask(url, "describeService")
        if about["sources"][0].get("cursor", -1) >= cursor and not about["index"]["pending"]:
            return about
    raise AssertionError(f"cursor {cursor} was not reached: {about}")


def every(url: str, name: str, key: str) -> dict[str, str]:
    found: dict[str, str] = {}
    cursor: dict[str, str] = {}
    while True:
        page = ask(url, name, limit=100, **cursor)
        found |= {view["uri"]: view["cid"] for view in page[key]}
        if "cursor" not in page:
            return found
        cursor = {"cursor": page["cursor"]}


def test_an_index_killed_many_times_under_load_ends_as_the_pds(tmp_path: Path) -> None:
    playback = recorded()
    kills, cursors = 0, []
    with playing(playback) as host:
        for target in range(1, playback.last_seq, playback.last_seq // 6):
            with AppViewProcess(tmp_path, host, batch_ms=1, batch_events=7) as process:
                about = wait_until(process.url, target)
                process.kill()
                kills += 1
                cursors.append(about["sources"][0]["cursor"])
        with AppViewProcess(tmp_path, host) as process:
            wait_until(process.url, playback.last_seq)
            held = {
                **every(process.url, "listDatasets", "datasets"),
                **every(process.url, "listSchemas", "schemas"),
                **every(process.url, "listLenses", "lenses"),
            }
            assert process.stop() == 0
    assert kills >= 6
    assert any(0 < cursor < playback.last_seq for cursor in cursors)
    wanted = {uri: one["cid"] for uri, one in TRUTH["records"].items() if one["valid"]}
    assert held == wanted
