"""What was just asked is answered from memory, as long as the index stands still."""

from pathlib import Path

from atdata_indexer.index.query import Search
from atdata_indexer.index.remembered import Remembered
from tests.small_index import SmallIndex, schema


def test_the_same_question_is_worked_out_once_and_anew_when_the_index_changed(
    tmp_path: Path,
) -> None:
    index = SmallIndex(tmp_path)
    index.put([schema()])
    asked = Search("schema", q="photo")
    first = index.reader.search(asked)
    assert index.reader.search(asked) is first
    assert index.reader.search(asked, limit=3) is not first
    assert index.reader.search(asked, highlight=True) is not first
    index.put([schema(rkey="3kschemabbbbb", name="Photo of a whale")])
    index.reader.refresh()
    assert [page.total for page in (first, index.reader.search(asked))] == [1, 2]
    index.close()


def test_a_long_answer_is_not_remembered(tmp_path: Path) -> None:
    index = SmallIndex(tmp_path)
    index.put([schema(name="Photo" * 30_000)])
    asked = Search("schema")
    first = index.reader.search(asked)
    again = index.reader.search(asked)
    assert first == again
    assert first is not again
    index.close()


def test_only_the_last_few_results_are_remembered() -> None:
    remembered = Remembered[int, str](2)
    assert remembered.put(1, "one") == "one"
    remembered.put(2, "two")
    assert remembered.get(1) == "one"  # which makes it the last
    remembered.put(3, "three")
    assert [remembered.get(number) for number in (1, 2, 3)] == ["one", None, "three"]
