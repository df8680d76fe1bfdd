"""The `atdata-appview` command for people and for pipes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from rich.console import Console

from atdata_client import cli
from atdata_client._index.views import DatasetView, LensView, RecordStatus, SchemaView
from atdata_client.tables import dataset_table, plain, status_table, view_table
from tests.canned_index import CID, DID, Canned, canned_index, dataset_view, page

SCHEMA_URI = f"at://{DID}/app.bsky.atdata.schema/3bbbbbbbbbbbb"
LENS_URI = f"at://{DID}/app.bsky.atdata.lens/3cccccccccccc"
DATASET_URI = f"at://{DID}/app.bsky.atdata.dataset/3aaaaaaaaaaaa"
TROJAN = "evil\x1b[2J\x07\x9b1m\u202e[bold]x[/bold]"


def schema_view() -> dict[str, Any]:
    view = dataset_view()
    del view["schema"]
    fields = [
        {"name": "image", "type": {"kind": "ndarray", "dtype": "uint8", "shape": [None, 3]}},
        {"name": "mask", "type": {"kind": "ndarray", "dtype": "bool"}, "optional": True},
        {"name": "label", "type": {"kind": "primitive", "primitive": "str"}},
        {"name": "box", "type": {"kind": "nested", "schemaRef": SCHEMA_URI}},
    ]
    record = {"$type": "app.bsky.atdata.schema", "name": "XRay", "version": "1.2.0"}
    return view | {"uri": SCHEMA_URI, "record": record | {"fields": fields}}


def lens_view() -> dict[str, Any]:
    view = dataset_view()
    link = view.pop("schema")
    reference = {"kind": "reference", "repository": "https://git.example.com/l", "commit": "abc"}
    record = {
        "$type": "app.bsky.atdata.lens",
        "name": "To grey",
        "getterCode": reference | {"path": "lenses:to_grey"},
        "putterCode": {"kind": "python", "source": "def put(): ..."},
    }
    missing = {"uri": SCHEMA_URI, "status": "missing"}
    return view | {"uri": LENS_URI, "record": record, "source": link, "target": missing}


def run(*arguments: str) -> int:
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    assert isinstance(caught.value.code, int)
    return caught.value.code


def text_of(renderable: Any, width: int = 160) -> str:
    console = Console(width=width, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
    console.print(renderable)
    console.file.close()
    return console.export_text()


def test_help_lists_users_and_server_commands_and_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--help") == 0
    shown = capsys.readouterr().out
    finding = ("search", "show", "status", "lens", "codegen")
    own = ("login", "logout", "whoami", "mine", "publish", "update", "delete")
    for name in (*finding, *own, *cli.SERVER_COMMANDS):
        assert f"\n  {name} " in shown
    assert "Exit codes: 0 done;" in shown


def test_every_command_and_option_has_a_help() -> None:
    commands: list[Any] = [typer.main.get_command(cli.build())]
    seen = set()
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        assert command.help, command.name
        seen.add(command.name)
        for parameter in command.params:
            assert getattr(parameter, "help", None), (command.name, parameter.name)
    assert {"search", "show", "status", "publish", "schema", "dataset", "lens", "run"} <= seen
    assert {"path", "login", "whoami", "mine", "update", "delete", "codegen"} <= seen


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.count(".") >= 2


def test_search_prints_json_lines_to_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    views = [dataset_view(), dataset_view(name="naïve")]
    with canned_index(page(*views, total=9)) as canned:
        arguments = ("--tag", "a", "--tag", "b", "--schema", SCHEMA_URI, "--sort", "oldest")
        code = run("search", "chest", "x-ray", *arguments, "--limit", "2", "--index", canned.url)
    assert code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["record"]["name"] for line in lines] == ["Chest x-rays", "naïve"]
    assert canned.asked[0].params == [
        ("q", "chest x-ray"),
        ("tags", "a"),
        ("tags", "b"),
        ("schema", SCHEMA_URI),
        ("sort", "oldest"),
        ("limit", "2"),
    ]


def test_search_prints_a_table_where_one_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with canned_index(page(dataset_view(), total=9), page()) as canned:
        assert run("search", "--table", "--index", canned.url) == 0
        assert run("search", "--table", "--index", canned.url) == 0
    shown = capsys.readouterr().out
    assert "1 of 9 datasets" in shown
    assert "Chest x-rays" in shown
    assert "no dataset found" in shown


def test_a_total_that_is_only_a_bound_is_shown_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    with canned_index(page(dataset_view(), total=10_000, hitsTotalIsBound=True)) as canned:
        assert run("search", "--table", "--index", canned.url) == 0
    assert "1 of 10000+ datasets" in capsys.readouterr().out


def test_the_address_of_the_index_comes_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with canned_index(page()) as canned:
        monkeypatch.setenv("ATDATA_APPVIEW_URL", canned.url)
        assert run("search", "x") == 0
        assert len(canned.asked) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("uri", "query", "answer"),
    [
        (DATASET_URI, "getDataset", {"dataset": dataset_view()}),
        (SCHEMA_URI, "getSchema", {"schema": schema_view()}),
        (LENS_URI, "getLens", {"lens": lens_view()}),
    ],
)
def test_show_asks_for_what_the_uri_names(
    uri: str, query: str, answer: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with canned_index(Canned(answer)) as canned:
        assert run("show", uri, "--json", "--index", canned.url) == 0
        assert run("show", uri, "--table", "--index", canned.url) == 0
    assert canned.asked[0].path.endswith(f".{query}")
    first, _, table = capsys.readouterr().out.partition("\n")
    assert json.loads(first)["uri"] == uri
    assert "Chest x-rays" in table or "XRay" in table or "To grey" in table


@pytest.mark.parametrize("uri", ["x", "at://alice.example.com/app.bsky.feed.post/3k"])
def test_show_of_something_else_is_wrong_usage(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("show", uri) == 2
    assert "Invalid value" in capsys.readouterr().err


def test_status_says_why_and_is_1_when_not_indexed(capsys: pytest.CaptureFixture[str]) -> None:
    status = {"uri": DATASET_URI, "status": "quarantined", "rule": "maxLength", "reason": "long"}
    indexed = {"uri": DATASET_URI, "status": "indexed", "cid": CID}
    with canned_index(Canned(status), Canned(indexed)) as canned:
        assert run("status", DATASET_URI, "--index", canned.url) == 1
        assert run("status", DATASET_URI, "--index", canned.url) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == status
    assert json.loads(second) == indexed


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (Canned({"error": "NotFound", "message": "no such dataset"}, 404), 1, "no such dataset"),
        (Canned({"error": "InvalidRequest", "message": "uri: bad"}, 400), 1, "uri: bad"),
        (Canned({"error": "Oops", "message": "later"}, 500), 3, "Oops: later"),
        (Canned(b"<h1>", 404), 1, "no XRPC body"),
        (Canned({"error": "E", "message": TROJAN}, 400), 1, "evil\ufffd[2J\ufffd\ufffd1m\ufffd[b"),
    ],
)
def test_what_the_index_refuses_is_one_line_and_an_exit_code(
    answer: Canned, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with canned_index(answer) as canned:
        assert run("show", DATASET_URI, "--index", canned.url) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.startswith(canned.url)
    assert captured.err.count("\n") == 1


def test_an_index_that_does_not_answer_is_3(capsys: pytest.CaptureFixture[str]) -> None:
    with canned_index(page()) as canned:
        url = canned.url
    assert run("search", "x", "--index", url) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{url}: Unreachable: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [("nope",), ("search", "--limit", "0"), ("publish", "nope")])
def test_wrong_usage_is_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    assert "Error: " in capsys.readouterr().err


def test_a_server_command_gets_the_arguments_that_follow_and_gives_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: list[list[str]] = []

    def go(argv: list[str]) -> int:
        got.append(argv)
        return 7

    module = ModuleType("fake_commands")
    module.__dict__["go"] = go
    monkeypatch.setitem(sys.modules, "fake_commands", module)
    monkeypatch.setitem(cli.SERVER_COMMANDS, "run", ("fake_commands:go", "Go."))
    assert run("run", "--port", "1", "x", "--help") == 7
    assert got == [["--port", "1", "x", "--help"]]


def test_a_server_commands_own_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(argv: list[str]) -> int:
        raise ValueError("a bug")

    module = ModuleType("fake_commands")
    module.__dict__["go"] = fail
    monkeypatch.setitem(sys.modules, "fake_commands", module)
    monkeypatch.setitem(cli.SERVER_COMMANDS, "run", ("fake_commands:go", "Go."))
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["run"])


def test_a_server_command_without_its_parts_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.SERVER_COMMANDS, "run", ("no_such_module_x:go", "Go."))
    assert run("run") == 2
    assert capsys.readouterr().err == (
        "atdata-appview run needs a part that is not installed (no module named"
        " 'no_such_module_x'):\n  pip install 'atdata-appview[server]'\n"
    )


def test_a_module_of_our_own_that_is_missing_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.SERVER_COMMANDS, "run", ("atdata_api.no_such_module:go", "Go."))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["run"])


def test_a_file_that_cannot_be_written_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ATDATA_APPVIEW_SESSION", str(tmp_path / "file" / "session.json"))
    monkeypatch.delenv("ATDATA_APPVIEW_PASSWORD", raising=False)
    assert run("whoami") == 1
    captured = capsys.readouterr()
    assert "Not a directory" in captured.err
    assert captured.err.count("\n") == 1


def test_tables_show_what_there_is_to_know() -> None:
    dataset = DatasetView.from_json(
        dataset_view(description="Lungs.", license="MIT", size={"samples": 12000, "bytes": 5})
    )
    shown = text_of(view_table(dataset))
    for part in ("Lungs.", "MIT", "XRay 1.2.0", SCHEMA_URI, "12,000 samples, 5 bytes", CID):
        assert part in shown
    shown = text_of(view_table(SchemaView.from_json(schema_view())))
    for part in ("image: uint8[*, 3]", "mask?: bool[…]", "label: str", f"box: {SCHEMA_URI}"):
        assert part in shown
    shown = text_of(view_table(LensView.from_json(lens_view())))
    for part in ("lenses:to_grey", "https://git.example.com/l at abc", "def put()", "missing"):
        assert part in shown
    status = RecordStatus(DATASET_URI, "hidden", account_status="takendown")
    assert "takendown" in text_of(status_table(status))
    assert "XRay 1.2.0" in text_of(dataset_table([dataset], title="All"))


def test_other_peoples_words_cannot_steer_the_terminal() -> None:
    assert plain(TROJAN).plain == "evil\ufffd[2J\ufffd\ufffd1m\ufffd[bold]x[/bold]"
    assert plain("two\nlines\tand more").plain == "two\nlines\tand more"
    view = DatasetView.from_json(dataset_view(name=TROJAN, tags=[TROJAN], license=TROJAN))
    for renderable in (dataset_table([view], title=TROJAN), view_table(view)):
        shown = text_of(renderable, width=400)
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)
        assert "[bold]x[/bold]" in shown


def test_a_record_that_is_oddly_made_is_shown_all_the_same() -> None:
    odd = schema_view()
    odd["record"] = {"fields": [None, {}, {"name": 5, "type": "x"}, {"type": {"kind": "ndarray"}}]}
    assert "5: ?" in text_of(view_table(SchemaView.from_json(odd)))


def test_the_installed_command_works() -> None:
    command = Path(sys.executable).parent / "atdata-appview"
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip()
