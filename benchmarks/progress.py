"""How far a benchmark is: a bar on a terminal, a line elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


@contextmanager
def steps(what: str, total: int) -> Iterator[Callable[[], object]]:
    """Gives what is to be called after each of `total` steps."""
    console = Console()
    started = time.perf_counter()
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn())
    on_terminal = console.is_terminal
    with Progress(*columns, console=console, disable=not on_terminal, transient=True) as progress:
        bar = progress.add_task(what, total=total)
        yield lambda: progress.advance(bar)
    print(f"{what}: {total} in {time.perf_counter() - started:.0f} s", flush=True)


def counted[T](what: str, items: Iterable[T], total: int) -> Iterator[T]:
    """The items, one step each."""
    with steps(what, total) as done:
        for item in items:
            yield item
            done()
