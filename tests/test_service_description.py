"""describeService and _health tell what the service holds, how far it is and whether it works."""

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from atdata_api.server import AppView
from atdata_indexer.playback import Playback, recorded
from atdata_schemas.records import COLLECTIONS
from tests.appview import serving
from tests.asking import NS, TRUTH, Api


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


@pytest.fixture(scope="module")
def description(api: Api) -> Any:
    return api.ask("describeService")


def test_the_counts_are_those_of_the_network(description: Any) -> None:
    records = TRUTH["counts"]
    publishing = {uri.split("/")[2] for uri in TRUTH["records"]}
    assert description["counts"] == {
        "datasets": records["dataset"]["valid"],
        "schemas": records["schema"]["valid"],
        "lenses": records["lens"]["valid"],
        "quarantined": sum(one["invalid"] for one in records.values()),
        "accounts": len(publishing),
    }


def test_the_counts_are_what_can_be_found(api: Api, description: Any) -> None:
    found = {name: len(api.walk(f"list{name.capitalize()}")) for name in _LISTED}
    assert found.items() <= description["counts"].items()


_LISTED = ("datasets", "schemas", "lenses")


def test_it_says_what_it_is_and_what_it_indexes(description: Any) -> None:
    assert description["version"] == version("atdata-appview")
    assert {f"{NS}.{kind}" for kind in TRUTH["counts"]} < set(description["collections"])
    assert set(description["collections"]) == set(COLLECTIONS)


def test_the_source_is_followed_to_its_end(description: Any, recorded_appview: AppView) -> None:
    (source,) = description["sources"]
    assert source["name"].startswith("ws://127.0.0.1:")
    assert source["connected"] is True
    assert source["cursor"] == recorded().last_seq
    assert source["lagMs"] > 0


def test_nothing_is_pending_once_everything_is_searchable(description: Any) -> None:
    assert description["index"]["pending"] == 0
    assert description["index"]["seq"] > len(TRUTH["records"])


def test_a_service_that_holds_nothing_says_so(tmp_path: Path) -> None:
    foreign = recorded().frames[0][1]  # an account that never publishes anything of ours
    with serving(Playback([foreign], {}), tmp_path) as view, Api(view.url) as api:
        description = api.ask("describeService")
        assert set(description["counts"].values()) == {0}
        assert description["index"] == {"seq": 0, "pending": 0}
        assert api.ask("listTags") == {"tags": []}
        nothing = {"hitsTotal": 0, "hitsTotalIsBound": False, "datasets": []}
        assert api.ask("searchDatasets", q="whale") == nothing


def test_health_names_the_version(api: Api) -> None:
    response = api.get("/xrpc/_health")
    assert response.status_code == 200
    assert response.json() == {"version": version("atdata-appview")}


def test_health_fails_while_the_index_directory_is_gone(tmp_path: Path) -> None:
    with serving(recorded(), tmp_path) as view, Api(view.url) as api:
        total = api.ask("searchDatasets", q="image")["hitsTotal"]
        (tmp_path / "index").rename(tmp_path / "elsewhere")
        response = api.get("/xrpc/_health")
        assert response.status_code == 503
        assert response.json()["error"] == "IndexUnavailable"
        assert api.ask("searchDatasets", q="image")["hitsTotal"] == total, "what is open is served"
        (tmp_path / "elsewhere").rename(tmp_path / "index")
        assert api.get("/xrpc/_health").status_code == 200


def test_counts_leave_out_what_is_not_a_record(api: Api, recorded_appview: AppView) -> None:
    """The sentinel is a document like others, and the only one that is no record."""
    reader = recorded_appview.indexer.reader
    assert Counter(reader.counts()) == Counter(
        {kind: one["valid"] for kind, one in TRUTH["counts"].items()}
    )
