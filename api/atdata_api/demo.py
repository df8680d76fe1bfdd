"""The demo: a recorded network on loopback, the real AppView over it, a few searches, tables."""

import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from atdata_api.server import AppView
from atdata_client import IndexClient
from atdata_client.index import Sort
from atdata_client.tables import dataset_table
from atdata_indexer.daemon import Indexer
from atdata_indexer.playback import Playback, recorded
from atdata_indexer.settings import Settings

MINIMUM = 3
"""What each search of the demo must find."""


@dataclass(frozen=True, slots=True)
class Question:
    """One search of the demo: what it asks, in words, and as arguments."""

    title: str
    q: str | None = None
    tags: Sequence[str] = ()
    sort: Sort | None = None


QUESTIONS = (
    Question("chest x-ray", q="chest x-ray"),
    Question("speech, by relevance", q="speech"),
    Question("satellite, oldest first", q="satellite", sort="oldest"),
    Question("tag protein, newest first", tags=("protein",), sort="newest"),
    Question("image, tag segmentation", q="image", tags=("segmentation",)),
)


async def play(settings: Settings, *, stay: bool) -> int:
    """Run the demo. Returns the exit code: 1 when a search finds fewer than MINIMUM datasets."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    playback = recorded()
    with tempfile.TemporaryDirectory(prefix="atdata-demo-") as folder:
        async with playback.serve() as host:
            demo_settings = settings.model_copy(
                update={
                    "data_dir": Path(folder),
                    "relay": f"ws://{host}",
                    "first_cursor": 0,
                    "plc_url": f"http://{host}",
                    "handle_resolver": f"http://{host}",
                    "allow_loopback": True,
                    "backfill": False,
                }
            )
            async with AppView.start(demo_settings, clock=playback.clock) as (view, serving):
                console.print(
                    f"A recorded network of {len(playback.frames)} events plays on {host}."
                )
                await _indexed(view.indexer, playback, serving, console)
                enough = await asyncio.to_thread(_search, view.url, console)
                if not enough:
                    return 1
                if stay:
                    for number in (signal.SIGTERM, signal.SIGINT):
                        asyncio.get_running_loop().add_signal_handler(number, view.stop)
                    console.print(f"\nThe API stays up at [bold]{view.url}[/bold] (Ctrl-C ends it)")
                    program = Path(sys.argv[0])
                    console.print(f"Ask it: {program} search --index {view.url} speech")
                    await serving
    return 0


async def _indexed(
    indexer: Indexer, playback: Playback, serving: "asyncio.Task[None]", console: Console
) -> None:
    """Wait until everything is searchable, with a bar on a terminal and a line elsewhere."""
    columns = (TextColumn("indexing"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not sys.stdout.isatty()) as progress:
        bar = progress.add_task("indexing", total=playback.last_seq)
        while not indexer.is_current(playback.last_seq):
            if serving.done():
                await serving
                raise RuntimeError("the service ended before the recording was indexed")
            progress.update(bar, completed=indexer.sources()[0].cursor or 0)
            await asyncio.sleep(0.02)
        progress.update(bar, completed=playback.last_seq)
    console.print(f"Indexed up to event {playback.last_seq}.")


def _search(url: str, console: Console) -> bool:
    """Ask every question through the client and print what it finds."""
    enough = True
    with IndexClient(url) as index:
        for question in QUESTIONS:
            found = index.search_datasets(
                question.q, tags=question.tags, sort=question.sort, limit=5
            )
            rows = list(found)
            title = f"{question.title} ({found.total} found)"
            console.print(dataset_table(rows, title=title))
            if len(rows) < MINIMUM:
                console.print(f"[red]{question.title}: fewer than {MINIMUM} found[/red]")
                enough = False
    return enough
