"""The `atdata-appview` command: searching, showing and publishing, and the server's commands.

What the user can mend ends in one line on stderr and an exit code, never in a traceback. Answers
are tables on a terminal and JSON elsewhere, one object a line.
"""

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from atdata_client.cli import account
from atdata_client.cli import find as finding
from atdata_client.cli import mcp as models
from atdata_client.cli import publish as publishing
from atdata_client.cli.shared import AsJson, Index, answer
from atdata_client.errors import (
    AtdataClientError,
    AuthenticationError,
    IndexClientError,
    XrpcError,
)
from atdata_client.index import IndexClient
from atdata_client.tables import plain, status_table

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
    "export": ("atdata_api.operator:export", "Export the index as Parquet files."),
    "restore": ("atdata_api.operator:restore", "Put the database of a backup in place."),
    "takedown": ("atdata_api.operator:takedown", "Hide a record or an account, or list these."),
}
"""Commands of the server: what to call with the arguments that follow, and the help."""

_OURS = frozenset({"atdata_api", "atdata_client", "atdata_indexer", "atdata_schemas"})


def main(argv: list[str] | None = None) -> None:
    """Run the command and exit; `argv` is without the program's name, by default the process's."""
    from stamina.instrumentation import set_on_retry_hooks

    set_on_retry_hooks(())  # they would log into what is printed
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _told(warnings.showwarning)
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
    for command in (finding.search, finding.show, status):
        app.command()(command)
    app.add_typer(_group("Ways through lenses.", finding.path), name="lens")
    app.add_typer(_group(publishing.__doc__, *publishing.COMMANDS), name="publish")
    for command in account.COMMANDS:
        app.command()(command)
    app.command()(models.mcp)
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


def _group(text: str | None, *commands: Callable[..., None]) -> typer.Typer:
    group = typer.Typer(help=text, no_args_is_help=True, cls=_Group, rich_markup_mode=None)
    for command in commands:
        group.command()(command)
    return group


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
    answer([found], as_json, lambda: status_table(found))
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
            if ctx.invoked_subcommand == "mcp":
                _refuse_missing_part(f"{ctx.command_path} mcp", error, "mcp")
            _refuse_missing_part(ctx.command_path, error, "atdata")
        except XrpcError as error:
            said = f"{error.error}: {error.message}" if error.message else error.error
            unreachable = error.status is None or error.status >= 500 or error.status == 429
            if isinstance(error, IndexClientError | AuthenticationError) or unreachable:
                said = f"{error.service}: {said}"
            _complain(said)
            raise typer.Exit(3 if unreachable else 1) from error
        except (AtdataClientError, ValueError, NotImplementedError, OSError) as error:
            if ctx.invoked_subcommand in SERVER_COMMANDS or isinstance(error, BrokenPipeError):
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


def _told(show: Callable[..., None]) -> Callable[..., None]:
    """Shows the warnings that are for users, as of a license, without the place in the code."""

    def tell(message: Warning | str, category: type[Warning], *more: Any) -> None:
        if category is UserWarning:
            _complain(f"warning: {message}")
        else:
            show(message, category, *more)

    return tell


def _complain(message: str) -> None:
    print(plain(message).plain, file=sys.stderr)
