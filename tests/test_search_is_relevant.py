"""Search finds what is meant, better than PostgreSQL does, by a set that was judged beforehand."""

import dataclasses
from collections.abc import Mapping, Sequence

import pytest

from atdata_schemas.records import Dataset, Schema
from benchmarks import postgres
from tests.conftest import require
from tests.relevance import measure, peer
from tests.relevance.measure import Published, Query

FLOOR = {"ndcg@10": 0.92, "recall@50": 0.87}
"""What search must reach. These only ever rise."""
FLOOR_HELD_OUT = {"ndcg@10": 0.90, "recall@50": 0.85}
"""The same for the half that nobody tunes with."""

JUDGED = {"a": 3, "b": 2, "c": 1}


@pytest.fixture(scope="module")
def records() -> list[Published]:
    return measure.load_records()


@pytest.fixture(scope="module")
def queries() -> list[Query]:
    return measure.load_queries()


@pytest.fixture(scope="module")
def figures(records: Sequence[Published], queries: Sequence[Query]) -> Mapping[str, float]:
    """What our index reaches."""
    with measure.ours(records) as ranking:
        return measure.summary(measure.scores(ranking, queries))


def need_postgres() -> None:
    reason = postgres.missing()
    require(reason is None, str(reason))


def test_the_records_are_valid_and_as_many_as_promised(records: Sequence[Published]) -> None:
    values = [one.value for one in records]
    assert sum(isinstance(value, Dataset) for value in values) >= 320
    assert sum(isinstance(value, Schema) for value in values) >= 50
    assert len({one.handle for one in records}) >= 40
    uris = {one.uri for one in records}
    assert len(uris) == len(records)
    assert {value.schema_ref for value in values if isinstance(value, Dataset)} <= uris


def test_the_queries_are_as_many_as_promised_and_half_are_held_out(
    queries: Sequence[Query],
) -> None:
    assert len(queries) >= 70
    assert len({query.id for query in queries}) == len(queries)
    assert all(query.needs for query in queries)
    assert 0.4 < sum(query.held_out for query in queries) / len(queries) < 0.6


def test_every_judgement_is_of_a_dataset_that_exists(
    records: Sequence[Published], queries: Sequence[Query]
) -> None:
    datasets = {one.uri for one in records if isinstance(one.value, Dataset)}
    for query in queries:
        assert query.judgements, query.id
        assert query.judgements.keys() <= datasets, query.id
        assert set(query.judgements.values()) <= {1, 2, 3}, query.id
        assert 3 in query.judgements.values(), query.id


def test_nothing_that_an_operator_excludes_is_judged_to_be_of_use(
    records: Sequence[Published], queries: Sequence[Query]
) -> None:
    need_postgres()
    strict = 0
    with peer.filled((one.uri, one.handle, one.value) for one in records) as connection:
        for query in queries:
            asked = peer.question(query.q, query.fields, query.tags)
            phrases = tuple(word for word in asked.words if word.startswith('"'))
            asked = dataclasses.replace(asked, words=phrases)
            allowed = peer.search(connection, asked, limit=len(records), any_word=False)
            assert query.judgements.keys() <= set(allowed), query.id
            strict += len(allowed) < len(records) / 2
    assert strict >= 20


def test_the_measures_are_what_the_textbook_says() -> None:
    assert measure.ndcg_at(10, ["a", "b", "c"], JUDGED) == 1.0
    assert measure.ndcg_at(10, ["x", "y"], JUDGED) == 0.0
    # (1 + 3/log2(3) + 7/2) / (7 + 3/log2(3) + 1/2)
    assert measure.ndcg_at(10, ["c", "b", "a"], JUDGED) == pytest.approx(0.6806, abs=1e-4)
    assert measure.ndcg_at(1, ["b", "a"], JUDGED) == pytest.approx(3 / 7)
    assert measure.recall_at(50, ["a", "x", "c"], JUDGED) == pytest.approx(2 / 3)
    assert measure.recall_at(1, ["x", "a"], JUDGED) == 0.0


@pytest.mark.parametrize("name", FLOOR)
def test_search_never_gets_worse(name: str, figures: Mapping[str, float]) -> None:
    assert figures[name] >= FLOOR[name]


@pytest.mark.parametrize("name", FLOOR_HELD_OUT)
def test_nor_on_questions_that_nobody_tuned_for(name: str, figures: Mapping[str, float]) -> None:
    assert figures[f"{name}_held_out"] >= FLOOR_HELD_OUT[name]


def test_search_is_ahead_of_postgresql_with_all_words_and_with_any(
    records: Sequence[Published], queries: Sequence[Query], figures: Mapping[str, float]
) -> None:
    need_postgres()
    with measure.postgres(records) as rankings:
        for ranking in rankings:
            theirs = measure.summary(measure.scores(ranking, queries))
            assert theirs["ndcg@10"] > 0.5, "PostgreSQL was asked wrongly"
            for name, value in theirs.items():
                assert figures[name] > value, name
