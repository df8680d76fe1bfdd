"""`login` and what follows it: one's own records, from the command line, on a real PDS."""

import json
import os
import pty
import subprocess
import sys
import termios
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atdata_client import ATProtoClient, cli
from atdata_client.cli.kept_session import KeptSession, SessionFile
from tests.appview import PATIENCE_S, wait_until
from tests.canned_index import CID, Canned, canned_index
from tests.real_pds import PASSWORD, Account, RealPds

NS = "app.bsky.atdata"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SessionFile:
    """Where the session is kept, in a folder that is not there yet."""
    path = tmp_path / "config" / "session.json"
    monkeypatch.setenv("ATDATA_APPVIEW_SESSION", str(path))
    for name in ("HANDLE", "PASSWORD", "PDS"):
        monkeypatch.delenv(f"ATDATA_APPVIEW_{name}", raising=False)
    return SessionFile(path)


@pytest.fixture(scope="module")
def author(pds: RealPds) -> Account:
    """An account that all tests share, with a dataset of its own."""
    return pds.create_account()


@pytest.fixture(scope="module")
def uri(pds: RealPds, author: Account) -> str:
    """A dataset of the author's."""
    return dataset(pds, author)


@pytest.fixture(scope="module")
def kept(pds: RealPds, author: Account) -> KeptSession:
    """A session of the author's."""
    with ATProtoClient(base_url=pds.url) as client:
        client.login(author.handle, author.password)
        return KeptSession.of(client, pds.url)


@pytest.fixture
def account(author: Account, kept: KeptSession, file: SessionFile) -> Account:
    """The author, logged in."""
    file.write(kept)
    return author


@pytest.fixture
def newcomer(pds: RealPds, file: SessionFile, monkeypatch: pytest.MonkeyPatch) -> Account:
    """A new account whose session `login` has begun."""
    account = pds.create_account()
    monkeypatch.setenv("ATDATA_APPVIEW_PASSWORD", account.password)
    assert run("login", account.handle, "--pds", pds.url) == 0
    monkeypatch.delenv("ATDATA_APPVIEW_PASSWORD")
    return account


def run(*arguments: str) -> int:
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    assert isinstance(caught.value.code, int)
    return caught.value.code


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[Any]:
    """The JSON lines that a successful command prints, what came before forgotten."""
    capsys.readouterr()
    assert run(*arguments) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def dataset(pds: RealPds, account: Account, name: str = "Whales") -> str:
    """A dataset of this account."""
    schema = f"at://{account.did}/{NS}.schema/3aaaaaaaaaaaa"
    with ATProtoClient(base_url=pds.url) as client:
        client.login(account.handle, account.password)
        record = {"name": name, "schemaRef": schema, "urls": ["x.tar"], "tags": ["sea"]}
        created = {"createdAt": "2026-01-02T03:04:05.000Z", "description": "Calls."}
        return client.create_record(f"{NS}.dataset", record | created)


def test_the_session_goes_on_without_a_password(
    pds: RealPds, newcomer: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    [about] = said(capsys, "whoami")
    assert (about["handle"], about["did"]) == (newcomer.handle, newcomer.did)
    assert about["pds"].startswith(pds.url)
    assert said(capsys, "mine") == []
    assert run("mine", "--table") == 0
    assert capsys.readouterr().out == "nothing published\n"
    schema = f"at://{newcomer.did}/{NS}.schema/3aaaaaaaaaaaa"
    assert run("publish", "dataset", "x.tar", "--name", "Mine", "--schema", schema) == 0
    published = capsys.readouterr().out.strip()
    assert pds.stored(published)["value"]["name"] == "Mine"
    assert [one["uri"] for one in said(capsys, "mine")] == [published]
    assert run("delete", published, "--yes", "--swap-cid", pds.stored(published)["cid"]) == 0
    assert said(capsys, "mine") == []
    assert run("whoami", "--table") == 0
    assert newcomer.handle in capsys.readouterr().out


def test_only_the_owner_may_read_the_session_and_the_password_is_not_in_it(
    account: Account, file: SessionFile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    assert [one.name for one in file.path.parent.iterdir()] == [file.path.name]
    assert PASSWORD not in file.path.read_text()
    kept = file.read()
    assert kept is not None
    assert kept.session not in repr(kept)
    file.path.chmod(0o640)
    assert run("whoami") == 1
    assert "others may read" in capsys.readouterr().err


def test_the_password_is_asked_for_and_never_echoed(pds: RealPds, file: SessionFile) -> None:
    account = pds.create_account()
    mine, theirs = pty.openpty()
    command = [str(Path(sys.executable).parent / "atdata-appview"), "login", account.handle]
    with subprocess.Popen(
        [*command, "--pds", pds.url],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        wait_until(lambda: not termios.tcgetattr(mine)[3] & termios.ECHO)
        os.write(mine, f"{account.password}\n".encode())
        shown = b"".join(_read(mine))
        assert process.wait(PATIENCE_S) == 0, shown
    os.close(mine)
    assert f"Password of {account.handle}: ".encode() in shown
    assert f"logged in as {account.handle}".encode() in shown
    assert account.password.encode() not in shown
    kept = file.read()
    assert kept is not None
    assert kept.did == account.did


def test_tokens_that_were_renewed_take_the_place_of_those_before(
    newcomer: Account, file: SessionFile
) -> None:
    before = file.read()
    assert before is not None
    stale = _access_is_over(before)
    file.write(stale)
    assert run("whoami") == 0
    after = file.read()
    assert after is not None
    assert after.session not in (before.session, stale.session)
    assert run("whoami") == 0


def test_a_session_that_has_ended_says_how_to_go_on(
    pds: RealPds, newcomer: Account, file: SessionFile, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = file.read()
    assert kept is not None
    pds.post("com.atproto.server.deleteSession", None, _refresh_token(kept))
    file.write(_access_is_over(kept))
    capsys.readouterr()
    assert run("mine") == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"the session of {newcomer.handle} has ended")
    assert f"`atdata-appview login {newcomer.handle}`" in captured.err
    assert captured.out == ""


def test_logging_out_forgets_it(
    account: Account, file: SessionFile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("logout") == 0
    assert not file.path.exists()
    assert run("logout") == 1
    assert run("whoami") == 2
    assert "`atdata-appview login`" in capsys.readouterr().err


def test_a_session_is_not_anothers(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("whoami", "--handle", "somebody-else.test") == 2
    assert "set ATDATA_APPVIEW_PASSWORD" in capsys.readouterr().err
    assert run("whoami", "--handle", account.did) == 0


def test_a_file_that_is_no_session_is_said_to_be_none(
    file: SessionFile, capsys: pytest.CaptureFixture[str]
) -> None:
    file.path.parent.mkdir()
    for text in ("", "[]", '{"did": 1}', "{"):
        file.path.write_text(text)
        file.path.chmod(0o600)
        assert run("whoami") == 1
        assert "is no session" in capsys.readouterr().err


def test_a_wrong_password_keeps_no_session(
    pds: RealPds,
    file: SessionFile,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = pds.create_account()
    assert run("login") == 2
    assert run("login", account.handle) == 2
    assert "set ATDATA_APPVIEW_PASSWORD" in capsys.readouterr().err
    monkeypatch.setenv("ATDATA_APPVIEW_PASSWORD", "wrong")
    assert run("login", account.handle, "--pds", pds.url) == 1
    assert "Invalid identifier or password" in capsys.readouterr().err
    assert not file.path.exists()


def test_ones_own_records_are_listed_and_whether_the_index_has_them(
    pds: RealPds, account: Account, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [found] = said(capsys, "mine")
    assert (found["uri"], found["name"]) == (uri, pds.stored(uri)["value"]["name"])
    assert found["cid"] == pds.stored(uri)["cid"]
    assert said(capsys, "mine", "schema") == []
    with canned_index(Canned({"uri": uri, "status": "indexed"})) as canned:
        [found] = said(capsys, "mine", "dataset", "--status", "--index", canned.url)
        assert found["status"] == "indexed"
        assert run("mine", "--status", "--table", "--index", canned.url) == 0
    table = capsys.readouterr().out
    assert found["name"] in table
    assert "indexed" in table
    assert run("mine", "nothing") == 2


def test_a_record_is_changed_and_only_what_was_named(
    pds: RealPds, account: Account, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = pds.stored(uri)
    capsys.readouterr()
    arguments = ("--name", "Seals", "--tag", "a", "--tag", "b", "--samples", "3")
    assert run("update", uri, *arguments, "--clear", "description") == 0
    changed = pds.stored(uri)
    assert capsys.readouterr().out.strip() == changed["cid"]
    expected = first["value"] | {"name": "Seals", "tags": ["a", "b"], "size": {"samples": 3}}
    del expected["description"]
    assert changed["value"] == expected
    assert run("update", uri, "--name", "Otters", "--swap-cid", first["cid"]) == 1
    assert pds.stored(uri)["cid"] == changed["cid"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("update", "{uri}"), 2, "nothing to change"),
        (("update", "{uri}", "--name", "x" * 201), 1, "name: "),
        (("update", "{uri}", "--clear", "urls"), 1, "urls"),
        (("update", "x", "--name", "y"), 2, "Invalid value"),
        (("update", "{schema}", "--tag", "y"), 2, "a schema has no tags"),
        (("update", "{other}", "--name", "y"), 1, "not in the repository"),
        (("delete", "{uri}"), 2, "give --yes"),
        (("delete", "{uri}", "--yes", "--swap-cid", "{cid}"), 1, "InvalidSwap"),
        (("delete", "{other}", "--yes"), 1, "not in the repository"),
    ],
)
def test_what_must_not_be_is_refused_and_changes_nothing(
    pds: RealPds,
    account: Account,
    uri: str,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    before = pds.stored(uri)
    names = {
        "uri": uri,
        "schema": uri.replace(".dataset/", ".schema/"),
        "other": f"at://did:plc:{'a' * 24}/{NS}.dataset/3aaaaaaaaaaaa",
        "cid": CID,
    }
    assert run(*(text.format(**names) for text in arguments)) == code
    assert words in capsys.readouterr().err
    assert pds.stored(uri) == before


def _read(terminal: int) -> Iterator[bytes]:
    """What a program writes to its terminal until it ends."""
    with suppress(OSError):  # hung up
        while piece := os.read(terminal, 4096):
            yield piece


def _refresh_token(kept: KeptSession) -> str:
    from atproto import Session

    return str(Session.decode(kept.session).refresh_jwt)


def _access_is_over(kept: KeptSession) -> KeptSession:
    """The session with an access token whose time is over."""
    from atproto import Session

    about = Session.decode(kept.session)
    head, payload, signature = about.access_jwt.split(".")
    said = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    over = urlsafe_b64encode(json.dumps(said | {"exp": 1_000_000_000}).encode()).decode()
    token = ".".join((head, over.rstrip("="), signature))
    session = Session(about.handle, about.did, token, about.refresh_jwt, about.pds_endpoint)
    return replace(kept, session=session.export())
