"""The operator's `backfill`: find repos with records of ours and fetch what is behind.

The running indexer is asked to do it, or this process does it on a data directory that no indexer
holds. Either way what is found and what was fetched stands in the database, so a backfill that is
cut short is gone on with by the next, and by the indexer itself.
"""

import argparse
import asyncio
import re
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass

import structlog
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from atdata_api.commands import leaves
from atdata_api.operator import command_parser, guarded, say
from atdata_indexer import overview
from atdata_indexer.admin_client import AdminClient
from atdata_indexer.daemon import Indexer
from atdata_indexer.errors import IndexerError, IndexerUnavailable, StoreError
from atdata_indexer.overview import Overview
from atdata_indexer.settings import Settings

LOOKED_S = 0.25
LOGGED_S = 5.0
_HOST = re.compile(r"https?://[^/?#\s]+/?")


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What a backfill did: `unasked` hosts did not answer; repos `named` by hosts (several times,
    perhaps), `new` ones, `fetched`, `gone` and `behind`: those that could not be had and will be
    tried again.
    """

    unasked: int
    named: int
    new: int
    fetched: int
    gone: int
    behind: int


def backfill(argv: list[str]) -> int:
    """Find repos and fetch what is behind. Ends with 1 when a host or a repo could not be had."""
    parser = command_parser(
        "backfill",
        "Ask hosts which repos have records of ours, and fetch all that are behind.",
    )
    parser.add_argument(
        "--host",
        dest="hosts",
        action="append",
        default=[],
        type=_host,
        metavar="URL",
        help="ask this host, a relay, directory or PDS, instead of those of"
        f" {Settings.variable('directories')}; may be repeated",
    )
    arguments = parser.parse_args(argv)

    def work(settings: Settings) -> int:
        try:
            done = asyncio.run(_backfill(settings, arguments.hosts))
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise StoreError("cut short: the next backfill goes on there") from None
        except ExceptionGroup as error:
            if error.split(IndexerError)[1] is not None:
                raise
            raise StoreError("; ".join(map(str, leaves(error)))) from error
        say(arguments.as_json, asdict(done), list(asdict(done).items()))
        return 1 if done.behind or done.unasked else 0

    return guarded(work)


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text} is not the address of a host (https://…)")
    return text.rstrip("/")


async def _backfill(settings: Settings, hosts: list[str]) -> Backfilled:
    client = AdminClient(settings.data_dir)
    try:
        before = client.overview()
    except IndexerUnavailable:
        return await _by_itself(settings, hosts)
    client.backfill(hosts)
    with _Display() as display:
        while (now := await asyncio.to_thread(client.overview)).backfilling:
            display.show(before, now)
            await asyncio.sleep(LOOKED_S)
        display.show(before, now)
    return _difference(before, now)


async def _by_itself(settings: Settings, hosts: list[str]) -> Backfilled:
    """Do it in this process. Raises StoreError."""
    if not settings.backfill:
        raise StoreError(f"{Settings.variable('backfill')} says that no repo is fetched")
    async with Indexer.open(settings, lines=[]) as indexer:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, _cancel, asyncio.current_task())
        before = overview.of_running(indexer, {})
        running = asyncio.create_task(indexer.run())
        working = asyncio.create_task(indexer.backfill(hosts))
        try:
            with _Display() as display:
                while not working.done() and not running.done():
                    display.show(before, overview.of_running(indexer, {}))
                    await asyncio.wait({working, running}, timeout=LOOKED_S)
                now = overview.of_running(indexer, {})
                display.show(before, now)
            if running.done():
                await running
            await working
        finally:
            for task in (working, running):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        return _difference(before, now)


def _cancel(task: "asyncio.Task[None] | None") -> None:
    if task is not None:
        task.cancel()


class _Display:
    """How far it is: a bar on a terminal, a line in the log now and then elsewhere."""

    def __init__(self) -> None:
        columns = (TextColumn("fetching repos"), BarColumn(), MofNCompleteColumn())
        self._on_screen = sys.stderr.isatty()
        self._bar = Progress(*columns, TimeElapsedColumn(), disable=not self._on_screen)
        self._task = self._bar.add_task("fetching", total=None)
        self._logged = float("-inf")

    def __enter__(self) -> "_Display":
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.stop()

    def show(self, before: Overview, now: Overview) -> None:
        """Show how far it is."""
        so_far = _difference(before, now)
        total = so_far.fetched + so_far.gone + so_far.behind
        self._bar.update(self._task, completed=so_far.fetched + so_far.gone, total=total)
        clock = asyncio.get_running_loop().time()
        if not self._on_screen and clock - self._logged >= LOGGED_S:
            self._logged = clock
            structlog.get_logger().warning("backfilling", **asdict(so_far))


def _difference(before: Overview, now: Overview) -> Backfilled:
    grown = {k: count - before.repo_counts.get(k, 0) for k, count in now.repo_counts.items()}
    return Backfilled(
        unasked=grown.get("hosts_failed", 0),
        named=grown.get("named", 0),
        new=grown.get("new", 0),
        fetched=grown.get("fetched", 0),
        gone=grown.get("gone", 0),
        behind=now.behind,
    )
