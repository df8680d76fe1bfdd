"""The real program, which kills itself at a named step.

    python tests/crashing.py STEP N FILE -- run

On the N-th passing of STEP the process writes STEP to FILE, brings it to the disk and sends itself
SIGKILL. Nothing else is changed: each step only watches the function that takes it.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from atdata_client.cli import main
from atdata_indexer import sync
from atdata_indexer.fetch import Fetcher
from atdata_indexer.frames import Account
from atdata_indexer.index import writer
from atdata_indexer.index.database import Database
from atdata_indexer.index.store import Store

type Passing = Callable[[], None]


def database_commit(before: Passing, after: Passing) -> None:
    """A DuckDB transaction with everything in it, before and after its COMMIT."""
    real: Any = Database._transaction

    @contextmanager
    def transaction(store: Database) -> Iterator[None]:
        with real(store):
            yield
            before()
        after()

    _put(Database, "_transaction", transaction)


def index_commit(before: Passing, after: Passing) -> None:
    """A tantivy commit."""
    real: Any = writer._Commit.__exit__

    def leave(commit: Any, kind: object, error: object, trace: object) -> bool | None:
        before()
        handled: bool | None = real(commit, kind, error, trace)
        after()
        return handled

    _put(writer._Commit, "__exit__", leave)


def swap(before: Passing, after: Passing) -> None:
    """CURRENT names the index that a rebuild has made."""
    _watch(writer, "write_atomically", before, after)


def fetch(before: Passing, after: Passing) -> None:
    """A repo is asked for, while others are under way, and is there."""
    real: Any = Fetcher.repo

    async def repo(fetcher: Fetcher, pds: str, did: str) -> bytes:
        before()
        car: bytes = await real(fetcher, pds, did)
        after()
        return car

    _put(Fetcher, "repo", repo)


def snapshot(before: Passing, after: Passing) -> None:
    """A repo that was fetched is read; nothing of it is stored yet."""
    _watch(sync, "read_snapshot", before, after)


def hide(before: Passing, after: Passing) -> None:
    """An account that is not active is hidden in the database; the index comes after that."""
    real: Any = Store.set_account

    def set_account(store: Store, event: Account, *rest: Any) -> bool:
        if not event.active:
            before()
        done: bool = real(store, event, *rest)
        if not event.active:
            after()
        return done

    _put(Store, "set_account", set_account)


def purge(before: Passing, after: Passing) -> None:
    """A deleted account's bodies are removed. What every start makes up for does not count."""
    real: Any = Store.purge

    def remove(store: Store, *dids: Any) -> None:
        if not dids:
            real(store)
            return
        before()
        real(store, *dids)
        after()

    _put(Store, "purge", remove)


def _put(owner: Any, name: str, function: Callable[..., Any]) -> None:
    setattr(owner, name, function)


def _watch(module: Any, name: str, before: Passing, after: Passing) -> None:
    real = getattr(module, name)

    def watched(*arguments: Any, **options: Any) -> Any:
        before()
        result = real(*arguments, **options)
        after()
        return result

    _put(module, name, watched)


WATCHED: dict[str, Callable[[Passing, Passing], None]] = {
    "database-commit": database_commit,
    "index-commit": index_commit,
    "swap": swap,
    "fetch": fetch,
    "snapshot": snapshot,
    "hide": hide,
    "purge": purge,
}
STEPS = tuple(f"{side}-{name}" for name in WATCHED for side in ("before", "after"))


def arm(step: str, nth: int, file: str) -> None:
    """Kill this process when it passes `step` for the n-th time."""
    passings = itertools.count(1)

    def die() -> None:
        if next(passings) == nth:
            note = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(note, f"{step}\n".encode())
            os.fsync(note)
            os.kill(os.getpid(), signal.SIGKILL)

    def live_on() -> None:
        pass

    side, _, name = step.partition("-")
    WATCHED[name](*((die, live_on) if side == "before" else (live_on, die)))


if __name__ == "__main__":
    step, nth, file, _, *arguments = sys.argv[1:]
    arm(step, int(nth), file)
    main(arguments)
