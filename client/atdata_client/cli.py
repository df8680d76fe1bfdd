"""The `atdata-appview` command: searching, showing and publishing, and the server's commands.

What the user can mend ends in one line on stderr and an exit code, never in a traceback. Answers
are tables on a terminal and JSON elsewhere, one object a line.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console, RenderableType
from typer.core import TyperGroup

from atdata_client import _cli_publish as publishing
from atdata_client._types import View, as_json
from atdata_client.errors import (
    AtdataClientError,
    AuthenticationError,
    IndexClientError,
    XrpcError,
)
from atdata_client.index import DEFAULT_URL, IndexClient
from atdata_client.tables import dataset_table, plain, status_table, view_table

EXIT_CODES = """
Exit codes: 0 done; 1 refused or not there (the record, the login, what was to be published);
2 wrong usage, or a part that is not installed; 3 no answer from the index or the PDS.
"""

SERVER_COMMANDS = {
    "run": ("atdata_api.commands:run", "Index the network and answer queries, until stopped."),
    "index": ("atdata_api.commands:index", "Index the network; `serve` answers queries."),
    "serve": ("atdata_api.commands:serve", "Answer queries over what `index` keeps."),
    "demo": ("atdata_api.commands:demo", "Index a recorded network on this machine and search it."),
    "backfill": ("atdata_api.backfill:backfill", "Find repos and fetch what is behind."),
    "verify": ("atdata_api.operator:verify", "Check records, search index and some repos."),
    "rebuild": ("atdata_api.operator:rebuild", "Make the search index anew from the database."),
    "backup": ("atdata_api.operator:backup", "Copy the database to a new folder."),
    "restore": ("atdata_api.operator:restore", "Put the database of a backup in place."),
}
"""Commands of the server: what to call with the arguments that follow, and the help."""

_OURS = frozenset({"atdata_api", "atdata_client", "atdata_indexer", "atdata_schemas"})

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


def main(argv: list[str] | None = None) -> None:
    """Run the command and exit; `argv` is without the program's name, by default the process's."""
    from stamina.instrumentation import set_on_retry_hooks

    set_on_retry_hooks(())  # they would log into what is printed
    build()(args=argv, prog_name="atdata-appview")


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        cls=_Group,
        help="Find, show and publish typed ML datasets on the AT Protocol." + "\n\n" + EXIT_CODES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    for command in (search, show, status):
        app.command()(command)
    publish = typer.Typer(
        help=publishing.__doc__, no_args_is_help=True, cls=_Group, rich_markup_mode=None
    )
    for command in publishing.COMMANDS:
        publish.command()(command)
    app.add_typer(publish, name="publish")
    for name, (target, text) in SERVER_COMMANDS.items():
        settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        passed_on = app.command(
            name,
            help=f"{text}  (server)",
            context_settings=settings,
            add_help_option=False,
        )
        passed_on(_server_command(name, target))
    return app


def search(
    words: Annotated[list[str] | None, typer.Argument(help="Words the dataset has.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag it carries; repeatable.")] = None,
    schema: Annotated[str | None, typer.Option(metavar="AT-URI", help="Of this schema.")] = None,
    author: Annotated[str | None, typer.Option(help="By this handle or DID.")] = None,
    sort: Annotated[
        Literal["relevance", "newest", "oldest"] | None, typer.Option(help="Order.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 25,
    as_json: AsJson = None,
    index: Index = None,
) -> None:
    """Find datasets that have all these words and tags."""
    with IndexClient(index) as client:
        found = client.search_datasets(
            " ".join(words or ()) or None,
            tags=tag or (),
            schema=schema,
            author=author,
            sort=sort,
            limit=limit,
        )
        views = list(found)
    more = "+" if found.total_is_bound else ""
    title = f"{len(views)} of {found.total}{more} datasets" if views else "no dataset found"
    _answer(views, as_json, lambda: dataset_table(views, title=title) if views else title)


def show(
    uri: Annotated[str, typer.Argument(metavar="AT-URI", help="A dataset, schema or lens.")],
    as_json: AsJson = None,
    index: Index = None,
) -> None:
    """Show one dataset, schema or lens of the index."""
    from atdata_schemas.records import KINDS
    from atdata_schemas.syntax import AtUri

    try:
        kind = KINDS.get(AtUri.parse(uri).collection)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with IndexClient(index) as client:
        getters: dict[str, Callable[[str], View]] = {
            "dataset": client.get_dataset,
            "schema": client.get_schema,
            "lens": client.get_lens,
        }
        if kind is None:
            raise typer.BadParameter(f"not a record of {', '.join(KINDS)}")
        view = getters[kind](uri)
    _answer([view], as_json, lambda: view_table(view))


def status(
    uri: Annotated[
        str | None, typer.Argument(metavar="AT-URI", help="Any record; none: the service itself.")
    ] = None,
    as_json: AsJson = None,
    index: Index = None,
) -> None:
    """Say why a record is, or is not, in the index; without one, how the service here is doing.

    Exit code 1 when the record is not in it. The service is that of this machine's data directory.
    """
    if uri is None:
        shape = [] if as_json is None else ["--json" if as_json else "--table"]
        raise typer.Exit(_call_server("status", "atdata_api.operator:status", shape))
    with IndexClient(index) as client:
        found = client.record_status(uri)
    _answer([found], as_json, lambda: status_table(found))
    if found.status != "indexed":
        raise typer.Exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("atdata-appview"))
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def _server_command(name: str, target: str) -> Callable[[typer.Context], None]:
    def command(ctx: typer.Context) -> None:
        raise typer.Exit(_call_server(name, target, list(ctx.args)))

    return command


def _call_server(name: str, target: str, arguments: list[str]) -> int:
    module, _, function = target.partition(":")
    try:
        call: Callable[[list[str]], int] = getattr(import_module(module), function)
        return call(arguments)
    except ModuleNotFoundError as error:
        _refuse_missing_part(f"atdata-appview {name}", error, "server")


class _Group(TyperGroup):
    """Ends the client's expected errors in a line and an exit code; the server's are its own."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            _refuse_missing_part(ctx.command_path, error, "atdata")
        except XrpcError as error:
            said = f"{error.error}: {error.message}" if error.message else error.error
            unreachable = error.status is None or error.status >= 500 or error.status == 429
            if isinstance(error, IndexClientError | AuthenticationError) or unreachable:
                said = f"{error.service}: {said}"
            _complain(said)
            raise typer.Exit(3 if unreachable else 1) from error
        except (AtdataClientError, ValueError, NotImplementedError) as error:
            if ctx.invoked_subcommand in SERVER_COMMANDS:
                raise
            _complain(str(error))
            raise typer.Exit(1) from error


def _refuse_missing_part(command: str, error: ModuleNotFoundError, extra: str) -> NoReturn:
    """Say which extra brings the module; a missing module of our own is a bug and goes on."""
    if (error.name or "").partition(".")[0] in _OURS:
        raise error
    _complain(
        f"{command} needs a part that is not installed (no module named {error.name!r}):\n"
        f"  pip install 'atdata-appview[{extra}]'"
    )
    raise typer.Exit(2) from error


def _complain(message: str) -> None:
    print(plain(message).plain, file=sys.stderr)


def _answer(
    values: Iterable[object], wants_json: bool | None, table: Callable[[], RenderableType]
) -> None:
    if wants_json is None:
        wants_json = not sys.stdout.isatty()
    if not wants_json:
        Console(width=None if sys.stdout.isatty() else _width()).print(table())
        return
    for value in values:
        print(json.dumps(as_json(value)))


def _width() -> int:
    return int(os.environ.get("COLUMNS") or 120)
