"""Publish a schema, a dataset or a lens to your own PDS.

The session is the one that `login` began. Without it the account is ATDATA_APPVIEW_HANDLE (or
--handle), its password or app password ATDATA_APPVIEW_PASSWORD, or asked for without showing it;
the PDS is the one the account names, or --pds. Each command prints the AT-URI of the record.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atdata_client.cli.shared import Handle, Index, Pds, complete_tag, session, size_of

if TYPE_CHECKING:
    from atdata_client.registry import SchemaRegistry

Description = Annotated[str | None, typer.Option(help="What people should know.")]
Registry = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        envvar="ATDATA_APPVIEW_REGISTRY",
        help="Remember here what was published: an unchanged schema is not published twice.",
    ),
]


def schema(
    sample: Annotated[str, typer.Argument(metavar="MODULE:CLASS", help="A sample class.")],
    name: Annotated[str | None, typer.Option(help="Name, if not the class's.")] = None,
    version: Annotated[str, typer.Option(help="Semantic version.")] = "1.0.0",
    description: Description = None,
    registry: Registry = None,
    handle: Handle = None,
    pds: Pds = None,
) -> None:
    """Publish the schema of a sample class (and of the ones nested in it)."""
    from atdata_client.schema import SchemaPublisher

    sample_type = _imported(sample)
    with session(handle, pds) as client:
        publisher = SchemaPublisher(client, registry=_registry(registry))
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
    tag: Annotated[
        list[str] | None, typer.Option(help="A tag; repeatable.", autocompletion=complete_tag)
    ] = None,
    license: Annotated[str | None, typer.Option(help="License, SPDX preferred.")] = None,
    samples: Annotated[int | None, typer.Option(min=0, help="How many samples it has.")] = None,
    bytes: Annotated[
        int | None, typer.Option(min=0, help="How many bytes its shards have.")
    ] = None,
    wait: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="Wait for the index, at most so long."),
    ] = 0,
    registry: Registry = None,
    index: Index = None,
    handle: Handle = None,
    pds: Pds = None,
) -> None:
    """Publish where a dataset is, with its schema (--schema) or sample class (--sample)."""
    from atdata_client._index.wait import wait_for_dataset
    from atdata_client._records.lexicon import (
        DATASET_NSID,
        build_dataset_record,
        check_record,
        warn_of_handles,
    )
    from atdata_client._records.license import warn_unless_spdx
    from atdata_client.index import IndexClient
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
        size=size_of(samples, bytes),
    )
    check_record(record)
    warn_of_handles(record)
    warn_unless_spdx(license)
    with session(handle, pds) as client:
        if sample_type is not None:
            publisher = SchemaPublisher(client, registry=_registry(registry))
            record["schemaRef"] = publisher.publish_schema(sample_type)
        uri = client.create_record(DATASET_NSID, record)
        typer.echo(uri)
        if wait:
            cid = client.fetch_record(uri).cid
            with IndexClient(index) as asked:
                wait_for_dataset(asked, uri, cid, timeout=wait)


def lens(
    name: Annotated[str, typer.Option(help="Name of the lens.")],
    source: Annotated[str, typer.Option(metavar="AT-URI", help="The source schema.")],
    target: Annotated[str, typer.Option(metavar="AT-URI", help="The target schema.")],
    getter: Annotated[
        str,
        typer.Argument(metavar="MODULE:NAME", help="A function, source to target, or a lens."),
    ],
    putter: Annotated[
        str | None,
        typer.Argument(metavar="[MODULE:NAME]", help="A function, target and source to source."),
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the code can be read.  [default: as git has it]"),
    ] = None,
    commit: Annotated[
        str | None, typer.Option(help="At which commit.  [default: the one checked out]")
    ] = None,
    description: Description = None,
    handle: Handle = None,
    pds: Pds = None,
) -> None:
    """Publish a lens between two schemas, with a reference to its code."""
    from atdata_client.lens import LensPublisher

    functions = (_imported(getter), None if putter is None else _imported(putter))
    with session(handle, pds) as client:
        try:
            uri = LensPublisher(client).publish_lens(
                *functions,
                name=name,
                source_schema_uri=source,
                target_schema_uri=target,
                description=description,
                code_repository=repository,
                code_commit=commit,
            )
        except TypeError as error:  # a function, and none for the way back
            raise typer.BadParameter(str(error)) from error
    typer.echo(uri)


def _registry(folder: Path | None) -> "SchemaRegistry | None":
    from atdata_client.registry import SchemaRegistry

    return None if folder is None else SchemaRegistry(folder)


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
