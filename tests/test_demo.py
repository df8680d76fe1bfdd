"""`DEMO_EXIT=1 make demo`: indexes the recorded network, searches it, prints tables, exits 0."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [str(Path(sys.executable).parent / "atdata-appview"), "demo"]


def test_it_prints_five_tables_and_exits() -> None:
    done = subprocess.run(
        PROGRAM, capture_output=True, text=True, env={**os.environ, "DEMO_EXIT": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" found)") == 5
    assert "helixworks.test" in done.stdout
    assert "fewer than" not in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_with_its_address_printed_until_it_is_told_to_end(number: int) -> None:
    with subprocess.Popen(
        PROGRAM, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "The API stays up at http://127.0.0.1:" in line:
                break
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(60) == 0


def test_a_bad_setting_is_named_before_anything_starts() -> None:
    done = subprocess.run(
        PROGRAM,
        capture_output=True,
        text=True,
        env={**os.environ, "ATDATA_APPVIEW_BATCH_MS": "soon"},
    )
    assert done.returncode == 2
    assert "ATDATA_APPVIEW_BATCH_MS: " in done.stderr
