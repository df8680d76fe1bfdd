"""A real PDS and PLC directory on loopback, for the length of a test run.

Starts `tests/pds/start.mjs`, whose packages are in `tests/pds/node_modules` or in the folder that
`PDS_TEST_MODULES` names; it ends when its stdin is closed, so nothing survives the tests.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

START = Path(__file__).parent / "pds" / "start.mjs"
PASSWORD = "correct-horse-battery"
PATIENCE_S = 60.0

type Json = dict[str, Any]


def missing() -> str | None:
    """What this machine lacks to run the PDS, None when nothing."""
    node = shutil.which("node")
    if node is None:
        return "no node on PATH; `make test-deps` installs it"
    modules = Path(os.environ.get("PDS_TEST_MODULES", START.parent)) / "node_modules"
    if not (modules / "@atproto" / "pds").is_dir():
        return f"no PDS in {modules}; `make test-deps` installs it"
    return None


@dataclass(frozen=True)
class Account:
    """An account on the PDS, with the tokens it got when it was made."""

    did: str
    handle: str
    access_jwt: str
    refresh_jwt: str
    password: str = PASSWORD


class PdsRefusedError(Exception):
    """The PDS answered an XRPC call with an error."""


class RealPds:
    """A running PDS: its addresses, accounts, and XRPC calls past the client under test."""

    def __init__(self, about: Json) -> None:
        self.url: str = about["pds"]
        self.ws: str = about["ws"]
        self.plc: str = about["plc"]
        self.public_url: str = about["publicUrl"]
        """What DID documents name, where the client goes once it is logged in."""
        self._admin = ("admin", str(about["adminPassword"]))
        self._http = httpx.Client(base_url=f"{self.url}/xrpc/", timeout=PATIENCE_S)
        self._made = 0

    def close(self) -> None:
        self._http.close()

    def create_account(self, handle: str | None = None) -> Account:
        """Make an account; without a handle, one nobody has yet."""
        self._made += 1
        handle = handle or f"author{self._made}.test"
        mail = f"{handle.partition('.')[0]}@example.com"
        body = {"handle": handle, "email": mail, "password": PASSWORD}
        made = self.post("com.atproto.server.createAccount", body)
        return Account(made["did"], handle, made["accessJwt"], made["refreshJwt"])

    def get(self, nsid: str, params: Mapping[str, str | int]) -> Json:
        """Ask an XRPC query."""
        return _answer(self._http.get(nsid, params=dict(params)))

    def post(self, nsid: str, body: Json | None, token: str | None = None) -> Json:
        """Call an XRPC procedure, as the account of an access token where one is given."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return _answer(self._http.post(nsid, json=body, headers=headers))

    def admin(self, nsid: str, body: Json) -> Json:
        """Call an XRPC procedure as the operator of the PDS."""
        return _answer(self._http.post(nsid, json=body, auth=self._admin))

    def stored(self, uri: str) -> Json:
        """The record at an AT-URI as the PDS has it: `uri`, `cid` and `value`."""
        repo, collection, rkey = uri.removeprefix("at://").split("/")
        params = {"repo": repo, "collection": collection, "rkey": rkey}
        return self.get("com.atproto.repo.getRecord", params)


@contextmanager
def running(**environment: str) -> Iterator[RealPds]:
    """A PDS with no accounts, from its first answer to its clean end."""
    with subprocess.Popen(
        ["node", str(START)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PDS_EXIT_ON_STDIN_EOF": "1", **environment},
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready, "the PDS ended before it was ready"
            pds = RealPds(json.loads(ready))
            try:
                yield pds
            finally:
                pds.close()
        finally:
            try:
                process.communicate(timeout=PATIENCE_S)  # closes its stdin, at which it ends
            except subprocess.TimeoutExpired:
                process.terminate()


def _answer(response: httpx.Response) -> Json:
    if response.is_error:
        path = response.request.url.path
        raise PdsRefusedError(f"{path}: {response.status_code} {response.text}")
    answer: Json = response.json() if response.content else {}
    return answer
