"""How fast searches are answered: `python -m benchmarks.search`, see `--help`.

A made-up network (`benchmarks.corpus`) is put into the store and indexed. Then questions of every
class are asked in turn, round after round, of

- the engine: what answers the query, in this process, from checked parameters to the JSON texts;
- HTTP: `atdata-appview run` as a process of its own, over one connection that is kept open;
- PostgreSQL, if wanted, over its Unix socket: one table with a weighted text vector under a GIN
  index, GIN on the tags and B-trees on (schema, created), (did, created) and (created), with more
  memory than it ships with. It is asked what it can answer, for the same 20 records, and never for
  a total.

The last line is JSON: the 95th percentile of all measurements of each, every class counting the
same; of the classes that both can answer the one where PostgreSQL comes nearest, and how many times
our median its median is there; the size of the index, and the memory of the serving process.
"""

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from atdata_api import links, records, searches
from atdata_indexer.admin_client import AdminClient
from atdata_indexer.index.query import Search
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.writer import current
from atdata_indexer.upkeep import INDEX
from atdata_schemas.lexicon import lexicons
from atdata_schemas.syntax import micros, parse_datetime
from benchmarks import peer, postgres
from benchmarks.appview import Client, Served, request, running
from benchmarks.corpus import Corpus
from benchmarks.filling import fill
from benchmarks.progress import counted, steps
from benchmarks.questions import LIMIT, SEARCH, Question, Questions, refused

RECORDS = 1_000_000
SMALL = 100_000
QUESTIONS, FEW_QUESTIONS = 40, 25
ROUNDS, FEW_ROUNDS = 3, 1
_OF_SEARCH = {
    "q": "q",
    "tags": "tags",
    "schema": "schema",
    "author": "author",
    "viewableAs": "viewable_as",
    "field": "fields",
    "createdAfter": "created_after_us",
    "createdBefore": "created_before_us",
}
"""The parameters that are part of a search, and what they are called there."""

_OPTIONS = ("sort", "limit", "cursor", "facets")

type Ask = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of one class, by who was asked; how many questions found nothing."""

    engine: list[float] = field(default_factory=list)
    http: list[float] = field(default_factory=list)
    pg: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """How many times our median PostgreSQL's is."""
        return statistics.median(self.pg) / statistics.median(self.engine)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A question, ready to be asked of each."""

    engine: Ask
    http: Ask
    pg: Ask | None


def main() -> int:
    """Build, measure, print."""
    options = _options()
    with ExitStack() as stack:
        folder = options.index or Path(stack.enter_context(_temporary()))
        corpus = Corpus(options.records, options.seed)
        connection = None
        if options.postgres:
            kept = None if options.index is None else folder / "postgres"
            connection = stack.enter_context(postgres.running(kept=kept, settings=peer.TUNED))
            print(postgres.about(connection), flush=True)
        spent = _build(folder, corpus, connection, rebuild=options.rebuild)
        print(json.dumps({"records": corpus.records, **spent}), flush=True)
        served = stack.enter_context(running(folder))
        measured = measure(
            folder, corpus, served, connection, options.questions, options.rounds, options.only
        )
        resident, most, own = served.memory_mb()
        print(
            f"memory of the serving process: {resident} MB, at most {most},"
            f" {own} MB without mapped files"
        )
    print(json.dumps(_figures(measured, _size_mb(folder) if options.index else spent["index_mb"],
                              resident)))  # fmt: skip
    return 0


def _build(
    folder: Path, corpus: Corpus, connection: postgres.Connection | None, *, rebuild: bool
) -> dict[str, float]:
    """Fill both, at the same time: PostgreSQL has processes of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    spent: dict[str, float] = {}
    failed: list[BaseException] = []

    def load() -> None:
        try:
            start = time.perf_counter()
            assert connection is not None
            if peer.load(connection, corpus):
                spent["pg_build_s"] = round(time.perf_counter() - start, 1)
        except BaseException as error:
            failed.append(error)

    loading = Thread(target=load)
    if connection is not None:
        loading.start()
    phases = fill(folder, corpus, rebuild=rebuild)
    if connection is not None:
        loading.join()
    if failed:
        raise failed[0]
    return {name: round(value, 1) for name, value in phases.items()} | spent | {
        "index_mb": _size_mb(folder)
    }  # fmt: skip


def measure(
    folder: Path,
    corpus: Corpus,
    served: Served,
    connection: postgres.Connection | None,
    count: int,
    rounds: int,
    only: Sequence[str],
) -> Mapping[str, Measured]:
    """Ask everything of everyone, in turn."""
    asking = Asking(folder, Client(served), connection)
    questions = Questions(corpus)
    prepared: dict[str, list[Prepared]] = {}
    for name in counted("classes prepared", only or questions.classes, len(questions.classes)):
        # Other questions in each round: the engine remembers what it was asked.
        asked = questions.of(name, count * (rounds + 1))
        if reason := asking.cannot(asked[0]):
            print(f"{name}: not tried: {reason}", flush=True)
        else:
            prepared[name] = [asking.prepare(one) for one in asked]
    measured = {name: Measured() for name in prepared}
    gc.collect()
    gc.freeze()
    with steps("rounds", rounds + 1) as done:
        for number in range(rounds + 1):
            for name, some in prepared.items():
                into = measured[name] if number else Measured()  # the first is to warm up
                for one in some[number * count : (number + 1) * count]:
                    asking.wake()
                    _take(one, into)
            done()
    gc.unfreeze()
    asking.close()
    _table(measured)
    return measured


def _take(one: Prepared, into: Measured) -> None:
    for ask, times in ((one.engine, into.engine), (one.http, into.http), (one.pg, into.pg)):
        if ask is not None:
            start = time.perf_counter()
            ask()
            times.append((time.perf_counter() - start) * 1000)


class Asking:
    """The three that are asked."""

    def __init__(
        self, folder: Path, client: Client, connection: postgres.Connection | None
    ) -> None:
        self._reader = Reader(folder / INDEX)
        self._client = client
        self._connection = connection
        self._handlers = {
            **searches.handlers(self._reader),
            **links.handlers(self._reader),
            **records.handlers(self._reader, AdminClient(folder)),
        }

    def cannot(self, question: Question) -> str | None:
        """Why the engine or the API of this version cannot answer questions of this kind."""
        if reason := refused(question):
            return reason
        if question.nsid not in self._handlers:
            return f"nothing here answers {question.nsid}"
        return None

    def prepare(self, question: Question) -> Prepared:
        """A question as each is asked it; a walk is walked up to the page that counts."""
        params = [*question.params]
        cursor = self._walked(params, question.page)
        if question.nsid == SEARCH:
            params.append(("limit", str(LIMIT)))
        if cursor is not None:
            params.append(("cursor", cursor))
        pg = None
        if self._connection is not None and question.sql is not None:
            pg = partial(self._rows, self._connection, question.sql, question.values)
        return Prepared(
            self._engine(question.nsid, params),
            partial(self._client.ask, request(question.nsid, params)),
            pg,
        )

    def wake(self) -> None:
        """See to it that HTTP is still connected."""
        self._client.wake()

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _engine(self, nsid: str, pairs: Sequence[tuple[str, str]]) -> Ask:
        params = lexicons().parse_params(nsid, pairs)
        if nsid != SEARCH:
            return partial(self._handlers[nsid], params)
        values = {ours: params[name] for name, ours in _OF_SEARCH.items() if name in params}
        for moment in ("created_after_us", "created_before_us"):
            if moment in values:
                values[moment] = micros(parse_datetime(values[moment]))
        options = {name: params[name] for name in _OPTIONS if name in params}
        return partial(self._reader.search, Search("dataset", **values), **options)

    def _walked(self, params: Sequence[tuple[str, str]], page: int) -> str | None:
        """The cursor of a page; None for the first."""
        cursor: str | None = None
        left = LIMIT * (page - 1)
        while left:
            step = min(left, 100)
            walk = [*params, ("limit", str(step))] + ([("cursor", cursor)] if cursor else [])
            answer = json.loads(self._client.ask(request(SEARCH, walk)))
            if "cursor" not in answer:
                break
            cursor, left = answer["cursor"], left - step
        return cursor

    def _rows(self, connection: postgres.Connection, sql: Any, values: Sequence[Any]) -> object:
        return connection.execute(sql, values).fetchall()


def _table(measured: Mapping[str, Measured]) -> None:
    print(f"{'p50/p95, ms':16}{'engine':>16}{'HTTP':>16}{'PostgreSQL':>16}{'ratio':>8}")
    for name, one in measured.items():
        cells = "".join(f"{_both(times):>16}" for times in (one.engine, one.http, one.pg))
        print(f"{name:16}{cells}{f'{one.ratio:.2f}' if one.pg else '':>8}", flush=True)


def _both(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.2f}/{_p95(times):.2f}" if times else ""


def _p95(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=20, method="inclusive")[-1]


def _figures(
    measured: Mapping[str, Measured], index_mb: float, rss_mb: float
) -> dict[str, float | str | None]:
    both = {name: one.ratio for name, one in measured.items() if one.pg}
    worst = min(both, key=lambda name: both[name], default=None)
    asked = [one.pg for one in measured.values() if one.pg]
    return {
        "p95_ms_all": _over([one.engine for one in measured.values()]),
        "http_p95_ms_all": _over([one.http for one in measured.values()]),
        "pg_p95_ms_all": _over(asked) if asked else None,
        "worst_ratio_class": worst,
        "worst_ratio": None if worst is None else round(both[worst], 2),
        "index_mb": index_mb,
        "rss_mb": rss_mb,
    }


def _over(classes: Sequence[Sequence[float]]) -> float:
    """The 95th percentile; every class has as many measurements."""
    return round(_p95([time for times in classes for time in times]), 2)


def _size_mb(folder: Path) -> float:
    name = current(folder / INDEX)
    assert name is not None
    files = (folder / INDEX / name).iterdir()
    return round(sum(file.stat().st_size for file in files) / 1e6)


@contextmanager
def _temporary() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        yield name


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help=f"{SMALL} records, and PostgreSQL")
    parser.add_argument("--records", type=int, help=f"how many datasets (default {RECORDS})")
    parser.add_argument("--postgres", action="store_true", help="measure PostgreSQL as well")
    parser.add_argument("--index", type=Path, help="a folder to keep everything in, or to reuse")
    parser.add_argument("--rebuild", action="store_true", help="make the index anew in any case")
    parser.add_argument("--only", nargs="*", default=[], help="only these classes")
    parser.add_argument(
        "--questions",
        type=int,
        help=f"of each class (default {QUESTIONS}; small: {FEW_QUESTIONS})",
    )
    parser.add_argument(
        "--rounds", type=int, help=f"how often (default {ROUNDS}; small: {FEW_ROUNDS})"
    )
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.records = options.records or (SMALL if options.small else RECORDS)
    options.questions = options.questions or (FEW_QUESTIONS if options.small else QUESTIONS)
    options.rounds = options.rounds or (FEW_ROUNDS if options.small else ROUNDS)
    options.postgres |= options.small
    return options


if __name__ == "__main__":
    sys.exit(main())
