"""The base install is the thin client: small, quick to import, complete without the server."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from atdata_api.server import AppView
from atdata_client import cli
from tests.canned_index import canned_index, dataset_view, page
from tests.conftest import require
from tests.real_pds import RealPds

ROOT = Path(__file__).parents[1]
SERVER_PARTS = {"duckdb", "fastapi", "tantivy", "atdata", "uvicorn", "pyarrow", "numpy", "pandas"}
NO_INDEX = ("Could not find a version", "No matching distribution", "ConnectionError")


class Install:
    """The environment: its folder, and programs run in it with nothing of this process's own."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"

    def run(
        self, program: str, *arguments: str, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        foreign = ("PYTHON", "VIRTUAL_ENV", "ATDATA_APPVIEW_")
        clean = {key: text for key, text in os.environ.items() if not key.startswith(foreign)}
        return subprocess.run(
            [self.bin / program, *arguments],
            capture_output=True,
            text=True,
            cwd=cwd or self.bin,
            env=clean | environment,
            check=False,
        )

    def python(self, code: str) -> str:
        """What a program prints."""
        done = self.run("python", "-I", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory) -> Install:
    """`pip install .` in an empty environment."""
    folder = tmp_path_factory.mktemp("thin")
    subprocess.run([sys.executable, "-I", "-m", "venv", folder], check=True)
    install = Install(folder)
    constraints = ROOT / "constraints.txt"
    done = install.run("pip", "install", "--quiet", str(ROOT), "--constraint", str(constraints))
    offline = done.returncode != 0 and any(word in done.stderr for word in NO_INDEX)
    require(not offline, f"pip finds no packages: {done.stderr[-500:]}")
    assert done.returncode == 0, done.stderr
    return install


def loaded_by(install: Install, code: str, modules: Sequence[str]) -> list[str]:
    """Those of `modules` that `code` imports."""
    check = (
        f"import json, sys\n{code}\nprint(json.dumps([m for m in {modules!r} if m in sys.modules]))"
    )
    loaded: list[str] = json.loads(install.python(check))
    return loaded


def test_it_holds_no_part_of_the_server_nor_atdata(thin: Install) -> None:
    names = thin.python(
        "from importlib.metadata import distributions\n"
        "for found in distributions(): print(found.metadata['Name'].lower())"
    ).split()
    assert "atdata-appview" in names
    assert not SERVER_PARTS & set(names)


def test_importing_it_imports_nothing_heavy(thin: Install) -> None:
    heavy = ["atproto", "atproto_client", "atdata", "httpx", "numpy", "pydantic", "typer", "rich"]
    heavy += ["msgpack", "stamina", "asyncio", "atdata_indexer", "atdata_api"]
    assert loaded_by(thin, "import atdata_client", heavy) == []
    assert loaded_by(thin, "from atdata_client import *", heavy) == []
    assert (
        loaded_by(thin, "from atdata_client import *; IndexClient(); ATProtoClient()", heavy) == []
    )


def test_asking_the_index_imports_neither_atproto_nor_atdata(thin: Install) -> None:
    with canned_index(page(dataset_view())) as canned:
        search = f"list(atdata_client.IndexClient({canned.url!r}).search_datasets('x'))"
        code = f"import atdata_client; {search}"
        assert loaded_by(thin, code, ["atproto", "atdata", "httpx"]) == ["httpx"]


def test_every_package_says_that_it_is_typed_and_brings_its_lexicons(thin: Install) -> None:
    thin.python(
        "from importlib.resources import files\n"
        "for name in ('client', 'schemas', 'indexer', 'api'):\n"
        "    assert (files(f'atdata_{name}') / 'py.typed').is_file(), name\n"
        "from atdata_schemas.lexicon import lexicons\n"
        "assert 'app.bsky.atdata.searchDatasets' in lexicons().queries()"
    )


def test_a_search_works_in_it(thin: Install, recorded_appview: AppView) -> None:
    url = recorded_appview.url
    done = thin.run("atdata-appview", "search", "chest", "x-ray", ATDATA_APPVIEW_URL=url)
    assert (done.returncode, done.stderr) == (0, "")
    names = [json.loads(line)["record"]["name"] for line in done.stdout.splitlines()]
    assert "Chest X-ray, portable bedside films" in names


@pytest.mark.parametrize("command", [*cli.SERVER_COMMANDS, "status"])
def test_a_server_command_says_which_extra_to_install(thin: Install, command: str) -> None:
    done = thin.run("atdata-appview", command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"atdata-appview {command} needs a part that is not installed")
    assert "pip install 'atdata-appview[server]'" in done.stderr


def test_help_lists_the_server_commands_all_the_same(thin: Install) -> None:
    done = thin.run("atdata-appview", "--help")
    assert done.returncode == 0
    assert "\n  run " in done.stdout


def test_a_dataset_is_published_from_it(thin: Install, pds: RealPds) -> None:
    account = pds.create_account()
    schema = f"at://{account.did}/app.bsky.atdata.schema/3aaaaaaaaaaaa"
    done = thin.run(
        "atdata-appview",
        *("publish", "dataset", "s3://b/x-{0..9}.tar", "--name", "Thin", "--schema", schema),
        ATDATA_APPVIEW_HANDLE=account.handle,
        ATDATA_APPVIEW_PASSWORD=account.password,
        ATDATA_APPVIEW_PDS=pds.url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert pds.stored(done.stdout.strip())["value"]["name"] == "Thin"


def test_a_sample_class_says_that_it_needs_atdata(thin: Install, tmp_path: Path) -> None:
    (tmp_path / "samples.py").write_text("import atdata")
    done = thin.run("atdata-appview", "publish", "schema", "samples:Photo", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'atdata-appview[atdata]'" in done.stderr
