"""Facets: what the datasets found have, and how many have it."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_indexer.changes import Row
from atdata_indexer.index.facets import MAX_VALUES, NAMES, Facet, FacetValue, facets
from atdata_indexer.index.fields import SAMPLES, key_of
from atdata_indexer.index.query import Plan, Search
from tests.described import dataset, delete, holding, schema, snapshot
from tests.small_index import ALICE, BOB, SmallIndex

CAROL = "did:plc:carolcarolcarolcarolcaro"
GONE = "did:plc:gonegonegonegonegonegone"
AUTHORS = (ALICE, BOB, CAROL)
TAGS = ("sea", "land", "sky", "audio", "海")
LICENSES = ("MIT", "CC0-1.0", "")
WORDS = ("whale", "forest", "storm")
KINDS = {"Sound": ("str", "ndarray:float32"), "Photo": ("ndarray:uint8",), "Empty": ()}
SCHEMAS = {name: schema(n, name, kinds=kinds) for n, (name, kinds) in enumerate(KINDS.items())}


class Made:
    """A dataset of the random corpus, and what a filter or a facet sees of it."""

    def __init__(self, number: int, random: random.Random) -> None:
        self.schema = random.choice(list(SCHEMAS))
        self.word = random.choice(WORDS)
        did = random.choice(AUTHORS)
        tags = random.sample(TAGS, random.randint(0, 4))
        license = random.choice(LICENSES)
        uri = SCHEMAS[self.schema].uri
        self.row = dataset(number, self.word, did=did, tags=tags, license=license, schema=uri)
        self.has: Mapping[str, Sequence[str]] = {
            "tags": tags,
            "license": [license.casefold()] if license else [],
            "schema": [uri],
            "author": [did],
            "fieldKind": KINDS[self.schema],
        }


_RANDOM = random.Random(4)
CORPUS = [Made(number, _RANDOM) for number in range(240)]
LIVE = CORPUS[:200]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallIndex]:
    """The random corpus, of which 40 datasets are deleted, and an account that is hidden."""
    hidden = [dataset(900 + n, "whale", did=GONE, tags=TAGS) for n in range(20)]
    rows = [*SCHEMAS.values(), *(one.row for one in CORPUS), *hidden]
    with holding(tmp_path_factory.mktemp("facets"), rows) as small:
        small.handle(ALICE, "alice.test")
        small.account(GONE, False, "deactivated")
        delete(small, *(one.row for one in CORPUS[200:]))
        small.reader.refresh()
        assert small.reader.counts()["dataset"] == len(LIVE)
        yield small


def asked(index: SmallIndex, search: Search, size: int = 10) -> dict[str, Facet]:
    found = index.reader.search(search, facets=NAMES, facet_size=size).facets
    assert found is not None
    assert [one.name for one in found] == list(NAMES)
    return {one.name: one for one in found}


def counts(facet: Facet) -> dict[str, int]:
    return {one.value: one.count for one in facet.values}


def test_a_facet_gives_its_values_with_what_people_call_them(index: SmallIndex) -> None:
    found = asked(index, Search("dataset"))
    labels = {one.value: one.label for one in chain(*(facet.values for facet in found.values()))}
    assert labels[ALICE] == "alice.test"
    assert labels[BOB] is None
    assert labels[SCHEMAS["Sound"].uri] == "Sound@1.0.0"
    assert labels["sea"] is labels["mit"] is labels["ndarray:uint8"] is None


def test_a_facet_is_not_narrowed_by_its_own_filter(index: SmallIndex) -> None:
    every = asked(index, Search("dataset"))
    narrowed = asked(index, Search("dataset", author=BOB))
    assert narrowed["author"] == every["author"]
    assert set(counts(narrowed["author"])) == set(AUTHORS)
    assert sum(counts(narrowed["license"]).values()) < sum(counts(every["license"]).values())


@given(
    word=st.sampled_from(["", *WORDS]),
    tags=st.lists(st.sampled_from(TAGS), unique=True, max_size=2),
    either=st.booleans(),
    licenses=st.lists(st.sampled_from(LICENSES[:2]), unique=True, max_size=2),
    author=st.sampled_from([None, *AUTHORS]),
    schema=st.sampled_from([None, *SCHEMAS]),
    field=st.sampled_from([None, "str", "ndarray:uint8"]),
)
@settings(max_examples=120, deadline=None)
def test_facets_count_as_a_look_at_every_dataset_does(
    index: SmallIndex,
    word: str,
    tags: list[str],
    either: bool,
    licenses: list[str],
    author: str | None,
    schema: str | None,
    field: str | None,
) -> None:
    folded = {license.casefold() for license in licenses}

    def passes(one: Made, but: str) -> bool:
        tagged = (any if either else all)(tag in one.has["tags"] for tag in tags)
        tests = {
            "tags": not tags or tagged,
            "license": not licenses or bool(folded & {*one.has["license"]}),
            "schema": schema is None or one.schema == schema,
            "author": author is None or one.has["author"] == [author],
            "fieldKind": field is None or field in one.has["fieldKind"],
            "q": not word or one.word == word,
        }
        return all(passed for name, passed in tests.items() if name != but)

    search = Search(
        "dataset",
        q=word,
        tags=tags,
        tag_match="any" if either else "all",
        licenses=licenses,
        author=author,
        schema=None if schema is None else SCHEMAS[schema].uri,
        fields=() if field is None else [f":{field}"],
    )
    for name, facet in asked(index, search).items():
        naive = Counter(chain(*(one.has[name] for one in LIVE if passes(one, name))))
        assert counts(facet) == naive, name
        assert [one.count for one in facet.values] == sorted(naive.values(), reverse=True)
        assert not facet.estimated


def test_records_that_are_hidden_later_are_not_counted(tmp_path: Path) -> None:
    rows = [dataset(1, "One", tags=["sea"]), dataset(2, "Two", tags=["sea"], did=GONE)]
    with holding(tmp_path, rows) as small:
        small.reader.refresh()
        assert counts(asked(small, Search("dataset"))["tags"]) == {"sea": 2}
        small.account(GONE, False, "takendown")
        small.reader.refresh()
        assert counts(asked(small, Search("dataset"))["tags"]) == {"sea": 1}
        delete(small, rows[0])
        small.reader.refresh()
        assert all(not facet.values for facet in asked(small, Search("dataset")).values())


def test_what_is_not_indexed_is_counted_without_a_label(tmp_path: Path) -> None:
    row = dataset(1, 'A "schema": {} and an "author": {} in quotes')
    with holding(tmp_path, [row]) as small:
        found = asked(small, Search("dataset"))
        assert found["schema"].values == [FacetValue(str(row.schema_uri), 1)]
        assert found["author"].values == [FacetValue(BOB, 1)]
        assert not found["fieldKind"].values


def test_no_facet_is_longer_than_its_bound(tmp_path: Path) -> None:
    tags = [f"tag {number:03}" for number in range(150)]
    rows = [dataset(n, "Tagged", tags=tags[n * 20 : n * 20 + 20]) for n in range(8)]
    with holding(tmp_path, rows) as small:
        small.reader.refresh()
        assert len(asked(small, Search("dataset"), 2**62)["tags"].values) == MAX_VALUES
        assert len(asked(small, Search("dataset"), 3)["tags"].values) == 3
        assert len(asked(small, Search("dataset"), -1)["tags"].values) == 1


@pytest.fixture(scope="module")
def broad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SmallIndex, list[Row]]]:
    rows = [dataset(n, f"Set {n}", tags=["even" if n % 2 == 0 else "odd"]) for n in range(6000)]
    with holding(tmp_path_factory.mktemp("broad"), rows) as small:
        yield small, rows


@pytest.mark.parametrize("enough", [1, 5, 50])
def test_what_is_broad_is_counted_over_a_sample_and_said_to_be(
    broad: tuple[SmallIndex, list[Row]], enough: int
) -> None:
    small, rows = broad
    (facet,) = facets(snapshot(small), Plan("dataset"), ["tags"], enough=enough)
    assert facet.estimated
    samples = {
        of: Counter("even" if n % 2 == 0 else "odd" for n, one in enumerate(rows) if _in(one, of))
        for of in SAMPLES.values()
    }
    times = [of for of in samples if counts(facet) == {t: n * of for t, n in samples[of].items()}]
    assert len(times) == 1
    assert samples[times[0]].total() * 2 >= enough


def test_what_is_not_broad_is_counted_whole(broad: tuple[SmallIndex, list[Row]]) -> None:
    small, _ = broad
    (facet,) = facets(snapshot(small), Plan("dataset"), ["tags"])
    assert counts(facet) == {"even": 3000, "odd": 3000}
    assert not facet.estimated


def _in(row: Row, of: int) -> bool:
    return key_of(row.uri) % of == 0
