"""What the README shows works as it stands: its code, its commands, its links."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from atdata_api.server import AppView

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)( no-run)?\n(.*?)```", README, re.DOTALL)
PYTHON = [code for language, skip, code in BLOCKS if language == "python" and not skip]
COMMANDS = [
    line.partition("#")[0].strip()
    for language, _, code in BLOCKS
    if language == "console"
    for line in code.splitlines()
]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def run(command: list[str], view: AppView, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "ATDATA_APPVIEW_URL": view.url},
    )


@pytest.mark.parametrize("code", PYTHON)
def test_its_python_runs(code: str, recorded_appview: AppView, tmp_path: Path) -> None:
    done = run([sys.executable, "-c", code], recorded_appview, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 3


@pytest.mark.parametrize("code", [code for language, skip, code in BLOCKS if skip])
def test_its_other_python_is_python(code: str) -> None:
    compile(code, "README.md", "exec")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_its_make_targets_exist(command: str) -> None:
    assert command.split()[1] in TARGETS


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("atdata-appview ")])
def test_its_commands_answer(command: str, recorded_appview: AppView, tmp_path: Path) -> None:
    program, *arguments = shlex.split(command)
    done = run([str(Path(sys.executable).parent / program), *arguments], recorded_appview, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 3


def test_every_console_line_is_one_of_these() -> None:
    assert PYTHON
    assert {command.split()[0] for command in COMMANDS} == {"make", "atdata-appview"}


def test_its_links_lead_somewhere() -> None:
    text = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_tests_that_the_invariants_name_exist() -> None:
    page = (ROOT / "docs" / "invariants.md").read_text("utf-8")
    named = re.findall(r"`(tests/[a-z0-9_]+\.py)`", page)
    assert len(named) >= 10
    for name in named:
        assert (ROOT / name).exists(), name
