"""Metrics are served on an address of their own, say what they are documented to, and are true."""

import re
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from atdata_api.metrics import Measured
from atdata_indexer.admin_client import AdminClient
from atdata_indexer.index.census import Census
from atdata_indexer.metrics import IndexerCollector
from atdata_indexer.overview import Overview
from atdata_indexer.playback import recorded
from tests.appview import AppViewProcess, playing, settled
from tests.asking import NS, TRUTH, Api

PAGE = (Path(__file__).parents[1] / "docs" / "operations.md").read_text("utf-8")
HTTP = "atdata_http_request_seconds"


def scraped(process: AppViewProcess) -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample by name and label values."""
    answer = httpx.get(process.wait_for_log("metrics")["url"])
    answer.raise_for_status()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                labels = tuple(value for key, value in sample.labels.items() if key != "le")
                found.setdefault(sample.name, {})[labels] = sample.value
    return found


def documented() -> dict[str, tuple[str, str]]:
    """The table of docs/operations.md: name to labels and meaning."""
    rows = re.findall(r"^\| `(atdata_\w+)` \| (.*?)\| (.*?) \|$", PAGE, re.MULTILINE)
    return {name: (labels.strip(), meaning) for name, labels, meaning in rows}


def test_the_page_lists_every_metric_with_its_labels_and_no_other() -> None:
    empty = Overview(True, 0, Census("", 0, {}, {}, {}, {}, {}), counts={"records": 0})
    registry = CollectorRegistry()
    Measured(lambda scope, receive, send: None, registry)  # type: ignore[arg-type, return-value]  # is not called
    given = {}
    for family in [*IndexerCollector(lambda: empty).collect(), *registry.collect()]:
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = getattr(family, "_labelnames", ())
        if name == HTTP:
            labels = ("query", "status")
        given[name] = (", ".join(f"`{label}`" for label in labels), family.documentation)
    assert documented() == given


def test_what_the_indexer_counts_is_scraped(tmp_path: Path) -> None:
    playback = recorded()
    with (
        playing(playback) as host,
        AppViewProcess(tmp_path, host, command=["index"], metrics_port=0) as process,
    ):
        client = AdminClient(tmp_path)
        overview = settled(client, playback)
        found = scraped(process)
        assert process.stop() == 0
    assert found["atdata_frames_total"] == {(): len(playback.frames)}
    assert 0 < found["atdata_events_total"][()] <= len(playback.frames)
    assert found["atdata_commits_total"][()] == overview.counts["commits"] > 100
    assert sum(found["atdata_records_total"].values()) == overview.counts["records"]
    assert found["atdata_records_total"].keys() >= {("create",), ("update",), ("quarantine",)}
    broken = sum(not one["valid"] for one in TRUTH["records"].values())
    assert sum(found["atdata_quarantined"].values()) == broken
    assert found["atdata_outbox_head"] == found["atdata_index_seq"] == {(): overview.census.head}
    assert found["atdata_waiting_bytes"] == {(): 0}
    assert found["atdata_repos"] == {(s,): n for s, n in overview.census.repos.items()}
    ((lag, connected),) = zip(
        found["atdata_lag_seconds"].values(), found["atdata_connected"].values(), strict=True
    )
    assert lag > 0
    assert connected == 1
    assert HTTP + "_count" not in found
    assert {name.removesuffix("_count") for name in found} <= documented().keys()


def test_requests_are_measured_by_query_and_status_and_strangers_invent_no_labels(
    tmp_path: Path,
) -> None:
    with (
        playing(recorded()) as host,
        AppViewProcess(tmp_path, host, metrics_port=0) as process,
        Api(process.url) as api,
    ):
        for _ in range(3):
            api.ask("searchDatasets", q="speech")
        assert api.query("searchDatasets", limit=0).status_code == 400
        for path in ("/xrpc/com.example.invented", "/invented", "/xrpc/com.example.more"):
            api.get(path)
        found = scraped(process)
        assert found[f"{HTTP}_count"] == {
            (f"{NS}.searchDatasets", "200"): 3,
            (f"{NS}.searchDatasets", "400"): 1,
            ("other", "404"): 1,
            ("other", "501"): 2,
        }
        assert all(seconds > 0 for seconds in found[f"{HTTP}_sum"].values())
        assert found["atdata_frames_total"][()] > 0
        assert process.stop() == 0


def test_the_requests_of_all_workers_are_summed(tmp_path: Path) -> None:
    with (
        playing(recorded()) as host,
        AppViewProcess(tmp_path, host, command=["index"]) as indexer,
        AppViewProcess(
            tmp_path, host, command=["serve", "--workers", "2"], metrics_port=0
        ) as process,
    ):
        for _ in range(20):
            with Api(process.url) as api:
                assert api.query("listTags").status_code == 200
        assert scraped(process)[f"{HTTP}_count"] == {(f"{NS}.listTags", "200"): 20}
        assert (process.stop(), indexer.stop()) == (0, 0)


def test_without_a_port_there_are_none(tmp_path: Path) -> None:
    with playing(recorded()) as host, AppViewProcess(tmp_path, host) as process:
        assert process.stop() == 0
        assert not [line for line in process.log if line.get("event") == "metrics"]
