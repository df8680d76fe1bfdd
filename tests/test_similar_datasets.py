"""Datasets like a given one."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atdata_indexer.changes import Row
from tests.described import dataset, delete, holding, schema
from tests.small_index import ALICE, BOB, SmallIndex

GONE = "did:plc:gonegonegonegonegonegone"
PROLIFIC = "did:plc:prolificprolificprolific"
SCHEMAS = {
    name: schema(n, name)
    for n, name in enumerate(["ImageSample", "SequenceSample", "SpeechSample", "GridSample"])
}
TOPICS: dict[str, tuple[str, list[tuple[str, list[str], str]]]] = {
    "vision": (
        "ImageSample",
        [
            ("Street scenes", ["vision", "driving"], "Images of streets with labelled cars."),
            ("City driving", ["vision", "driving", "lidar"], "Dash camera images of traffic."),
            ("Traffic signs", ["vision", "signs"], "Cropped images of signs along streets."),
            ("Parking lots", ["vision", "aerial"], "Images of parked cars, seen from above."),
            ("Pedestrians", ["vision", "driving"], "Labelled people in images of city traffic."),
        ],
    ),
    "genomics": (
        "SequenceSample",
        [
            ("Human exomes", ["genomics", "dna"], "Exome sequences with annotated variants."),
            ("Mouse genomes", ["genomics", "dna"], "Whole genome sequences of laboratory mice."),
            ("Yeast expression", ["genomics", "rna"], "Expression of genes in yeast."),
            ("Cancer variants", ["genomics", "cancer"], "Somatic variants in tumour sequences."),
            ("Bacterial genomes", ["genomics", "dna"], "Assembled genomes of soil bacteria."),
        ],
    ),
    "speech": (
        "SpeechSample",
        [
            ("Read aloud", ["speech", "audio"], "Recordings of sentences with transcripts."),
            ("Phone calls", ["speech", "audio", "dialogue"], "Transcripts and audio of calls."),
            ("Accents", ["speech", "audio"], "The same sentences spoken with many accents."),
            ("Whispers", ["speech", "audio"], "Whispered and spoken recordings of words."),
            ("Lectures", ["speech", "education"], "Recordings of lectures with transcripts."),
        ],
    ),
    "climate": (
        "GridSample",
        [
            ("Sea surface", ["climate", "ocean"], "Daily grids of sea surface temperature."),
            ("Rainfall", ["climate", "weather"], "Monthly grids of rain over land."),
            ("Heat waves", ["climate", "weather"], "Days of extreme temperature, by region."),
            ("Arctic ice", ["climate", "ocean"], "Extent of sea ice by month, as grids."),
            ("Storm tracks", ["climate", "weather"], "Paths of storms over the ocean."),
        ],
    ),
}
TOPIC: dict[str, str] = {}
ROWS = list(SCHEMAS.values())
for topic, (name, members) in TOPICS.items():
    for title, tags, text in members:
        number = len(TOPIC)
        author = f"did:plc:{number % 7:024}"
        uri = SCHEMAS[name].uri
        made = dataset(number, title, did=author, tags=tags, description=text, schema=uri)
        ROWS.append(made)
        TOPIC[made.uri] = topic


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallIndex]:
    with holding(tmp_path_factory.mktemp("similar"), ROWS) as small:
        small.reader.refresh()
        yield small


def like(small: SmallIndex, uri: str, limit: int = 10) -> list[dict[str, Any]]:
    small.reader.refresh()
    found = small.reader.similar(uri, limit)
    assert found is not None
    return [json.loads(view) for view in found]


@pytest.mark.parametrize("uri", TOPIC)
def test_the_most_similar_are_of_the_same_topic(index: SmallIndex, uri: str) -> None:
    nearest = [TOPIC[view["uri"]] for view in like(index, uri, 4)]
    assert nearest == [TOPIC[uri]] * 4


@pytest.mark.parametrize("uri", TOPIC)
def test_a_dataset_is_not_similar_to_itself_and_nothing_comes_twice(
    index: SmallIndex, uri: str
) -> None:
    uris = [view["uri"] for view in like(index, uri, 50)]
    assert uri not in uris
    assert len(set(uris)) == len(uris)


def test_only_datasets_that_are_indexed_have_similar_ones(index: SmallIndex) -> None:
    assert index.reader.similar("at://nobody/app.bsky.atdata.dataset/3k", 10) is None
    assert index.reader.similar(SCHEMAS["GridSample"].uri, 10) is None


def test_nothing_deleted_or_hidden_is_similar(tmp_path: Path) -> None:
    asked, hidden, deleted, shown = rows = [
        dataset(1, "Whale calls", tags=["whales"]),
        dataset(2, "Whale calls", tags=["whales"], did=GONE),
        dataset(3, "Whale calls", tags=["whales"]),
        dataset(4, "Whale songs", tags=["whales"]),
    ]
    with holding(tmp_path, [*rows, dataset(5, "Trees", schema="at://other/s/1")]) as small:
        assert {view["uri"] for view in like(small, asked.uri)} >= {
            hidden.uri,
            deleted.uri,
            shown.uri,
        }
        small.account(GONE, False, "takendown")
        delete(small, deleted)
        assert [view["uri"] for view in like(small, asked.uri)] == [shown.uri]
        small.reader.refresh()
        assert small.reader.similar(deleted.uri, 10) is None


def test_a_dataset_like_no_other_has_none(tmp_path: Path) -> None:
    alone = dataset(1, "Whale calls", schema="at://other/s/1")
    with holding(tmp_path, [alone, dataset(2, "Trees", schema="at://other/s/2")]) as small:
        assert like(small, alone.uri) == []


@pytest.fixture
def trees() -> list[Row]:
    """Others, so that a word of a few says something."""
    return [dataset(n, f"Tree {n}", schema="at://other/s/9") for n in range(1000, 1040)]


def test_the_same_schema_counts_beside_the_same_words(tmp_path: Path, trees: list[Row]) -> None:
    asked = dataset(1, "Calls", schema="at://some/s/1")
    other = dataset(2, "Calls", schema="at://some/s/2")
    same = dataset(3, "Calls", schema="at://some/s/1")
    with holding(tmp_path, [asked, other, same, *trees]) as small:
        assert [view["uri"] for view in like(small, asked.uri)] == [same.uri, other.uri]


def test_the_same_tag_counts_more_than_its_words(tmp_path: Path, trees: list[Row]) -> None:
    asked = dataset(1, "Calls", tags=["deep sea"], schema="at://some/s/1")
    other = dataset(2, "Songs", tags=["sea", "deep"], schema="at://some/s/2")
    same = dataset(3, "Noises", tags=["Deep Sea"], schema="at://some/s/3")
    with holding(tmp_path, [asked, other, same, *trees]) as small:
        assert [view["uri"] for view in like(small, asked.uri)] == [same.uri, other.uri]


def test_shared_tags_and_schema_count_more_than_a_shared_word(
    tmp_path: Path, trees: list[Row]
) -> None:
    asked = dataset(1, "Calls", tags=["marine", "audio"], schema="at://some/s/1")
    far = dataset(2, "Calls", tags=["jazz"], schema="at://some/s/2")
    near = dataset(3, "Songs", tags=["marine", "audio"], schema="at://some/s/1")
    with holding(tmp_path, [asked, far, near, *trees]) as small:
        assert [view["uri"] for view in like(small, asked.uri)] == [near.uri, far.uri]


def whales(count: int, of: str, start: int) -> Iterator[Row]:
    return (dataset(start + n, f"Whale calls {n}", did=of) for n in range(count))


def test_one_author_has_three_of_ten_places_as_long_as_there_are_others(
    tmp_path: Path, trees: list[Row]
) -> None:
    asked = dataset(0, "Whale calls", did=ALICE)
    others = [dataset(n, f"Whale {n}", did=f"did:plc:{n:024}") for n in range(1, 12)]
    rows = [asked, *whales(60, PROLIFIC, 100), *others, *trees]
    with holding(tmp_path, rows) as small:
        authors = Counter(view["author"]["did"] for view in like(small, asked.uri))
        assert authors[PROLIFIC] == 3
        assert authors.total() == 10


def test_an_author_with_one_dataset_among_the_first_may_have_two_more_further_down(
    tmp_path: Path, trees: list[Row]
) -> None:
    asked = dataset(0, "Whale calls", did=ALICE)
    others = ["Whale calls", *(f"Whale calls and something else {n}" for n in range(5))]
    rows = [dataset(200 + n, name, did=BOB) for n, name in enumerate(others)]
    loners = [dataset(300 + n, f"Whale {n}", did=f"did:plc:{n:024}") for n in range(4)]
    with holding(tmp_path, [asked, *whales(30, PROLIFIC, 100), *rows, *loners, *trees]) as small:
        views = like(small, asked.uri)
        authors = Counter(view["author"]["did"] for view in views)
        assert authors == {PROLIFIC: 3, BOB: 3} | {row.did: 1 for row in loners}
        assert len({view["uri"] for view in views}) == 10


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 8, 10, 14, 50])
def test_authors_who_crowd_one_after_the_other_leave_room_for_the_next(
    tmp_path: Path, trees: list[Row], limit: int
) -> None:
    """Of each author so many that only theirs come in one round, the names less like each time."""
    asked = dataset(0, "Whale calls of the deep blue sea", did=ALICE)
    names = ["Whale calls of the deep blue sea", "Whale calls deep blue", "Whale calls deep"]
    names += ["Whale calls", "Whale"]
    rows = [
        dataset(1000 * (at + 2) + n, name, did=f"did:plc:{at:024}")
        for at, name in enumerate(names)
        for n in range(2 * limit + 10)
    ]
    with holding(tmp_path, [asked, *rows, *trees]) as small:
        views = like(small, asked.uri, limit)
        authors = Counter(view["author"]["did"] for view in views)
        assert len({view["uri"] for view in views}) == limit
        assert max(authors.values()) <= max(1, round(limit * 0.3))


def test_one_author_has_all_places_when_there_are_no_others(
    tmp_path: Path, trees: list[Row]
) -> None:
    asked = dataset(0, "Whale calls", did=ALICE)
    with holding(tmp_path, [asked, *whales(30, PROLIFIC, 100), *trees]) as small:
        authors = Counter(view["author"]["did"] for view in like(small, asked.uri))
        assert authors == {PROLIFIC: 10}
        for limit in (1, 2, 3, 30, 50):
            assert len(like(small, asked.uri, limit)) == min(limit, 30)


@pytest.mark.parametrize(
    ("name", "tags", "description"),
    [
        ("鯨の声", ["海"], "海の録音"),
        ("🐋", ["🐋"], "🐋" * 2000),
        ("(" * 200, ["a" * 50] * 20, '"' * 5000),
        ("\0", ["\0"], "\0"),
        ("the of and", [], ""),
        ("x", [f"tag {n}" for n in range(20)], " ".join(f"w{n}" for n in range(1000))),
    ],
)
def test_a_dataset_may_say_anything(
    tmp_path: Path, name: str, tags: list[str], description: str
) -> None:
    rows = [
        dataset(n, name, tags=tags, description=description, did=did)
        for n, did in enumerate((ALICE, BOB))
    ]
    with holding(tmp_path, [*rows, dataset(9, "Trees", schema="at://other/s/1")]) as small:
        assert [view["uri"] for view in like(small, rows[0].uri)] == [rows[1].uri]
