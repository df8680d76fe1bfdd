"""The benchmarks of searches run, and ask what they promise to ask."""

from pathlib import Path

from atdata_indexer.index.reader import Reader
from atdata_indexer.upkeep import INDEX
from benchmarks.corpus import Corpus
from benchmarks.filling import fill
from benchmarks.questions import Questions, refused
from tests.test_benchmarks_run import figures_of, need_postgres


def test_search_ends_with_its_figures() -> None:
    need_postgres()
    figures = figures_of("search", "--records=300", "--postgres", "--rounds=1", "--questions=3")
    assert list(figures) == [
        "p95_ms_all",
        "http_p95_ms_all",
        "pg_p95_ms_all",
        "worst_ratio_class",
        "worst_ratio",
        "index_mb",
        "rss_mb",
    ]
    assert str(figures.pop("worst_ratio_class")) in Questions(Corpus(300)).classes
    assert all(value >= 0 for value in figures.values())
    assert figures["p95_ms_all"] > 0


def test_load_ends_with_its_figures_and_every_question_answered() -> None:
    figures = figures_of("load", "--records=300", "--seconds=1", "--clients=3")
    assert list(figures) == ["requests_per_s", "p95_ms", "errors", "clients"]
    assert figures["errors"] == 0
    assert figures["requests_per_s"] > 0
    assert figures["clients"] == 3


def test_the_api_knows_every_question_that_is_asked() -> None:
    questions = Questions(Corpus(300))
    for name in questions.classes:
        assert [refused(one) for one in questions.of(name, 3)] == [None] * 3, name


def test_the_same_seed_makes_the_same_corpus_and_all_of_it_is_found(tmp_path: Path) -> None:
    corpus = Corpus(300, seed=5)
    assert corpus.first == Corpus(300, seed=5).first != Corpus(300, seed=6).first
    fill(tmp_path, corpus)
    counts = Reader(tmp_path / INDEX).counts()
    assert counts == {"dataset": 300, "schema": corpus.schema_count, "lens": corpus.lens_count}
    assert "build_s" in fill(tmp_path, corpus)  # kept as it is
    assert Reader(tmp_path / INDEX).counts() == counts
