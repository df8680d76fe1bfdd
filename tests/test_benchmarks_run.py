"""The benchmarks run, and end with the figures they promise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import postgres
from tests import real_pds
from tests.appview import PATIENCE_S
from tests.conftest import require

ROOT = Path(__file__).parent.parent


def figures_of(benchmark: str, *options: str) -> dict[str, float]:
    """The JSON object that a benchmark ends with."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def need_postgres() -> None:
    reason = postgres.missing()
    require(reason is None, str(reason))


def test_firehose_ends_with_its_figures_and_finds_every_change() -> None:
    figures = figures_of("firehose", "--frames", "2000", "--rounds", "1")
    assert {"frames_per_s", "bare_frames_per_s", "sdk_frames_per_s"} <= figures.keys()
    assert {"ratio_to_bare", "ratio_to_sdk"} <= figures.keys()
    assert figures["expected_ops"] == figures["got_ops"] > 0
    assert all(value > 0 for value in figures.values())


def test_ingest_ends_with_its_figures() -> None:
    need_postgres()
    figures = figures_of("ingest", "--records", "60", "--rounds", "1")
    assert list(figures) == [
        "records_per_s",
        "verified_records_per_s",
        "row_at_a_time_records_per_s",
        "ratio",
        "rss_mb",
    ]
    assert all(value > 0 for value in figures.values())


def test_freshness_ends_with_its_figures() -> None:
    figures = figures_of("freshness", "--records", "5", "--rate", "50")
    assert list(figures) == ["p50_ms", "p95_ms", "p99_ms", "n"]
    assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
    assert figures["n"] == 5


def test_backfill_ends_with_its_figures_and_misses_nothing() -> None:
    figures = figures_of("backfill", "--repos", "90", "--kills", "2")
    assert list(figures) == ["repos_per_s", "records_per_s", "expected", "killed", "missing"]
    assert figures["missing"] == 0
    assert figures["killed"] >= 2
    assert figures["expected"] > 90


def test_the_client_ends_with_its_figures_and_finds_what_listing_finds() -> None:
    reason = real_pds.missing()
    require(reason is None, str(reason))
    few = ("--authors", "2", "--datasets", "5", "--rounds", "1", "--imports", "3")
    figures = figures_of("client", *few)
    assert list(figures) == [
        "import_ms",
        "python_ms",
        "thin_install_mb",
        "search_ms",
        "listrecords_ms",
        "ratio",
    ]
    assert 0 < figures["python_ms"] < figures["import_ms"] < figures["python_ms"] + 60
    assert 10 < figures["thin_install_mb"] < 100
    assert figures["listrecords_ms"] > figures["search_ms"] > 0


def test_the_throw_away_postgres_is_durable_and_leaves_nothing_behind() -> None:
    need_postgres()
    with postgres.running() as connection:
        settings = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
        assert settings["fsync"] == settings["synchronous_commit"] == "on"
        assert settings["listen_addresses"] == ""
        data = Path(settings["data_directory"])
        server = int((data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(server, 0)
    assert not data.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
