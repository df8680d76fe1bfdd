"""`status`, `rebuild` and the rest: beside a running indexer, on a stopped one, or a clear no."""

import json
import os
from pathlib import Path

import pytest

from atdata_indexer.admin import SOCKET
from atdata_indexer.admin_client import AdminClient
from atdata_indexer.index.writer import current
from atdata_indexer.playback import recorded
from atdata_indexer.rates import Rates
from tests.appview import AppViewProcess, answer_of, operator, playing, settled, wait_until
from tests.asking import TRUTH, Api

COMMANDS = (["status"], ["verify"], ["rebuild"], ["backup", "copy"])


def test_status_tells_lag_rates_states_and_how_far_searches_see(tmp_path: Path) -> None:
    playback = recorded()
    with playing(playback) as host, AppViewProcess(tmp_path, host, command=["index"]) as process:
        client = AdminClient(tmp_path)
        wait_until(lambda: client.overview().rates)
        settled(client, playback)
        found = answer_of(operator(tmp_path, "status"))
        table = operator(tmp_path, "status", "--table").stdout
        assert process.stop() == 0
    assert found["running"]
    (source,) = found["sources"]
    assert source["connected"]
    assert source["lag_us"] > 0
    assert found["rates"].keys() >= {"frames", "commits", "records"}
    assert found["index_seq"] == found["census"]["head"] > 500
    publishing = {uri.split("/")[2] for uri in TRUTH["records"]}
    # The recording has no PDS to fetch what came before it.
    assert set(found["census"]["repos"]) == {"backfilling"}
    assert found["census"]["accounts"]["active"] == len(publishing)
    assert sum(found["census"]["quarantine"].values()) > 10
    for part in ("running", "lag", "frames", "maxLength", "active", f"at {found['index_seq']} of"):
        assert part in table

    stopped = answer_of(operator(tmp_path, "status", "--json"))
    assert not stopped["running"]
    assert stopped["census"] == found["census"]
    assert stopped["index_seq"] == found["index_seq"]
    assert "stopped" in operator(tmp_path, "status", "--table").stdout


def test_the_index_is_rebuilt_beside_a_running_indexer_while_searches_go_on(tmp_path: Path) -> None:
    playback = recorded()
    with (
        playing(playback) as host,
        AppViewProcess(tmp_path, host, command=["run"]) as process,
        Api(process.url) as api,
    ):
        client = AdminClient(tmp_path)
        settled(client, playback)
        before = {view["uri"] for view in api.walk("listDatasets")}
        generations = [current(tmp_path / "index")]
        for _ in range(3):
            made = answer_of(operator(tmp_path, "rebuild"))
            assert made["seq"] == client.head()
            assert {view["uri"] for view in api.walk("listDatasets")} == before
            generations.append(current(tmp_path / "index"))
        assert len(set(generations)) == 4
        kept = [path for path in (tmp_path / "index").iterdir() if path.is_dir()]
        assert {path.name for path in kept} == set(generations[-2:])
        assert made["documents"] == sum(
            api.ask("describeService")["counts"][kind] for kind in ("datasets", "schemas", "lenses")
        )
        assert answer_of(operator(tmp_path, "verify"))["surplus"]["count"] == 0
        assert process.stop() == 0


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
def test_a_directory_without_a_database_is_said_to_have_none(
    tmp_path: Path, command: list[str]
) -> None:
    done = operator(tmp_path / "nothing", *command)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "there is no database in" in done.stderr
    assert "ATDATA_APPVIEW_DATA_DIR" in done.stderr
    assert not (tmp_path / "nothing").exists()


def test_a_database_that_is_held_without_a_socket_is_said_to_be(tmp_path: Path) -> None:
    with playing(recorded()) as host, AppViewProcess(tmp_path, host, command=["index"]):
        (tmp_path / SOCKET).unlink()
        for command in COMMANDS:
            done = operator(tmp_path, *command)
            assert done.returncode == 3
            assert done.stdout == ""
            assert "Could not set lock on file" in done.stderr
            assert f"no answer on {tmp_path / SOCKET}" in done.stderr


def test_a_command_that_fails_in_the_indexer_says_why_and_the_indexer_goes_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").write_text("x")
    data = tmp_path / "data"
    with playing(recorded()) as host, AppViewProcess(data, host, command=["index"]) as process:
        done = operator(data, "backup", str(tmp_path / "taken"))
        assert done.returncode == 3
        assert "is not empty" in done.stderr
        assert AdminClient(data).head() >= 0
        assert process.stop() == 0


@pytest.mark.parametrize("workers", ["0", "-1", "x", "257"])
def test_a_number_of_workers_that_cannot_be_is_wrong_usage(workers: str, tmp_path: Path) -> None:
    done = operator(tmp_path, "serve", "--workers", workers)
    assert done.returncode == 2
    assert "--workers" in done.stderr


@pytest.mark.parametrize("name", sorted({"run", "index", "serve", "verify", "backup", "restore"}))
def test_every_server_command_has_a_help(name: str, tmp_path: Path) -> None:
    done = operator(tmp_path, name, "--help")
    assert done.returncode == 0
    assert f"atdata-appview {name}" in done.stdout
    assert "ATDATA_APPVIEW_DATA_DIR" in done.stdout


def test_rates_are_the_growth_over_the_last_minute() -> None:
    rates = Rates()
    assert rates.per_second() == {}
    for second in range(0, 200, 10):
        rates.note(second, {"frames": second * second, "commits": 5})
    found = rates.per_second()
    assert found == {"commits": 0.0, "frames": (190**2 - 130**2) / 60}
    rates.note(190, {"frames": 190 * 190, "new": 60, "commits": 5})
    assert rates.per_second()["new"] == 1.0


def test_json_is_one_line_for_pipes(tmp_path: Path) -> None:
    with playing(recorded()) as host, AppViewProcess(tmp_path, host, command=["index"]):
        shown = operator(tmp_path, "status").stdout
    assert shown.count(os.linesep) == 1
    assert json.loads(shown)["running"]
