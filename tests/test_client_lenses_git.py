"""Repository and commit of a lens, read from the git checkout its functions are in."""

import os
import subprocess
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from atdata_client import ATProtoClient, CodeNotPublished, LensPublisher
from atdata_client._records.git import Checkout, checkout_of
from tests.conftest import require
from tests.real_pds import RealPds

CODE = "def getter(x):\n    return x\n\n\ndef putter(y, x):\n    return y\n"
SCHEMA = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.atdata.schema/3aaaaaaaaaaaa"


class Repository:
    """A checkout in `folder`, pushed to a bare repository, named by the URL it goes by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.origin = folder / "origin.git"
        self.git("init", "--quiet", "--bare", str(self.origin), cwd=folder)
        self.git("init", "--quiet", "--initial-branch=main", str(self.folder), cwd=folder)
        self.write("lenses.py", CODE)
        self.commit()
        self.git("remote", "add", "origin", str(self.origin))
        self.git("push", "--quiet", "--set-upstream", "origin", "main")
        self.named("https://git.example.com/alice/lenses.git")

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        names = ("-c", "user.name=Alice", "-c", "user.email=alice@example.com")
        command = ["git", *names, "-c", "commit.gpgsign=false", *arguments]
        done = subprocess.run(
            command, cwd=cwd or self.folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")

    def named(self, url: str) -> None:
        self.git("remote", "set-url", "origin", url)

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def functions(self, name: str = "lenses.py") -> tuple[Callable[..., Any], Callable[..., Any]]:
        spec = spec_from_file_location("lenses", self.folder / name)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.getter, module.putter


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    # Neither the settings of this machine nor bytecode beside the code.
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    try:
        subprocess.run(["git", "--version"], check=True, capture_output=True)
    except OSError:
        require(False, "no git on PATH")
    return Repository(tmp_path)


def test_a_pushed_commit_is_what_the_record_refers_to(
    repository: Repository, pds: RealPds, author: ATProtoClient
) -> None:
    uri = LensPublisher(author).publish_lens(
        *repository.functions(), name="x", source_schema_uri=SCHEMA, target_schema_uri=SCHEMA
    )
    assert pds.stored(uri)["value"]["getterCode"] == {
        "kind": "reference",
        "repository": "https://git.example.com/alice/lenses",
        "commit": repository.head,
        "path": "lenses:getter",
    }


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://git.example.com/a/b.git", "https://git.example.com/a/b"),
        ("https://git.example.com:8443/a/b", "https://git.example.com:8443/a/b"),
        ("https://alice:token@git.example.com/a/b.git", "https://git.example.com/a/b"),
        ("https://token@git.example.com/a/b?x=secret#y", "https://git.example.com/a/b"),
        ("git@git.example.com:a/b.git", "https://git.example.com/a/b"),
        ("git.example.com:a/b.git", "https://git.example.com/a/b"),
        ("ssh://git@git.example.com:22/a/b.git", "https://git.example.com/a/b"),
        ("git://git.example.com/a/b.git/", "https://git.example.com/a/b"),
    ],
)
def test_the_url_is_one_others_can_read_with_no_secret_in_it(
    repository: Repository, url: str, public: str
) -> None:
    repository.named(url)
    assert checkout_of(*repository.functions()) == Checkout(public, repository.head)


@pytest.mark.parametrize("url", ["/srv/lenses.git", "file:///srv/lenses.git", "../lenses.git"])
def test_a_repository_of_this_machine_only_is_refused(repository: Repository, url: str) -> None:
    repository.named(url)
    with pytest.raises(CodeNotPublished, match="only on this machine"):
        checkout_of(*repository.functions())


def test_a_dirty_tree_is_refused(repository: Repository) -> None:
    functions = repository.functions()
    repository.write("lenses.py", CODE + "\n# changed\n")
    with pytest.raises(CodeNotPublished, match=r"not committed \(M lenses\.py\)") as caught:
        checkout_of(*functions)
    # As the design document says, and then why.
    assert isinstance(caught.value, NotImplementedError)
    assert str(caught.value).startswith(
        "Inline code storage not yet supported. Please provide code_repository and code_commit. "
    )


def test_an_unpushed_commit_is_refused(repository: Repository) -> None:
    repository.write("lenses.py", CODE + "\n# changed\n")
    repository.commit()
    with pytest.raises(CodeNotPublished, match=f"commit {repository.head[:12]} .* not pushed"):
        checkout_of(*repository.functions())


def test_a_file_git_does_not_know_is_refused_and_others_do_no_harm(repository: Repository) -> None:
    repository.write("notes.txt", "nothing to do with it")
    assert checkout_of(*repository.functions()) is not None
    repository.write("new.py", CODE)
    with pytest.raises(CodeNotPublished, match=r"new\.py is not committed"):
        checkout_of(*repository.functions("new.py"))


def test_where_git_cannot_tell_there_is_no_answer(repository: Repository) -> None:
    assert checkout_of(len, sorted) is None
    repository.git("remote", "remove", "origin")
    assert checkout_of(*repository.functions()) is None


def test_what_is_given_is_not_read_from_git(repository: Repository, author: ATProtoClient) -> None:
    functions = repository.functions()
    ends: dict[str, Any] = {"source_schema_uri": SCHEMA, "target_schema_uri": SCHEMA}
    publisher = LensPublisher(author)
    uri = publisher.publish_lens(
        *functions, name="x", code_repository="https://mirror.example.com/x", **ends
    )
    code = author.get_record(uri)["getterCode"]
    given = ("https://mirror.example.com/x", repository.head)
    assert (code["repository"], code["commit"]) == given
    repository.write("lenses.py", CODE + "\n# changed\n")
    ends |= {"code_repository": "https://mirror.example.com/x", "code_commit": "0" * 40}
    uri = publisher.publish_lens(*functions, name="x", **ends)
    assert author.get_record(uri)["getterCode"]["commit"] == "0" * 40
