"""Words that the index does not hold, and what they may have been meant to be."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_indexer.index.query import Search
from atdata_indexer.index.snapshot import Snapshot
from atdata_indexer.index.spelling import LONGEST, corrections, distance
from tests.described import dataset, delete, holding, snapshot
from tests.small_index import BOB, LENS, SCHEMA, SmallIndex, row

GONE = "did:plc:gonegonegonegonegonegone"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
TEXTS = [
    ("Satellite images", "weather over the Atlantic"),
    ("Whale recordings", "hydrophone recordings of whales, cleaned"),
    ("Whale recordings", "recordings of the spectrogram of speech"),
    ("Protein structures", "crystallography and genomics"),
    ("Речь", "распознавание речи и погода"),
    ("Ομιλία", "αναγνώριση ομιλίας"),
    ("人脸图像", "面部识别数据"),
    ("Street scenes", "street view, streets, a street"),
    ("Strict labels", "strict"),
    ("Marine life", "marine"),
    ("Marine snow", "marine"),
    ("Marina", "boats"),
]
WORDS = ["satellite", "images", "whale", "recordings", "spectrogram", "genomics", "protein"]
WORDS += ["crystallography", "hydrophone", "погода", "распознавание", "αναγνωριση", "strict"]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallIndex]:
    rows = [dataset(n, name, description=text) for n, (name, text) in enumerate(TEXTS)]
    hidden = [dataset(50, "Volcanoes", did=GONE), dataset(51, "Glaciers")]
    with holding(tmp_path_factory.mktemp("spelling"), [*rows, *hidden]) as small:
        small.account(GONE, False, "takendown")
        delete(small, hidden[1])
        small.reader.refresh()
        yield small


@pytest.fixture(scope="module")
def now(index: SmallIndex) -> Snapshot:
    return snapshot(index)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("whlae", "whale"),  # two letters turned round
        ("wale", "whale"),  # one left out
        ("whaale", "whale"),  # one too many
        ("whate", "whale"),  # another one
        ("hwale", "whale"),  # at the very beginning
        ("hale", "whale"),
        ("qwhale", "whale"),
        ("satelite", "satellite"),
        ("sattelite", "satellite"),  # two edits in a long word
        ("astelite", "satellite"),  # the first of them at the beginning
        ("kristallography", "crystallography"),
        ("genomcis", "genomics"),
        ("поогда", "погода"),
        ("распазнование", "распознавание"),
        ("Sattelite", "satellite"),
    ],
)
def test_a_typing_error_is_seen_through(now: Snapshot, typed: str, meant: str) -> None:
    assert corrections(now, typed)[:1] == [meant]


@given(word=st.sampled_from(WORDS), data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_one_edit_of_a_word_leads_back_to_it(
    now: Snapshot, word: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(word) - 2))
    letter = data.draw(st.sampled_from(LETTERS if word.isascii() else word))
    typed = data.draw(
        st.sampled_from(
            [
                word[:at] + word[at + 1 :],
                word[:at] + letter + word[at:],
                word[:at] + letter + word[at + 1 :],
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            ]
        )
    )
    known = now.frequency("word", typed) >= now.frequency("word", word)
    assert known or word in corrections(now, typed, 10)


@pytest.mark.parametrize("typed", ["whxyz", "satxyzite", "abc", "wle", "sea", "zzzzzzzzzz"])
def test_what_is_too_far_from_every_word_or_too_short_stays_as_it_is(
    now: Snapshot, typed: str
) -> None:
    assert corrections(now, typed) == []


def test_a_word_of_few_letters_may_be_one_edit_off_and_no_more(now: Snapshot) -> None:
    assert corrections(now, "prtien") == []
    assert corrections(now, "protien") == ["protein"]


def test_the_nearer_word_comes_first_then_the_more_frequent(now: Snapshot) -> None:
    assert corrections(now, "marinx") == ["marine", "marina"]
    assert corrections(now, "marina") == ["marine"]
    assert corrections(now, "marine") == []  # what is near is rarer
    assert now.frequency("word", "street") == now.frequency("word", "streets") == 1
    assert corrections(now, "streets") == []
    assert corrections(now, "whales") == ["whale"]
    assert corrections(now, "recordngs") == ["recordings"]


def test_nothing_deleted_or_hidden_is_meant(now: Snapshot) -> None:
    assert now.frequency("word", "volcanoes") == now.frequency("word", "glaciers") == 1
    assert corrections(now, "volcanos") == corrections(now, "glaciars") == []


def test_two_words_written_as_one_are_taken_apart(now: Snapshot) -> None:
    assert corrections(now, "streetview") == ["street view"]
    assert corrections(now, "proteinspeech") == []  # not side by side anywhere


def test_words_written_apart_need_no_correction(index: SmallIndex) -> None:
    page = index.reader.search(Search("dataset", "spectro gram"))
    assert page.total == 1


@pytest.mark.parametrize(
    "typed",
    [
        "人脸图象",
        "图像识别数据",
        "20171",
        "whale recordngs",
        "whale-calls",
        "",
        "\0\0\0\0\0",
        "whale\0",
        "🐋🐋🐋🐋🐋",
        "wh.le",
        "whal*",
        "[whale]",
        "x" * (LONGEST + 1),
        "x" * 100_000,
        "ﷺ" * 50,
        "e\u0301" * 50,
    ],
)
def test_anything_may_be_typed(now: Snapshot, typed: str) -> None:
    assert set(corrections(now, typed)) <= {"whale"}


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_answered(now: Snapshot, typed: str) -> None:
    assert len(corrections(now, typed)) <= 3


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_distance_is_that_of_the_definition(left: str, right: str) -> None:
    """Optimal string alignment, as the textbook's recursion has it."""

    def plain(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        cost = plain(i - 1, j - 1) + (left[i - 1] != right[j - 1])
        cost = min(cost, plain(i - 1, j) + 1, plain(i, j - 1) + 1)
        if i > 1 and j > 1 and left[i - 1] == right[j - 2] and left[i - 2] == right[j - 1]:
            cost = min(cost, plain(i - 2, j - 2) + 1)
        return cost

    assert distance(left, right) == plain(len(left), len(right))


def test_a_search_for_a_mistyped_word_says_what_it_found_instead(index: SmallIndex) -> None:
    page = index.reader.search(Search("dataset", "satelite"))
    assert page.did_you_mean == "satellite"
    assert page.total == 1
    assert index.reader.search(Search("dataset", "satellite")).did_you_mean is None


@pytest.mark.parametrize("odd", [5, [1], {"a": 1}, [{}], [{"name": 7}]])
def test_members_that_no_lexicon_knows_hinder_no_correction(tmp_path: Path, odd: Any) -> None:
    small = SmallIndex(tmp_path)
    body = {"$type": LENS, "name": "Submarine photographs", "tags": odd, "fields": odd}
    ends = {"schema_uri": f"at://{BOB}/{SCHEMA}/a", "target_uri": f"at://{BOB}/{SCHEMA}/b"}
    small.put([row(BOB, LENS, "3klensaaaaaaa", json.dumps(body), name="x", **ends)])
    small.reader.refresh()
    page = small.reader.search(Search("lens", q="subamrine photogarphs"))
    small.close()
    assert page.did_you_mean == "submarine photographs"


def test_of_many_mistyped_words_only_the_first_few_are_looked_up(index: SmallIndex) -> None:
    """Each takes milliseconds, and a question has room for thirty."""
    typed = "whlae satelite proteim genomixs hydrophome recordimgs"
    page = index.reader.search(Search("dataset", typed))
    assert page.did_you_mean == "whale satellite protein genomics hydrophome recordimgs"
