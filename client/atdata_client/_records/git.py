"""Where others can read a function's code, as its git checkout tells. Changes and sends nothing."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from atdata_client.errors import CodeNotPublished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SCP_LIKE = re.compile(r"(?:[^@/:]+@)?(?P<host>[\w.-]+\.[\w-]+):(?P<path>[^/].*)")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A repository's URL, for everybody, and the full hash of a commit it holds."""

    repository: str
    commit: str


def checkout_of(*functions: Callable[..., Any]) -> Checkout | None:
    """The repository and commit that hold the code of `functions`; None where git cannot tell.

    It cannot for code that is in no file, in no checkout, or in one that comes from nowhere.
    Raises CodeNotPublished, with the reason, where the code is not in the repository as it is here:
    changes that are not committed, a commit that is not pushed, a repository only this machine has.
    """
    files = [_file(function) for function in functions]
    known = [file for file in files if file is not None]
    if not known or len(known) < len(files):
        return None
    roots = {_git(file.parent, "rev-parse", "--show-toplevel") for file in known}
    if None in roots:
        return None
    if len(roots) > 1:
        raise CodeNotPublished(
            f"the functions are in different repositories: {sorted(map(str, roots))}"
        )
    root = Path(str(roots.pop()))
    remote = _remote(root)
    commit = _git(root, "rev-parse", "HEAD")
    if remote is None or commit is None:
        return None
    _check_committed(root, known)
    _check_pushed(root, remote, commit)
    return Checkout(_public_url(root, remote), commit)


def _file(function: Callable[..., Any]) -> Path | None:
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
    except (TypeError, ValueError):
        return None
    return Path(file).resolve() if file and os.path.exists(file) else None


def _remote(root: Path) -> str | None:
    """The remote of the branch at hand, else `origin`, else the only one."""
    remotes = (_git(root, "remote") or "").split()
    branch = _git(root, "symbolic-ref", "--quiet", "--short", "HEAD")
    followed = _git(root, "config", f"branch.{branch}.remote") if branch else None
    for name in (followed, "origin"):
        if name in remotes:
            return name
    return remotes[0] if len(remotes) == 1 else None


def _check_committed(root: Path, files: Sequence[Path]) -> None:
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    if changed is None or changed:
        first = (changed or "git status failed").splitlines()[0].strip()
        raise CodeNotPublished(f"{root} has changes that are not committed ({first})")
    for file in files:
        if _git(root, "ls-files", "--error-unmatch", "--", str(file)) is None:
            raise CodeNotPublished(f"{file} is not committed")


def _check_pushed(root: Path, remote: str, commit: str) -> None:
    # What the last fetch or push has left here: the remote itself is not asked.
    pattern = f"refs/remotes/{remote}"
    if not _git(root, "for-each-ref", "--count=1", f"--contains={commit}", pattern):
        raise CodeNotPublished(f"commit {commit[:12]} of {root} is not pushed to {remote!r}")


def _public_url(root: Path, remote: str) -> str:
    """The URL others can read: https for what is reached over ssh, no name or password in it."""
    url = _git(root, "remote", "get-url", remote) or ""
    if "://" not in url and (short := _SCP_LIKE.fullmatch(url)):
        url = f"ssh://{short['host']}/{short['path']}"
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https", "ssh", "git", "git+ssh"} or not parts.hostname:
        raise CodeNotPublished(f"the repository of {root} is only on this machine")
    over_http = parts.scheme in {"http", "https"}
    port = f":{parts.port}" if over_http and parts.port else ""
    scheme = parts.scheme if over_http else "https"
    path = parts.path.removesuffix("/").removesuffix(".git")
    return urlunsplit((scheme, f"{parts.hostname}{port}", path, "", ""))


def _git(folder: Path, *arguments: str) -> str | None:
    """What a git command prints; None when it fails, or there is no git."""
    try:
        done = subprocess.run(  # noqa: S603  # the arguments are ours, and no shell reads them
            ["git", "-C", str(folder), *arguments],  # noqa: S607  # git is found as in a shell
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
