"""docs/client.md works as it stands: its code, its commands, its variables, its links.

What publishes runs as one program, from top to bottom, with a real PDS and an index that follows
it; what asks the index runs by itself, as in tests/test_readme.py. Only addresses and the account
are others than the page says.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import atdata
import pytest

import atdata_client
from atdata_api.server import AppView
from atdata_client import errors
from atdata_client.cli import EXIT_CODES
from tests.following import following
from tests.left_open import closed_at_the_end
from tests.logged_in import made_default
from tests.real_pds import RealPds

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "client.md").read_text("utf-8")
METHODS = ("publish_to_atproto", "from_atproto")


def blocks(page: str) -> list[str]:
    """The Python of a page; each at its own line, so that a traceback leads there."""
    found = re.finditer(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return ["\n" * page.count("\n", 0, block.start(1)) + block[1] for block in found]


ASKING = PAGE.index("\n## Ask the index")
PROGRAM = blocks(PAGE[:ASKING])
ALONE = [code.lstrip("\n") for code in blocks(PAGE[ASKING:])]


@pytest.fixture
def atdata_as_it_was() -> Iterator[None]:
    """Lenses are registered, and methods added, for the whole process."""
    lenses = atdata.LensNetwork()._registry
    before, held = dict(lenses), set(vars(atdata.Dataset))
    yield
    lenses.clear()
    lenses.update(before)
    for name in set(vars(atdata.Dataset)) - held:
        delattr(atdata.Dataset, name)


@pytest.mark.usefixtures("atdata_as_it_was")
def test_its_program_runs_from_top_to_bottom(
    pds: RealPds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = pds.create_account()
    said = {
        "alice.example.com": account.handle,
        "an app password": account.password,
        "https://data.example.com": str(tmp_path),
    }
    made_default(pds, monkeypatch)
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    names: dict[str, Any] = {
        "__name__": "client_md",
        "print": lambda *words: told.append(" ".join(map(str, words))),
    }
    with following(pds, tmp_path / "index") as index, closed_at_the_end(names):
        monkeypatch.setenv("ATDATA_APPVIEW_URL", index.url)
        for code in PROGRAM:
            for words, ours in said.items():
                code = code.replace(words, ours)
            exec(compile(code, "docs/client.md", "exec"), names)  # noqa: S102  # our own page
    assert all(words in PAGE for words in said)
    assert told[0] == f"Photos of garden birds by {account.handle}"
    assert told[1:] == [f"bird {number} (4, 5, 3) uint8" for number in range(6)]
    compile((tmp_path / "photo.py").read_text("utf-8"), "photo.py", "exec")
    assert len(list((tmp_path / "schemas").glob("*.json"))) == 2
    assert not (tmp_path / "photos.journal").exists()


@pytest.mark.parametrize("code", ALONE)
def test_its_questions_are_answered(code: str, recorded_appview: AppView, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "ATDATA_APPVIEW_URL": recorded_appview.url},
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2


def test_every_python_block_is_one_of_these() -> None:
    assert len(PROGRAM) >= 8
    assert len(ALONE) == 2
    assert len(PROGRAM) + len(ALONE) == PAGE.count("```python")


def test_it_names_every_class_and_function_of_the_design() -> None:
    design = (ROOT / "docs" / "python-client-architecture.md").read_text("utf-8")
    exports = ast.literal_eval(re.findall(r"__all__ = (\[.*?\])", design, re.DOTALL)[0])
    for name in [*exports, "publish_many", "extend_atdata", "SchemaRegistry", "LensLoader"]:
        assert name in atdata_client.__all__, name
        assert name in PAGE, name


def test_it_names_only_errors_that_there_are() -> None:
    section = PAGE[PAGE.index("## Errors") : PAGE.index("## Command line")]
    named = set(re.findall(r"`([A-Z]\w+)`", section))
    assert len(named) >= 12
    assert named <= set(errors.__all__)


def test_its_exit_codes_are_those_of_the_help() -> None:
    told = dict(re.findall(r"(\d) ([^;.]+)", EXIT_CODES.replace("\n", " ")))
    table = dict(re.findall(r"^\| (\d) \| (.+?) \|$", PAGE, re.MULTILINE))
    assert told.keys() == table.keys() == {"0", "1", "2", "3"}
    for code, words in table.items():
        assert told[code].split()[0] == words.split()[0].rstrip(":,")


def test_its_variables_are_those_the_client_reads() -> None:
    source = "".join(file.read_text("utf-8") for file in (ROOT / "client").rglob("*.py"))
    read = set(re.findall(r"ATDATA_APPVIEW_[A-Z_]+", source))
    assert read == set(re.findall(r"ATDATA_APPVIEW_[A-Z_]+", PAGE))


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
    assert links
    for link in links:
        assert (ROOT / "docs" / link).exists(), link
