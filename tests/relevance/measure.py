"""How well search finds what is meant: `python -m tests.relevance.measure`, see `--help`.

`records.jsonl` holds schemas and datasets, `queries.json` what people ask of them: for each the
need in a sentence and the datasets that meet it (3 what is meant, 2 good, 1 of some use; 0 is not
written). They were judged by the need and not by the words, before anybody tuned the search. Half
of the queries are held out: look at the others when tuning, never at these.

The same questions are put to an index of ours and to PostgreSQL as the peer searches, with all
words and with any. The last line is JSON.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atdata_indexer.changes import Row
from atdata_indexer.identity import ResolvedIdentity
from atdata_indexer.index.query import Search
from atdata_indexer.ingest import Work
from atdata_indexer.repo import record_cid
from atdata_schemas.records import Dataset, Schema, parse_record
from atdata_schemas.syntax import micros
from tests.relevance import peer
from tests.small_index import SmallIndex, row

FOLDER = Path(__file__).parent
DEPTH = 50
"""How many answers each system gives."""

type Ranking = Callable[["Query"], Sequence[str]]
"""The URIs that a system answers with, best first."""


@dataclass(frozen=True, slots=True)
class Published:
    """A record of the set, and the handle of who published it."""

    uri: str
    handle: str
    record: Mapping[str, Any]

    @property
    def place(self) -> tuple[str, str, str]:
        """DID, collection and rkey."""
        did, collection, rkey = self.uri.removeprefix("at://").split("/")
        return did, collection, rkey

    @property
    def value(self) -> Schema | Dataset:
        """The record, typed. Raises ValidationError for one that is not valid."""
        _, collection, rkey = self.place
        value = parse_record(collection, rkey, self.record)
        assert isinstance(value, Schema | Dataset)
        return value


@dataclass(frozen=True, slots=True)
class Query:
    """A question, what it means, and which datasets answer it how well."""

    id: str
    q: str
    needs: str
    held_out: bool
    judgements: Mapping[str, int]
    fields: Sequence[str] = ()
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """How well one query was answered."""

    query: Query
    found: Sequence[str]

    @property
    def ndcg(self) -> float:
        """nDCG@10."""
        return ndcg_at(10, self.found, self.query.judgements)

    @property
    def recall(self) -> float:
        """Recall@50."""
        return recall_at(DEPTH, self.found, self.query.judgements)


def load_records() -> list[Published]:
    """Every record of the set, schemas first."""
    lines = (FOLDER / "records.jsonl").read_text().splitlines()
    return [Published(**json.loads(line)) for line in lines]


def load_queries() -> list[Query]:
    """Every query of the set."""
    return [Query(**one) for one in json.loads((FOLDER / "queries.json").read_text())]


def ndcg_at(depth: int, found: Sequence[str], judgements: Mapping[str, int]) -> float:
    """Discounted gain (2^grade - 1) of the first answers, relative to the best order there is."""
    ideal = sorted(judgements.values(), reverse=True)
    return _gain(judgements.get(uri, 0) for uri in found[:depth]) / _gain(iter(ideal[:depth]))


def recall_at(depth: int, found: Sequence[str], judgements: Mapping[str, int]) -> float:
    """How much of what is of any use is among the first answers."""
    return len(judgements.keys() & set(found[:depth])) / len(judgements)


def scores(ranking: Ranking, queries: Sequence[Query]) -> list[Score]:
    """The score of each query."""
    return [Score(query, ranking(query)) for query in queries]


def summary(scored: Sequence[Score]) -> dict[str, float]:
    """The means over all queries, over the half to tune with, and over the half held out."""
    halves = {
        "": scored,
        "_tuned": [one for one in scored if not one.query.held_out],
        "_held_out": [one for one in scored if one.query.held_out],
    }
    figures = {}
    for suffix, half in halves.items():
        figures[f"ndcg@10{suffix}"] = round(statistics.fmean(one.ndcg for one in half), 4)
        figures[f"recall@50{suffix}"] = round(statistics.fmean(one.recall for one in half), 4)
    return figures


@contextmanager
def published(records: Sequence[Published]) -> Iterator[SmallIndex]:
    """An index of the records."""
    with tempfile.TemporaryDirectory() as folder:
        index = SmallIndex(Path(folder))
        try:
            handles = {one.place[0]: one.handle for one in records}
            identities = [ResolvedIdentity(did, name, None, None) for did, name in handles.items()]
            index.put([_row(one) for one in records])
            index.ingest.apply(Work(identities=identities))
            index.reader.refresh()
            yield index
        finally:
            index.close()


@contextmanager
def ours(records: Sequence[Published]) -> Iterator[Ranking]:
    """An index of the records, asked as the API asks it."""
    with published(records) as index:

        def ranking(query: Query) -> list[str]:
            search = Search("dataset", q=query.q, fields=query.fields, tags=query.tags)
            page = index.reader.search(search, limit=DEPTH)
            return [json.loads(view)["uri"] for view in page.views]

        yield ranking


@contextmanager
def postgres(records: Sequence[Published]) -> Iterator[tuple[Ranking, Ranking]]:
    """PostgreSQL as the peer searches: with all the words, and with any of them."""
    with peer.filled((one.uri, one.handle, one.value) for one in records) as connection:

        def asked(query: Query, any_word: bool) -> list[str]:
            question = peer.question(query.q, query.fields, query.tags)
            return peer.search(connection, question, limit=DEPTH, any_word=any_word)

        yield lambda query: asked(query, False), lambda query: asked(query, True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, the worst answers if asked for, and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", action="store_true", help="leave PostgreSQL out")
    parser.add_argument("--worst", type=int, default=0, help="also show our N worst answers")
    options = parser.parse_args(arguments)
    records, queries = load_records(), load_queries()
    with ours(records) as ranking:
        systems = {"ours": scores(ranking, queries)}
    if not options.ours:
        with postgres(records) as (all_words, any_word):
            systems["postgres"] = scores(all_words, queries)
            systems["postgres_or"] = scores(any_word, queries)
    figures = {name: summary(scored) for name, scored in systems.items()}
    lines = [*_worst(systems["ours"], options.worst, records), *_table(figures)]
    lines.append(json.dumps({"queries": len(queries), **figures}))
    sys.stdout.write("\n".join(lines) + "\n")


def _gain(grades: Iterator[int]) -> float:
    return sum((2.0**grade - 1) / math.log2(place + 2) for place, grade in enumerate(grades))


def _row(published: Published) -> Row:
    value = published.value
    made = row(
        *published.place,
        json.dumps(published.record, ensure_ascii=False, separators=(",", ":")),
        name=value.name,
        version=value.version if isinstance(value, Schema) else None,
        schema_uri=value.schema_ref if isinstance(value, Dataset) else None,
        created_us=micros(value.created_at),
    )
    return replace(made, cid=record_cid(published.record))


def _table(figures: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    columns = list(next(iter(figures.values())))
    yield " ".join([" " * 12, *(f"{column:>20}" for column in columns)])
    for name, row_of in figures.items():
        yield " ".join([f"{name:12}", *(f"{row_of[column]:20.4f}" for column in columns)])


def _worst(scored: Sequence[Score], count: int, records: Sequence[Published]) -> Iterator[str]:
    """The worst answers of the half to tune with: the grade and name of each of the first ten."""
    names = {one.uri: one.record["name"] for one in records}
    tuned = [one for one in scored if not one.query.held_out]
    for score in sorted(tuned, key=lambda one: (one.ndcg, one.recall))[:count]:
        judged = score.query.judgements
        missed = [uri for uri in judged if uri not in score.found[:10]]
        yield f"{score.query.id}: {score.query.q!r} nDCG {score.ndcg:.2f} recall {score.recall:.2f}"
        yield "  found  " + " · ".join(f"{judged.get(u, 0)} {names[u]}" for u in score.found[:10])
        yield "  missed " + " · ".join(f"{judged[uri]} {names[uri]}" for uri in missed)


if __name__ == "__main__":
    main()
