"""Commands about one's own account and records."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from atdata_client.cli.kept_session import KeptSession, SessionFile
from atdata_client.cli.shared import (
    AsJson,
    Handle,
    Index,
    Pds,
    Plc,
    SwapCid,
    answer,
    checked_uri,
    password_of,
    session,
    size_of,
)
from atdata_client.client import ATProtoClient
from atdata_client.index import IndexClient
from atdata_client.tables import own_table, pairs_table

type _Kind = Literal["dataset", "schema", "lens"]


def login(
    handle: Annotated[
        str | None,
        typer.Argument(envvar="ATDATA_APPVIEW_HANDLE", help="The account: a handle or DID."),
    ] = None,
    pds: Pds = None,
) -> None:
    """Begin a session for the commands that follow.

    The password, or better an app password, is asked for without showing it (or read from
    ATDATA_APPVIEW_PASSWORD) and not kept. What is kept are the tokens of the session, in a file
    that only you can read: ATDATA_APPVIEW_SESSION, or session.json in your configuration folder.
    """
    if not handle:
        if not sys.stdin.isatty():
            raise typer.BadParameter("who? Give a handle, or set ATDATA_APPVIEW_HANDLE")
        handle = str(typer.prompt("Handle", err=True))
    with ATProtoClient(base_url=pds) as client:
        client.login(handle, password_of(handle))
        kept = KeptSession.of(client, pds)
    SessionFile.of_user().write(kept)
    typer.echo(f"logged in as {kept.handle} ({kept.did})")


def logout() -> None:
    """Forget the session that `login` began."""
    if not SessionFile.of_user().delete():
        typer.echo("not logged in", err=True)
        raise typer.Exit(1)
    typer.echo("logged out")


def whoami(handle: Handle = None, pds: Pds = None, as_json: AsJson = None) -> None:
    """Say whose session it is, and try it."""
    with session(handle, pds) as client:
        kept = KeptSession.of(client, pds)
    about = {"handle": kept.handle, "did": kept.did, "pds": kept.home or ""}
    answer([about], as_json, lambda: pairs_table(about.items()))


def mine(
    kind: Annotated[
        _Kind | None, typer.Argument(metavar="[dataset|schema|lens]", help="Only these.")
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Also whether the index has each of them.")
    ] = False,
    as_json: AsJson = None,
    index: Index = None,
    handle: Handle = None,
    pds: Pds = None,
) -> None:
    """List your own datasets, schemas and lenses, as they are on your PDS."""
    with session(handle, pds) as client:
        records = list(_records(client, kind))
    if status:
        with IndexClient(index) as asked:
            for record in records:
                record["status"] = asked.record_status(record["uri"]).status
    answer(records, as_json, lambda: own_table(records) if records else "nothing published")


def update(
    uri: Annotated[str, typer.Argument(metavar="AT-URI", help="A record of your own.")],
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    description: Annotated[str | None, typer.Option(help="New description.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="New tag in place of all; repeatable.")
    ] = None,
    license: Annotated[str | None, typer.Option(help="New license.")] = None,
    url: Annotated[
        list[str] | None, typer.Option(help="New shards in place of all; repeatable.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=0, help="New number of samples.")] = None,
    bytes: Annotated[int | None, typer.Option(min=0, help="New number of bytes.")] = None,
    clear: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="A field to take away; repeatable.")
    ] = None,
    swap_cid: SwapCid = None,
    handle: Handle = None,
    pds: Pds = None,
) -> None:
    """Change some fields of a record of your own; prints its new CID."""
    kind = checked_uri(uri)
    said = {
        "name": name,
        "description": description,
        "tags": tag,
        "license": license,
        "urls": url,
        "size": size_of(samples, bytes),
    }
    changes: dict[str, Any] = {field: value for field, value in said.items() if value is not None}
    if kind != "dataset" and (odd := changes.keys() - {"name", "description"}):
        raise typer.BadParameter(f"a {kind} has no {', '.join(sorted(odd))}")
    changes |= dict.fromkeys(clear or ())
    if not changes:
        raise typer.BadParameter("nothing to change: see --help")
    with session(handle, pds) as client:
        typer.echo(client.update_record(uri, changes, swap_cid=swap_cid))


def delete(
    uri: Annotated[str, typer.Argument(metavar="AT-URI", help="A record of your own.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    swap_cid: SwapCid = None,
    handle: Handle = None,
    pds: Pds = None,
) -> None:
    """Delete a record of your own from your PDS. It asks first, except with --yes."""
    checked_uri(uri)
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("give --yes: there is no terminal to ask at")
    with session(handle, pds) as client:
        if not yes:
            name = client.get_record(uri).get("name")
            typer.confirm(f"Delete {json.dumps(name)} ({uri})?", abort=True, err=True)
        client.delete_record(uri, swap_cid=swap_cid)


def codegen(
    uri: Annotated[str, typer.Argument(metavar="AT-URI", help="A published schema.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file, in place of the terminal.")
    ] = None,
    plc: Plc = None,
) -> None:
    """Write the Python module that a published schema describes."""
    from atdata_client._net.identity import PLC_DIRECTORY
    from atdata_client.schema import SchemaLoader

    checked_uri(uri, "schema")
    with ATProtoClient(plc_url=plc or PLC_DIRECTORY) as client:
        source = SchemaLoader(client).generate_module(uri)
    if output is None:
        typer.echo(source, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(source)
    except FileExistsError as error:
        raise ValueError(f"{output} is there already") from error


def _records(client: ATProtoClient, wanted: _Kind | None) -> Iterator[dict[str, Any]]:
    from atdata_client._records.lexicon import DATASET_NSID, LENS_NSID, SCHEMA_NSID

    nsids = {"dataset": DATASET_NSID, "schema": SCHEMA_NSID, "lens": LENS_NSID}
    for kind, nsid in nsids.items():
        if wanted in (None, kind):
            yield from client.list_records(nsid)


COMMANDS: tuple[Callable[..., None], ...] = (
    login,
    logout,
    whoami,
    mine,
    update,
    delete,
    codegen,
)
