"""`atdata-appview publish`: to one's own PDS, from the command line."""

import sys
from pathlib import Path

import pytest

from atdata_client import ATProtoClient, cli
from tests.canned_index import Canned, canned_index
from tests.real_pds import Account, RealPds

SAMPLES = '''
import atdata
import numpy as np
from numpy.typing import NDArray


@atdata.packable
class Photo:
    """A photograph."""

    image: NDArray[np.uint8]


class Outer:
    @atdata.packable
    class Inner:
        label: str


def to_label(photo):
    raise AssertionError("never called")


def from_label(label, photo):
    raise AssertionError("never called")
'''


@pytest.fixture
def account(pds: RealPds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account in the environment, and `samples.py` in the current folder."""
    account = pds.create_account()
    monkeypatch.setenv("ATDATA_APPVIEW_HANDLE", account.handle)
    monkeypatch.setenv("ATDATA_APPVIEW_PASSWORD", account.password)
    monkeypatch.setenv("ATDATA_APPVIEW_PDS", pds.url)
    monkeypatch.setenv("ATDATA_APPVIEW_SESSION", str(tmp_path / "session.json"))
    name = f"samples_{account.did[-6:]}"
    (tmp_path / f"{name}.py").write_text(SAMPLES)
    (tmp_path / f"{name}_needy.py").write_text("import no_such_module_x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    return account


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["publish", *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def published(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The AT-URI that a successful command prints, and nothing else."""
    assert run(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.removesuffix("\n")


def module(account: Account) -> str:
    return f"samples_{account.did[-6:]}"


def test_a_schema_is_published(
    account: Account, reader: ATProtoClient, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = published(capsys, "schema", f"{module(account)}:Photo", "--version", "2.0.0")
    record = reader.get_record(uri)
    assert uri.startswith(f"at://{account.did}/")
    assert (record["name"], record["version"], record["description"]) == (
        "Photo",
        "2.0.0",
        "A photograph.",
    )


def test_a_nested_name_is_found(
    account: Account, reader: ATProtoClient, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = published(capsys, "schema", f"{module(account)}:Outer.Inner", "--name", "Labels")
    assert reader.get_record(uri)["name"] == "Labels"


def test_a_dataset_is_published_with_its_sample_class(
    account: Account, reader: ATProtoClient, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = published(
        capsys,
        *("dataset", "s3://b/x-{0..9}.tar", "s3://b/y.tar", "--name", "Photos"),
        *("--sample", f"{module(account)}:Photo", "--tag", "a", "--tag", "b", "--license", "MIT"),
    )
    record = reader.get_record(uri)
    assert record["urls"] == ["s3://b/x-{0..9}.tar", "s3://b/y.tar"]
    assert (record["tags"], record["license"]) == (["a", "b"], "MIT")
    assert reader.get_record(record["schemaRef"])["name"] == "Photo"


def test_a_dataset_is_published_with_a_schema_that_is_there(
    account: Account, reader: ATProtoClient, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = published(capsys, "schema", f"{module(account)}:Photo")
    uri = published(capsys, "dataset", "x.tar", "--name", "Photos", "--schema", schema)
    assert reader.get_record(uri)["schemaRef"] == schema


def test_a_lens_is_published(
    account: Account, reader: ATProtoClient, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = published(capsys, "schema", f"{module(account)}:Photo")
    uri = published(
        capsys,
        *("lens", f"{module(account)}:to_label", f"{module(account)}:from_label"),
        *("--name", "Label", "--source", schema, "--target", schema),
        *("--repository", "https://git.example.com/lenses", "--commit", "abc"),
    )
    assert reader.get_record(uri)["getterCode"]["path"] == f"{module(account)}:to_label"


def test_a_lens_without_its_code_being_published_is_refused(
    account: Account, reader: ATProtoClient, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = published(capsys, "schema", f"{module(account)}:Photo")
    ends = ("--name", "Label", "--source", schema, "--target", schema)
    to, back = f"{module(account)}:to_label", f"{module(account)}:from_label"
    assert run("lens", to, *ends, "--repository", "https://git.example.com/l") == 2
    assert "putter" in capsys.readouterr().err
    assert run("lens", to, back, *ends) == 1
    assert "provide code_repository and code_commit" in capsys.readouterr().err
    assert reader.list_records("app.bsky.atdata.lens", account.did) == []


def test_an_unchanged_schema_is_not_published_twice_where_a_registry_is_kept(
    account: Account, reader: ATProtoClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sample = f"{module(account)}:Photo"
    kept = ("--registry", str(tmp_path / "registry"))
    schema = published(capsys, "schema", sample, *kept)
    assert published(capsys, "schema", sample, *kept) == schema
    dataset = published(capsys, "dataset", "x.tar", "--name", "x", "--sample", sample, *kept)
    assert reader.get_record(dataset)["schemaRef"] == schema
    assert len(reader.list_records("app.bsky.atdata.schema", account.did)) == 1


def test_what_a_dataset_has_is_told_and_a_license_that_nobody_knows_is_warned_of(
    account: Account, reader: ATProtoClient, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = f"at://{account.did}/app.bsky.atdata.schema/3aaaaaaaaaaaa"
    arguments = ("dataset", "x.tar", "--name", "x", "--schema", schema, "--license", "apache 2")
    assert run(*arguments, "--samples", "7", "--bytes", "90") == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("warning: license 'apache 2' is not an SPDX identifier")
    assert captured.err.count("\n") == 1
    record = reader.get_record(captured.out.strip())
    assert record["size"] == {"samples": 7, "bytes": 90}


def test_waiting_for_the_index_ends_with_what_it_says(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = f"at://{account.did}/app.bsky.atdata.schema/3aaaaaaaaaaaa"
    arguments = ("dataset", "x.tar", "--name", "x", "--schema", schema, "--wait", "0.01")
    unseen = {"status": "unseen", "uri": schema}
    with canned_index(Canned({"datasets": []}), Canned(unseen)) as canned:
        assert run(*arguments, "--index", canned.url) == 1
        assert len(canned.asked) == 2
    captured = capsys.readouterr()
    assert captured.out.startswith(f"at://{account.did}/"), "it is published all the same"
    assert "not in the index after 0.01 s: unseen" in captured.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("schema", "nowhere:Photo"), 2, "no module 'nowhere'"),
        (("schema", "Photo"), 2, "not of the form module:name"),
        (("schema", "{}_needy:Photo"), 2, "needs 'no_such_module_x': not installed"),
        (("schema", "{}:Nothing"), 2, "has no 'Nothing'"),
        (("schema", "{}:to_label"), 1, "must be a dataclass"),
        (("schema", "{}:Photo", "--version", "one"), 1, "version: not a semantic version"),
        (("dataset", "x.tar", "--name", "x"), 2, "one of --schema and --sample"),
        (("dataset", "x.tar", "--name", "x", "--schema", "y"), 1, "schemaRef: "),
    ],
)
def test_what_cannot_be_published_is_said_and_nothing_is_published(
    account: Account,
    reader: ATProtoClient,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    assert run(*(text.format(module(account)) for text in arguments)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert reader.list_records("app.bsky.atdata.schema", account.did) == []


def test_a_wrong_password_is_1_and_an_absent_pds_3(
    account: Account, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATDATA_APPVIEW_PASSWORD", "wrong")
    assert run("schema", f"{module(account)}:Photo") == 1
    assert "Invalid identifier or password" in capsys.readouterr().err
    assert run("schema", f"{module(account)}:Photo", "--pds", "http://127.0.0.1:1") == 3
    assert capsys.readouterr().err.startswith("http://127.0.0.1:1: Unreachable")


def test_the_account_and_the_password_must_be_known(
    account: Account, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATDATA_APPVIEW_PASSWORD")
    assert run("schema", f"{module(account)}:Photo") == 2
    assert "set ATDATA_APPVIEW_PASSWORD" in capsys.readouterr().err
    monkeypatch.delenv("ATDATA_APPVIEW_HANDLE")
    assert run("schema", f"{module(account)}:Photo") == 2
    assert "who publishes?" in capsys.readouterr().err
