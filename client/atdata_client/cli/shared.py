"""What the commands share: options, how an answer is printed, whose session it is."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from atdata_client._index.views import as_json as to_json
from atdata_client._net.identity import PLC_DIRECTORY
from atdata_client.cli.kept_session import KeptSession, SessionFile
from atdata_client.client import ATProtoClient
from atdata_client.errors import AtdataClientError, AuthenticationError
from atdata_client.index import DEFAULT_URL, IndexClient

Index = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="URL",
        envvar="ATDATA_APPVIEW_URL",
        help=f"Address of the index.  [default: {DEFAULT_URL}]",
        show_default=False,
    ),
]
AsJson = Annotated[
    bool | None,
    typer.Option("--json/--table", help="JSON or a table.  [default: a table on a terminal]"),
]
Handle = Annotated[
    str | None,
    typer.Option(
        envvar="ATDATA_APPVIEW_HANDLE", help="The account: a handle or DID, if not logged in."
    ),
]
Pds = Annotated[
    str | None,
    typer.Option(metavar="URL", envvar="ATDATA_APPVIEW_PDS", help="Its PDS, if not found."),
]
Plc = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="ATDATA_APPVIEW_PLC_URL",
        help=f"The directory of did:plc identities.  [default: {PLC_DIRECTORY}]",
        show_default=False,
    ),
]
SwapCid = Annotated[
    str | None,
    typer.Option(metavar="CID", help="Only if the record still is this version."),
]
COMPLETION_SECONDS = 1.0


def answer(
    values: Iterable[object], as_json: bool | None, table: Callable[[], RenderableType]
) -> None:
    """Print a table, or each of the values as a line of JSON."""
    if as_json is None:
        as_json = not sys.stdout.isatty()
    if not as_json:
        Console(width=None if sys.stdout.isatty() else _width()).print(table())
        return
    for value in values:
        typer.echo(json.dumps(to_json(value)))


def checked_uri(uri: str, *kinds: str) -> str:
    """The AT-URI of a record of one of these kinds, or of any. Raises typer.BadParameter."""
    from atdata_schemas.records import KINDS
    from atdata_schemas.syntax import AtUri

    try:
        kind = KINDS.get(AtUri.parse(uri).collection)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if kind is None:
        raise typer.BadParameter(f"not a record of {', '.join(KINDS)}")
    if kinds and kind not in kinds:
        raise typer.BadParameter(f"{uri} is a {kind}, not a {' or '.join(kinds)}")
    return kind


def size_of(samples: int | None, bytes: int | None) -> dict[str, int] | None:
    """The size of a dataset as its record says it, None where nothing is said."""
    said = {"samples": samples, "bytes": bytes}
    return {unit: count for unit, count in said.items() if count is not None} or None


def complete_tag(incomplete: str) -> list[str]:
    """The tags that begin so, the most frequent first; none when the index does not answer."""
    try:
        with IndexClient(timeout=COMPLETION_SECONDS, attempts=1) as index:
            return [one.tag for one in index.list_tags(incomplete[:50] or None)]
    except AtdataClientError:
        return []  # nobody wants an error for pressing Tab


@contextmanager
def session(handle: str | None, pds: str | None) -> Iterator[ATProtoClient]:
    """A client that is logged in: by the password in the environment, else as `login` left it,
    else by a password that is asked for. Raises typer.BadParameter where that is not possible.
    """
    file = SessionFile.of_user()
    kept = None if os.environ.get("ATDATA_APPVIEW_PASSWORD") else file.read()
    if kept is not None and kept.serves(handle, pds):
        with ATProtoClient(base_url=kept.pds) as client:
            _go_on(client, kept)
            try:
                yield client
            finally:
                # The tokens may have been renewed, which ends the ones before.
                if (now := kept.renewed(client)) != kept:
                    file.write(now)
        return
    if not handle:
        raise typer.BadParameter(
            "who publishes? Run `atdata-appview login`, set ATDATA_APPVIEW_HANDLE, or give --handle"
        )
    with ATProtoClient(base_url=pds) as client:
        client.login(handle, password_of(handle))
        yield client


def password_of(handle: str) -> str:
    """The account's password: from the environment, or asked for without showing it."""
    password = os.environ.get("ATDATA_APPVIEW_PASSWORD")
    if password:
        return password
    if not sys.stdin.isatty():
        raise typer.BadParameter("set ATDATA_APPVIEW_PASSWORD: there is no terminal to ask at")
    asked: Any = typer.prompt(f"Password of {handle}", hide_input=True, err=True)
    return str(asked)


def _go_on(client: ATProtoClient, kept: KeptSession) -> None:
    try:
        client.login_with_session(kept.session)
    except AuthenticationError as error:
        raise AtdataClientError(
            f"the session of {kept.handle} has ended ({error.error}): "
            f"run `atdata-appview login {kept.handle}`"
        ) from error


def _width() -> int:
    return int(os.environ.get("COLUMNS") or 120)
