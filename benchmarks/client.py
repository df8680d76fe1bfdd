"""What the client costs, and what it saves: `python -m benchmarks.client`, see `--help`.

- CPU of `import atdata_client` in a process of its own, and of Python without it.
- The size of the thin install: the files of this package and of all that it needs, as they are
  installed here, without compiled copies. Nothing is downloaded.
- The same searches, with the same answers, in two ways, over authors who publish to a real PDS.
  Through the index: a running AppView that follows the PDS. And the first way of the design
  document, without an index: list every author's records with `ATProtoClient.list_records` and look
  through them. The authors are known, their identities resolved before the clock starts,
  connections open, and the PDS is on the loopback: the first way fares better here than elsewhere.

The last line is JSON: milliseconds of CPU of importing (Python included) and of Python alone, the
size in MB, milliseconds for a search in either way (medians), and how many times as long the first
way takes. The exit status is 1 unless both ways find the same datasets for every question.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from random import Random
from typing import Any

from packaging.requirements import Requirement

from atdata_client import ATProtoClient, DatasetLoader, IndexClient
from atdata_client._records.lexicon import to_json
from atdata_indexer.ingest import wall_clock
from atdata_schemas.records import DATASET_NSID, SCHEMA_NSID
from benchmarks.appview import PATIENCE_S, running
from benchmarks.progress import counted, steps
from benchmarks.records import Record, Writer
from benchmarks.repos import tid
from tests import real_pds
from tests.real_pds import Account, RealPds

AUTHORS = 200
DATASETS = 50
ROUNDS = 5
SMALL_ROUNDS = 2
IMPORTS = 15
TOPICS = 400
DISTRIBUTION = "atdata-appview"
PACKAGES = ("schemas", "indexer", "api", "client")
"""What the wheel holds; the installation here only points at it."""

type Ask = Callable[[], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Question:
    """A search in the terms of the design document: any of the tags, and the words."""

    tags: list[str] | None
    query: str | None


class People:
    """So many authors on a PDS with so many datasets each, published."""

    def __init__(self, pds: RealPds, authors: int, datasets: int, seed: int) -> None:
        self._random = Random(seed)
        self._us = wall_clock() - 3_600_000_000
        self.dids: list[str] = []
        self.datasets: list[Record] = []
        # Neither parts of other words nor of tags, with no endings to take off: the first way looks
        # for parts of words and not in tags, and both ways are to find the same.
        letters = "bgkvxzau"
        self._topics = ["".join(self._random.choices(letters, k=8)) + "k" for _ in range(TOPICS)]
        self._write = Writer(self._random, ["did:plc:" + "a" * 24])
        for number in counted("authors", range(authors), authors):
            account = pds.create_account(f"person{number}.test")
            self.dids.append(account.did)
            self._publish(pds, account, datasets)

    def questions(self) -> list[Question]:
        """A tag, two of them, a word, and a word with tags."""
        random = self._random
        uses = Counter(tag for one in self.datasets for tag in one["tags"])
        some = sorted(tag for tag, count in uses.items() if count <= 40)
        return [
            Question([random.choice(some)], None),
            Question(random.sample(some, 2), None),
            Question(None, random.choice(self._topics)),
            Question(random.sample(some, 9), random.choice(self._topics)),
        ]

    def _publish(self, pds: RealPds, account: Account, datasets: int) -> None:
        # Names of schemas are searched too, and the first way does not look there: none is known.
        schema = f"at://{account.did}/{SCHEMA_NSID}/{tid(self._us, 0)}"
        made = [self._write.indexed(DATASET_NSID, self._us, [schema]) for _ in range(datasets)]
        for one in made:
            one["name"] += f" {self._random.choice(self._topics)}"
        writes = [
            {
                "$type": "com.atproto.repo.applyWrites#create",
                "collection": DATASET_NSID,
                "value": to_json(one),
            }
            for one in made
        ]
        body = {"repo": account.did, "writes": writes}
        pds.post("com.atproto.repo.applyWrites", body, account.access_jwt)
        self.datasets += made


def main() -> int:
    """Measure, print."""
    options = _options()
    figures = {**imports(options.imports), "thin_install_mb": round(install_mb(), 1)}
    figures |= searches(options.authors, options.datasets, options.rounds, options.seed)
    print(json.dumps(figures))
    return 0


def imports(rounds: int) -> dict[str, float]:
    """Milliseconds of CPU of Python with the client imported and without, in turn; medians."""
    found: dict[str, list[float]] = {"import_ms": [], "python_ms": []}
    programs = {"import_ms": "import atdata_client", "python_ms": "pass"}
    with steps("imports", rounds) as done:
        for _ in range(rounds):
            for name, program in programs.items():
                before = _children_cpu_s()
                subprocess.run([sys.executable, "-I", "-c", program], check=True)
                found[name].append((_children_cpu_s() - before) * 1000)
            done()
    return {name: round(statistics.median(times), 1) for name, times in found.items()}


def install_mb() -> float:
    """The size of the thin install, in millions of bytes."""
    sizes = dict(_sizes(DISTRIBUTION, frozenset()))
    folders = (Path(__file__).parents[1] / package for package in PACKAGES)
    own = sum(_size(file) for folder in folders for file in folder.rglob("*"))
    for name, size in sorted(sizes.items(), key=lambda one: -one[1])[:5]:
        print(f"  {name}: {size / 1e6:.1f} MB")
    return (own + sum(sizes.values())) / 1e6


def _sizes(
    name: str, extras: frozenset[str], seen: set[str] | None = None
) -> Iterator[tuple[str, int]]:
    """The sizes of a distribution and of all that it requires."""
    seen = set() if seen is None else seen
    found = distribution(name)
    if name.lower() not in seen:
        seen.add(name.lower())
        yield name, sum(_size(Path(str(file.locate()))) for file in found.files or ())
    for text in found.requires or ():
        needed = Requirement(text)
        wanted = [{"extra": extra} for extra in extras or {""}]
        if needed.marker is None or any(needed.marker.evaluate(one) for one in wanted):
            more = frozenset(needed.extras)
            if needed.name.lower() not in seen or more:
                yield from _sizes(needed.name, more, seen)


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() and file.suffix != ".pyc" else 0


def searches(authors: int, datasets: int, rounds: int, seed: int) -> dict[str, float]:
    """Milliseconds of a search in either way, and their ratio."""
    reason = real_pds.missing()
    if reason is not None:
        raise SystemExit(reason)
    with (
        tempfile.TemporaryDirectory() as folder,
        real_pds.running() as pds,
        ATProtoClient(plc_url=pds.plc) as client,
    ):
        people = People(pds, authors, datasets, seed)
        questions = people.questions()
        with _following(Path(folder), pds, len(people.datasets)) as index:
            listed, found = _both_ways(
                client, DatasetLoader(index=index), people.dids, questions, rounds
            )
    search_ms, list_ms = statistics.median(found), statistics.median(listed)
    return {
        "search_ms": round(search_ms, 2),
        "listrecords_ms": round(list_ms, 1),
        "ratio": round(list_ms / search_ms, 1),
    }


def _both_ways(
    client: ATProtoClient,
    loader: DatasetLoader,
    dids: Sequence[str],
    questions: Sequence[Question],
    rounds: int,
) -> tuple[list[float], list[float]]:
    """Milliseconds of each question, by listing and by the index, in turn."""
    listed: list[float] = []
    found: list[float] = []
    with steps("searches", (rounds + 1) * len(questions)) as done:
        for number in range(rounds + 1):
            for question in questions:
                slow, one = _timed(partial(by_listing, client, dids, question))
                fast, other = _timed(partial(by_index, loader, question))
                _compare(question, one, other)
                if number:  # the first round opens connections and resolves identities
                    listed.append(slow)
                    found.append(fast)
                done()
    return listed, found


def by_listing(
    client: ATProtoClient, dids: Sequence[str], question: Question
) -> list[dict[str, Any]]:
    """`search_datasets` as the design document first has it: fetch all and filter."""
    tags, query = question.tags, question.query
    filtered = [one for did in dids for one in client.list_records(DATASET_NSID, did)]
    if tags:
        filtered = [d for d in filtered if any(t in d.get("tags", []) for t in tags)]
    if query:
        filtered = [
            d
            for d in filtered
            if query.lower() in d.get("name", "").lower()
            or query.lower() in d.get("description", "").lower()
        ]
    return filtered


def by_index(loader: DatasetLoader, question: Question) -> list[dict[str, Any]]:
    """`search_datasets` as the client has it."""
    return loader.search_datasets(question.tags, question.query)


def _compare(
    question: Question, one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]
) -> None:
    listed, found = ({record["uri"] for record in records} for records in (one, other))
    if listed != found:
        raise SystemExit(f"{question}: {len(listed)} listed, {len(found)} found: {listed ^ found}")


def _timed(ask: Ask) -> tuple[float, list[dict[str, Any]]]:
    began = time.perf_counter()
    found = ask()
    return (time.perf_counter() - began) * 1000, found


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def _following(folder: Path, pds: RealPds, datasets: int) -> Iterator[IndexClient]:
    """A client of a running AppView that has read all that the PDS says."""
    host = pds.url.removeprefix("http://")
    with (
        running(
            folder,
            relay=f"ws://{host}",
            first_cursor=0,
            plc_url=pds.plc,
            handle_resolver=pds.url,
            allow_loopback=True,
        ) as served,
        IndexClient(f"http://{served.host}:{served.port}") as index,
    ):
        deadline = time.monotonic() + PATIENCE_S
        while (about := index.describe()).counts.datasets < datasets or about.pending:
            if time.monotonic() > deadline:
                raise SystemExit(f"the index holds {about.counts.datasets} of {datasets} datasets")
            time.sleep(0.1)
        yield index


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--small", action="store_true", help=f"{SMALL_ROUNDS} rounds instead of {ROUNDS}"
    )
    parser.add_argument("--authors", type=int, default=AUTHORS, help=f"[{AUTHORS}]")
    parser.add_argument(
        "--datasets", type=int, default=DATASETS, help=f"datasets of each [{DATASETS}]"
    )
    parser.add_argument("--rounds", type=int, help="how often each question is asked")
    parser.add_argument("--imports", type=int, default=IMPORTS, help=f"how often [{IMPORTS}]")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (SMALL_ROUNDS if options.small else ROUNDS)
    return options


if __name__ == "__main__":
    sys.exit(main())
