"""Publish a schema, a dataset or a lens to your own PDS.

The account is ATDATA_APPVIEW_HANDLE (or --handle), its password or app password
ATDATA_APPVIEW_PASSWORD, or asked for without showing it; the PDS is the one the account names, or
--pds. Each command prints the AT-URI of the record.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer

from atdata_client.client import ATProtoClient

Handle = Annotated[
    str | None,
    typer.Option(envvar="ATDATA_APPVIEW_HANDLE", help="The account: a handle or DID."),
]
Pds = Annotated[
    str | None,
    typer.Option(metavar="URL", envvar="ATDATA_APPVIEW_PDS", help="Its PDS, if not found."),
]
Description = Annotated[str | None, typer.Option(help="What people should know.")]


def schema(
    sample: Annotated[str, typer.Argument(metavar="MODULE:CLASS", help="A sample class.")],
    name: Annotated[str | None, typer.Option(help="Name, if not the class's.")] = None,
    version: Annotated[str, typer.Option(help="Semantic version.")] = "1.0.0",
    description: Description = None,
    handle: Handle = None,
    pds: Pds = None,
) -> None:
    """Publish the schema of a sample class (and of the ones nested in it)."""
    from atdata_client.schema import SchemaPublisher

    sample_type = _imported(sample)
    with _session(handle, pds) as client:
        publisher = SchemaPublisher(client)
        uri = publisher.publish_schema(
            sample_type, name=name, version=version, description=description
        )
    typer.echo(uri)


def dataset(
    urls: Annotated[list[str], typer.Argument(help="Shards, in brace notation: x-{00..49}.tar")],
    name: Annotated[str, typer.Option(help="Name of the dataset.")],
    schema: Annotated[
        str | None, typer.Option(metavar="AT-URI", help="The published schema of its samples.")
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(metavar="MODULE:CLASS", help="Publish this class's schema first."),
    ] = None,
    description: Description = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; repeatable.")] = None,
    license: Annotated[str | None, typer.Option(help="License, SPDX preferred.")] = None,
    handle: Handle = None,
    pds: Pds = None,
) -> None:
    """Publish where a dataset is, with its schema (--schema) or sample class (--sample)."""
    from atdata_client._lexicon import DATASET_NSID, build_dataset_record, check_record
    from atdata_client.schema import ANY_SCHEMA_URI, SchemaPublisher

    if (schema is None) == (sample is None):
        raise typer.BadParameter("give one of --schema and --sample")
    sample_type = None if sample is None else _imported(sample)
    record = build_dataset_record(
        name=name,
        schema_uri=schema or ANY_SCHEMA_URI,
        urls=urls,
        description=description,
        tags=tag,
        license=license,
    )
    check_record(record)
    with _session(handle, pds) as client:
        if sample_type is not None:
            record["schemaRef"] = SchemaPublisher(client).publish_schema(sample_type)
        uri = client.create_record(DATASET_NSID, record)
    typer.echo(uri)


def lens(
    getter: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="Source to target.")],
    putter: Annotated[
        str, typer.Argument(metavar="MODULE:FUNCTION", help="Target and source back to source.")
    ],
    name: Annotated[str, typer.Option(help="Name of the lens.")],
    source: Annotated[str, typer.Option(metavar="AT-URI", help="The source schema.")],
    target: Annotated[str, typer.Option(metavar="AT-URI", help="The target schema.")],
    repository: Annotated[str, typer.Option(metavar="URL", help="Where the code can be read.")],
    commit: Annotated[str, typer.Option(help="At which commit.")],
    description: Description = None,
    handle: Handle = None,
    pds: Pds = None,
) -> None:
    """Publish a lens between two schemas, with a reference to its code."""
    from atdata_client.lens import LensPublisher

    functions = (_imported(getter), _imported(putter))
    with _session(handle, pds) as client:
        uri = LensPublisher(client).publish_lens(
            *functions,
            name=name,
            source_schema_uri=source,
            target_schema_uri=target,
            description=description,
            code_repository=repository,
            code_commit=commit,
        )
    typer.echo(uri)


@contextmanager
def _session(handle: str | None, pds: str | None) -> Iterator[ATProtoClient]:
    if not handle:
        raise typer.BadParameter("who publishes? Set ATDATA_APPVIEW_HANDLE, or give --handle")
    password = os.environ.get("ATDATA_APPVIEW_PASSWORD")
    if not password:
        if not sys.stdin.isatty():
            raise typer.BadParameter("set ATDATA_APPVIEW_PASSWORD: there is no terminal to ask at")
        password = typer.prompt(f"Password of {handle}", hide_input=True, err=True)
    with ATProtoClient(base_url=pds) as client:
        client.login(handle, password)
        yield client


def _imported(name: str) -> Any:
    """What `module:qualname` names, the current folder included. Raises typer.BadParameter."""
    module_name, _, qualname = name.partition(":")
    if not module_name or not qualname:
        raise typer.BadParameter(f"{name!r} is not of the form module:name")
    if "" not in sys.path and os.getcwd() not in sys.path:
        # As `python -m` would; a console script has its own folder there instead.
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == "atdata":
            raise  # an extra brings it, which the caller says
        if f"{module_name}.".startswith(f"{error.name}."):
            raise typer.BadParameter(f"no module {module_name!r} here or installed") from error
        raise typer.BadParameter(f"{module_name!r} needs {error.name!r}: not installed") from error
    for part in qualname.split("."):
        if not hasattr(found, part):
            raise typer.BadParameter(f"{module_name!r} has no {qualname!r}")
        found = getattr(found, part)
    return found


COMMANDS: tuple[Callable[..., None], ...] = (schema, dataset, lens)
"""The subcommands of `publish`."""
