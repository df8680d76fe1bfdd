"""`search`, `lens path`, `codegen` and completions, against a real index and a real PDS."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atdata_api.server import AppView
from atdata_client import IndexClient, cli
from tests.canned_index import Canned, canned_index, dataset_view, page
from tests.real_pds import RealPds

NS = "app.bsky.atdata"
PROGRAM = Path(sys.executable).parent / "atdata-appview"


@pytest.fixture(scope="module")
def index(recorded_appview: AppView) -> Iterator[IndexClient]:
    with IndexClient(recorded_appview.url) as index:
        yield index


@pytest.fixture(autouse=True)
def _asked(recorded_appview: AppView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_APPVIEW_URL", recorded_appview.url)


def run(*arguments: str) -> int:
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    assert isinstance(caught.value.code, int)
    return caught.value.code


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[Any]:
    """The JSON lines that a successful command prints."""
    assert run(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return [json.loads(line) for line in captured.out.splitlines()]


def test_every_option_of_search_is_asked_of_the_index(
    index: IndexClient, capsys: pytest.CaptureFixture[str]
) -> None:
    lens = next(index.list_lenses())
    one = next(index.search_datasets(schema=lens.source.uri))
    asked: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (("recordings",), {"q": "recordings"}),
        (("--tag", "audio", "--tag", "speech"), {"tags": ["audio", "speech"]}),
        (
            ("--tag", "audio", "--tag", "speech", "--match", "any"),
            {"tags": ["audio", "speech"], "match": "any"},
        ),
        (("--schema", lens.source.uri), {"schema": lens.source.uri}),
        (("--schema", str(lens.source.name)), {"schema": lens.source.name}),
        (
            ("--field", ":ndarray:float32", "--field", ":str"),
            {"field": [":ndarray:float32", ":str"]},
        ),
        (("--viewable-as", lens.target.uri), {"viewable_as": lens.target.uri}),
        (("--author", one.author.did), {"author": one.author.did}),
        (("--license", "MIT", "--license", "CC-BY-4.0"), {"license": ["MIT", "CC-BY-4.0"]}),
        (("--sort", "samples"), {"sort": "samples"}),
    ]
    everything = len(list(index.search_datasets()))
    for arguments, question in asked:
        uris = [view.uri for view in index.search_datasets(**question, limit=25)]
        shown = [view["uri"] for view in found(capsys, "search", *arguments)]
        assert shown == uris
        assert 0 < len(uris) < everything, question


def test_words_that_seem_mistyped_are_corrected_beside_the_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with canned_index(page(dataset_view(), didYouMean="whale")) as canned:
        assert run("search", "wale", "--table", "--index", canned.url) == 0
    assert "(did you mean: whale)" in capsys.readouterr().out


def test_ways_through_lenses_are_shown_and_1_where_there_are_none(
    index: IndexClient, capsys: pytest.CaptureFixture[str]
) -> None:
    lens = next(index.list_lenses())
    ends = lens.source.uri, lens.target.uri
    ways = found(capsys, "lens", "path", *ends)
    assert [[one["uri"] for one in way["lenses"]] for way in ways] == [
        [one.uri for one in way.lenses] for way in index.find_lens_paths(*ends).paths
    ]
    assert run("lens", "path", *ends, "--table") == 0
    assert lens.name in capsys.readouterr().out
    with canned_index(Canned({"paths": [], "cut": False})) as canned:
        assert run("lens", "path", *ends, "--table", "--index", canned.url) == 1
        assert capsys.readouterr().out == "no way found\n"
        assert run("lens", "path", *ends, "--index", canned.url) == 1
        assert capsys.readouterr().out == ""
    with canned_index(Canned({"paths": [{"lenses": []}], "cut": True})) as canned:
        assert run("lens", "path", *ends, "--table", "--index", canned.url) == 0
    shown = capsys.readouterr().out
    assert "the same schema" in shown
    assert "there may be more" in shown


@pytest.mark.parametrize("end", ["x", f"at://did:plc:{'a' * 24}/{NS}.dataset/3aaaaaaaaaaaa"])
def test_a_way_begins_and_ends_at_schemas(end: str, capsys: pytest.CaptureFixture[str]) -> None:
    schema = f"at://did:plc:{'a' * 24}/{NS}.schema/3aaaaaaaaaaaa"
    assert run("lens", "path", schema, end) == 2
    assert run("codegen", end) == 2
    assert "Invalid value" in capsys.readouterr().err


def test_a_published_schema_becomes_a_module(
    pds: RealPds,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = pds.create_account()
    record = {
        "$type": f"{NS}.schema",
        "name": "Photo",
        "version": "1.2.0",
        "fields": [
            {"name": "label", "type": {"kind": "primitive", "primitive": "str"}},
            {"name": "image", "type": {"kind": "ndarray", "dtype": "uint8"}},
        ],
        "createdAt": "2026-01-02T03:04:05.000Z",
    }
    body = {"repo": account.did, "collection": record["$type"], "record": record}
    uri = pds.post("com.atproto.repo.createRecord", body, account.access_jwt)["uri"]
    monkeypatch.setenv("ATDATA_APPVIEW_PLC_URL", pds.plc)
    assert run("codegen", uri) == 0
    source = capsys.readouterr().out
    [sample] = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    assert sample.name == "Photo"
    assert uri in source
    target = tmp_path / "photo.py"
    assert run("codegen", uri, "--output", str(target)) == 0
    assert target.read_text() == source
    target.write_text("edited")
    assert run("codegen", uri, "-o", str(target)) == 1
    assert "is there already" in capsys.readouterr().err
    assert target.read_text() == "edited"
    assert run("codegen", uri, "-o", str(tmp_path / "nowhere" / "x.py")) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert run("codegen", f"at://{account.did}/{NS}.schema/3aaaaaaaaaaaa") == 1


def completed(shell: str, *words: str) -> list[str]:
    """What the shell is offered for the last of these words."""
    environment = {
        "_ATDATA_APPVIEW_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": " ".join(("atdata-appview", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [PROGRAM], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_options_and_tags_are_completed(index: IndexClient) -> None:
    assert completed("bash", "sea") == ["search"]
    assert completed("bash", "search", "--vi") == ["--viewable-as"]
    tags = [one.tag for one in index.list_tags("sp")]
    assert tags
    assert completed("bash", "search", "--tag", "sp") == tags


def test_tab_is_quiet_when_the_index_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_APPVIEW_URL", "http://127.0.0.1:1")
    assert completed("bash", "search", "--tag", "sp") == []


def test_a_shell_gets_its_script() -> None:
    done = subprocess.run(
        [PROGRAM],
        env=os.environ | {"_ATDATA_APPVIEW_COMPLETE": "source_zsh"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "#compdef atdata-appview" in done.stdout
