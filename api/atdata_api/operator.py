"""The operator's commands: status, verify, rebuild, backup, restore and takedown.

Each asks the indexer that runs on the data directory, through its admin socket, or does the work
itself when none runs. Exit codes: 0 done and sound; 1 `verify` found a difference; 2 bad settings
or arguments; 3 it could not be done.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from atdata_api.commands import read_settings
from atdata_indexer import overview
from atdata_indexer.admin_client import AdminClient
from atdata_indexer.errors import IndexerError, IndexerUnavailable, StoreError
from atdata_indexer.exports import Export, Exports
from atdata_indexer.fetch import Fetcher
from atdata_indexer.index import backup as backups
from atdata_indexer.index.audit import Audit
from atdata_indexer.index.backup import Manifest
from atdata_indexer.index.moderation import Takedown
from atdata_indexer.net import strangers_client
from atdata_indexer.overview import Overview
from atdata_indexer.sampling import Sample, compare
from atdata_indexer.settings import Settings
from atdata_indexer.upkeep import Rebuilt, Upkeep

SAMPLED = 20
"""How many repos `verify` compares with their PDSs, if it is not told."""

type _Rows = list[tuple[str, object]]


class _Keeper(Protocol):
    """Who does the work: the running indexer, or this process."""

    def overview(self) -> Overview: ...
    def verify(self) -> Audit: ...
    def sample(self, size: int) -> Sample: ...
    def rebuild(self) -> Rebuilt: ...
    def backup(self, folder: Path) -> Manifest: ...
    def export(self) -> Export: ...
    def take_down(self, named: str, reason: str) -> Takedown: ...
    def put_back(self, named: str) -> Takedown: ...
    def takedowns(self) -> Sequence[Takedown]: ...


class _Stopped(Upkeep):
    """This process, on a data directory that no indexer holds."""

    def overview(self) -> Overview:
        return overview.of_stopped(self)

    def take_down(self, named: str, reason: str) -> Takedown:
        taken = super().take_down(named, reason)
        # No exporter looks whether it is in the files, which others may serve meanwhile.
        Exports(self.settings.data_dir).withdraw()
        return taken

    def sample(self, size: int) -> Sample:
        return asyncio.run(self._sample(size))

    async def _sample(self, size: int) -> Sample:
        settings = self.settings
        client = strangers_client(settings.user_agent, allow_private=settings.allow_loopback)
        async with client:
            fetcher = Fetcher(client, repo_bytes=settings.repo_mb << 20)
            return await compare(
                self.store,
                fetcher,
                size,
                verify=settings.verify == "full",
                collections=settings.collections,
            )


def status(argv: list[str]) -> int:
    """Say how the service is doing."""
    arguments = command_parser("status", "Say how the service is doing.").parse_args(argv)

    def work(keeper: _Keeper) -> int:
        found = keeper.overview()
        say(arguments.as_json, asdict(found), _status_rows(found))
        return 0

    return _with_keeper(work)


def verify(argv: list[str]) -> int:
    """Check every stored record and the index against the database."""
    parser = command_parser(
        "verify",
        "Check every stored body against its CID, the index against the database, and some repos"
        " against their PDSs.",
    )
    parser.add_argument(
        "--repos", type=int, default=SAMPLED, metavar="N", help=f"how many repos [{SAMPLED}]"
    )
    arguments = parser.parse_args(argv)

    def work(keeper: _Keeper) -> int:
        found = keeper.verify()
        sample = keeper.sample(arguments.repos) if arguments.repos > 0 else Sample()
        value = asdict(found) | {"sample": asdict(sample)}
        say(arguments.as_json, value, _verify_rows(found, sample))
        return 1 if found.differences or sample.differing.count else 0

    return _with_keeper(work)


def rebuild(argv: list[str]) -> int:
    """Make the index anew from the database, or all of it from the network."""
    parser = command_parser("rebuild", "Make the search index anew from the database.")
    parser.add_argument(
        "--from-network",
        action="store_true",
        help="put the database aside, however damaged, so that all is fetched again",
    )
    arguments = parser.parse_args(argv)

    def work(keeper: _Keeper) -> int:
        made = asdict(keeper.rebuild())
        say(arguments.as_json, made, list(made.items()))
        return 0

    def begin_anew(settings: Settings) -> int:
        found = {"put_aside": backups.put_aside(settings.data_dir)}
        rows: _Rows = [
            ("put aside", found["put_aside"]),
            ("next", "start the indexer, or `backfill`: all that authors hold is fetched again"),
        ]
        say(arguments.as_json, found, rows)
        return 0

    return guarded(begin_anew) if arguments.from_network else _with_keeper(work)


def backup(argv: list[str]) -> int:
    """Copy the database to a new folder."""
    parser = command_parser("backup", "Copy the database, as it is at one moment, to a new folder.")
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder that is not there yet")
    arguments = parser.parse_args(argv)

    def work(keeper: _Keeper) -> int:
        made = asdict(keeper.backup(arguments.folder))
        say(arguments.as_json, made, list(made.items()))
        return 0

    return _with_keeper(work)


def export(argv: list[str]) -> int:
    """Export the index as Parquet files, which the API offers at `/export/`."""
    parser = command_parser("export", "Export the index as Parquet files, offered at /export/.")
    arguments = parser.parse_args(argv)

    def work(keeper: _Keeper) -> int:
        made = keeper.export()
        rows: _Rows = [("seq", made.seq), ("made at", made.made_at)]
        rows += [(name, f"{one.rows} rows, {one.bytes} bytes") for name, one in made.files.items()]
        say(arguments.as_json, asdict(made), rows)
        return 0

    return _with_keeper(work)


def restore(argv: list[str]) -> int:
    """Put the database of a backup in place, under a new epoch."""
    parser = command_parser(
        "restore", "Put the database of a backup in place; the indexer must not run."
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="what `backup` made")
    parser.add_argument("--replace", action="store_true", help="put a database aside that is there")
    arguments = parser.parse_args(argv)

    def work(settings: Settings) -> int:
        made = backups.restore(
            arguments.folder,
            settings.data_dir,
            replace=arguments.replace,
            memory_limit=settings.memory_limit,
        )
        rows: _Rows = [
            ("restored", f"{arguments.folder} of {made.manifest.made_at}"),
            ("epoch", made.epoch),
            ("put aside", made.replaced),
            ("next", "start the indexer: it makes the search index anew"),
        ]
        say(arguments.as_json, asdict(made), rows)
        return 0

    return guarded(work)


def takedown(argv: list[str]) -> int:
    """Hide a record or an account, show it again, or list what is hidden."""
    parser = command_parser(
        "takedown", "Hide a record or an account everywhere; without one, list what is hidden."
    )
    parser.add_argument(
        "subject", metavar="SUBJECT", nargs="?", help="at://… of a record, a DID or a handle"
    )
    parser.add_argument(
        "--reason", default="", metavar="TEXT", help="why; getRecordStatus tells it"
    )
    parser.add_argument("--undo", action="store_true", help="show it again")
    arguments = parser.parse_args(argv)
    if arguments.undo and arguments.subject is None:
        parser.error("--undo needs a SUBJECT")

    def work(keeper: _Keeper) -> int:
        if arguments.subject is None:
            listed = keeper.takedowns()
            rows: _Rows = [(one.subject, one.reason or "no reason given") for one in listed]
            say(arguments.as_json, [asdict(one) for one in listed], rows)
            return 0
        if arguments.undo:
            done = keeper.put_back(arguments.subject)
        else:
            done = keeper.take_down(arguments.subject, arguments.reason)
        what = "put back" if arguments.undo else "taken down"
        say(
            arguments.as_json, asdict(done), [(what, done.subject), ("reason", done.reason or None)]
        )
        return 0

    return _with_keeper(work)


def _with_keeper(work: Callable[[_Keeper], int]) -> int:
    def with_settings(settings: Settings) -> int:
        with _keeper(settings) as keeper:
            return work(keeper)

    return guarded(with_settings)


@contextmanager
def _keeper(settings: Settings) -> Iterator[_Keeper]:
    """The running indexer if one answers, else this process on its data directory."""
    with ExitStack() as stack:
        client = AdminClient(settings.data_dir)
        keeper: _Keeper = client
        try:
            client.head()
        except IndexerUnavailable as silent:
            try:
                keeper = stack.enter_context(_Stopped.open(settings))
            except StoreError as error:
                raise StoreError(f"{error}\n{silent}") from error
        yield keeper


def guarded(work: Callable[[Settings], int]) -> int:
    """Do `work` with the settings; gives the exit code."""
    settings = read_settings(log_level="warning")
    if settings is None:
        return 2
    try:
        return work(settings)
    except (IndexerError, OSError) as error:  # the latter of what it writes: a full disk
        sys.stderr.write(f"{error}\n")
        return 3


def command_parser(name: str, description: str) -> argparse.ArgumentParser:
    """The parser of an operator's command, which says what it did as JSON or as a table."""
    parser = argparse.ArgumentParser(
        f"atdata-appview {name}",
        description=description,
        epilog=f"The data directory is that of {Settings.variable('data_dir')}.",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", dest="as_json", action="store_true", default=None, help="JSON")
    shape.add_argument(
        "--table", dest="as_json", action="store_false", help="a table [default on a terminal]"
    )
    return parser


def say(as_json: bool | None, value: object, rows: _Rows) -> None:
    """Print one JSON value, or a table of what there is to say."""
    if as_json is None:
        as_json = not sys.stdout.isatty()
    if as_json:
        sys.stdout.write(json.dumps(value) + "\n")
        return
    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, said in rows:
        if said is not None:
            table.add_row(name, Text(str(said)))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _status_rows(found: Overview) -> _Rows:
    census = found.census
    rows: _Rows = [("indexer", "running" if found.running else "stopped")]
    for source in found.sources:
        lag = "unknown" if source.lag_us is None else f"{source.lag_us / 1e6:.1f} s"
        state = "connected" if source.connected else "disconnected"
        rows.append(("source", f"{source.name}: {state}, cursor {source.cursor}, lag {lag}"))
    if not found.sources:
        rows += [("cursor", f"{name}: {seq}") for name, seq in census.cursors.items()]
    seq = "cannot be read" if found.index_seq is None else found.index_seq
    return [
        *rows,
        ("index", f"at {seq} of {census.head}"),
        ("waiting", f"{found.waiting_bytes} bytes" if found.running else None),
        ("per second", _counted(found.rates) if found.running else None),
        ("since start", _counted(found.counts) if found.running else None),
        ("repos", _counted(census.repos)),
        ("fetches", _counted(found.repo_counts) if found.running else None),
        ("accounts", _counted(census.accounts)),
        ("records", _counted(census.records)),
        ("quarantine", _counted(census.quarantine)),
        ("identities due", census.identities_due),
        ("epoch", census.epoch),
    ]


def _verify_rows(found: Audit, sample: Sample) -> _Rows:
    rows: _Rows = [
        ("at", found.seq),
        ("bodies", found.bodies),
        ("documents", found.documents),
    ]
    for name in ("altered", "missing", "stale", "surplus"):
        difference = getattr(found, name)
        rows.append((name, "\n".join([str(difference.count), *difference.uris])))
    rows.append(("repos", f"{sample.repos} equal their PDSs, with {sample.records} records"))
    for name in ("moving", "unreachable"):
        rows.append((name, getattr(sample, name) or None))
    differing = sample.differing
    rows.append(("differing", "\n".join([str(differing.count), *differing.uris])))
    differences = found.differences + differing.count
    rows.append(("", f"{differences} differences" if differences else "sound"))
    return rows


def _counted(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
