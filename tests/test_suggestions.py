"""What the search box offers, the list of tags, and the words that a prefix stands for."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_indexer.changes import Row
from atdata_indexer.index.snapshot import Address, Snapshot
from atdata_indexer.index.suggest import MAX_COMPLETIONS, Suggestion, complete, suggest, tags
from atdata_indexer.index.vocabulary import common
from tests.described import dataset, delete, holding, schema, snapshot
from tests.small_index import ALICE, SmallIndex

GONE = "did:plc:gonegonegonegonegonegone"
HOSTILE = [
    "\0",
    "image\0",
    "x" * 1000,
    "a " * 500,
    "(" * 300,
    "im.*",
    "[a-z]+",
    "^image$",
    "image\\",
    '"image',
    "tag:image",
    "🐋",
    "🐋🐋 whale",
    "图像",
    "図",
    "사진 데이터",
    "e\u0301" * 60,
    "\u202eegami",
    "@",
    "@@alice",
    "-",
    " ",
    "\t\n",
    "%",
]

PHOTO = schema(1, "PhotoSample", kinds=["bytes"])
SHOWN = [
    PHOTO,
    schema(2, "PhotoSample", kinds=["bytes", "str"], version="2.0.0"),
    dataset(1, "Photographs of whales", tags=["photo", "whales"], schema=PHOTO.uri),
    dataset(2, "Wildlife photographs", tags=["photo"], schema=PHOTO.uri),
    dataset(3, "Whale calls", tags=["audio", "whales"], description="no photographs"),
    dataset(4, "Whale calls", tags=["audio"], did=ALICE),
    dataset(5, "海の写真", tags=["写真"]),
    dataset(6, "ImageNet thumbnails", tags=["Photo"]),
]
HIDDEN = [
    dataset(20, "Photos of a hidden account", did=GONE, tags=["photo", "phosphor"]),
    schema(21, "PhotoHidden", did=GONE),
    dataset(22, "Phones", tags=["phones"]),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallIndex]:
    with holding(tmp_path_factory.mktemp("suggest"), [*SHOWN, *HIDDEN]) as small:
        small.handle(ALICE, "photographer.test")
        small.handle(GONE, "phoebe.test")
        small.account(GONE, False, "suspended")
        delete(small, HIDDEN[2])
        small.reader.refresh()
        assert snapshot(small).deleted > 0
        yield small


def offers(index: SmallIndex, q: str, limit: int = 20) -> list[tuple[str, str]]:
    return [(one.kind, one.text) for one in index.reader.suggest(q, limit)]


def test_names_come_first_then_tags_schemas_and_authors(index: SmallIndex) -> None:
    assert index.reader.suggest("phot", 20) == [
        Suggestion("dataset", "Photographs of whales", SHOWN[2].uri),
        Suggestion("dataset", "Wildlife photographs", SHOWN[3].uri),
        Suggestion("tag", "photo", "photo", 3),
        Suggestion("schema", "PhotoSample@1.0.0", PHOTO.uri),
        Suggestion("schema", "PhotoSample@2.0.0", SHOWN[1].uri),
        Suggestion("author", "photographer.test", ALICE, 1),
    ]


def test_a_name_that_begins_as_typed_comes_before_one_that_holds_the_words(
    index: SmallIndex,
) -> None:
    names = [text for kind, text in offers(index, "photographs") if kind == "dataset"]
    assert names == ["Photographs of whales", "Wildlife photographs"]
    names = [text for kind, text in offers(index, "Wildlife pho") if kind == "dataset"]
    assert names == ["Wildlife photographs"]


@pytest.mark.parametrize(
    ("q", "name"),
    [
        ("whale ca", "Whale calls"),
        ("WHALE  CALLS", "Whale calls"),
        ("calls", "Whale calls"),
        ("of whal", "Photographs of whales"),
        ("image", "ImageNet thumbnails"),
        ("thumb", "ImageNet thumbnails"),
        ("海の", "海の写真"),
        ("写真", "海の写真"),
    ],
)
def test_a_name_is_found_by_its_words_the_last_of_them_in_part(
    index: SmallIndex, q: str, name: str
) -> None:
    assert ("dataset", name) in offers(index, q)


def test_a_text_is_offered_once_however_many_records_bear_it(index: SmallIndex) -> None:
    assert Counter(offers(index, "whale"))["dataset", "Whale calls"] == 1


def test_names_that_begin_as_typed_come_first_among_thousands(tmp_path: Path) -> None:
    rows = [dataset(n, f"Images of the set with number {n}") for n in range(5200)]
    with holding(tmp_path, [*rows, dataset(5200, "Set images")]) as small:
        now = snapshot(small)
        names = [one.text for one in suggest(now, "image")]
        assert names[0].startswith("Images of the set")
        assert next(one.text for one in suggest(now, "set image")) == "Set images"


SERIES = [f"{letter}{number}" for letter in "abcdefghij" for number in range(10)]
LONG = [
    ("dataset", "Sentinel-2 satellite imagery of region {}"),
    ("dataset", "One of more than nine words in the title of region {}"),
    ("dataset", "衛星センチネルによる地域の画像データ {}"),
    ("dataset", "sentinelsatelliteimageryofregion{}"),
    ("schema", "SentinelSatelliteImageryOfRegion{}"),
    ("schema", "Sentinel satellite imagery of region {}"),
]


@pytest.mark.parametrize(("kind", "name"), LONG)
def test_long_names_are_offered_however_many_begin_the_same(
    tmp_path: Path, kind: str, name: str
) -> None:
    make = dataset if kind == "dataset" else schema
    with holding(tmp_path, [make(n, name.format(of)) for n, of in enumerate(SERIES)]) as small:
        small.reader.refresh()

        def offered(q: str) -> set[str]:
            return {
                text.removesuffix("@1.0.0") for found, text in offers(small, q) if found == kind
            }

        for letter in "ahj":
            assert offered(name.format(letter)) == {name.format(f"{letter}{n}") for n in range(10)}
        for of in SERIES[::9]:
            assert offered(name.format(of)) == {name.format(of)}


@pytest.mark.parametrize("numbers", ["{0}", "{1} {2}"])
def test_a_long_name_typed_in_full_is_offered_among_thousands(tmp_path: Path, numbers: str) -> None:
    name = f"Sentinel-2 satellite imagery of region {numbers}"
    names = [name.format(n, n // 60, n % 60) for n in range(3000)]
    with holding(tmp_path, [dataset(n, one) for n, one in enumerate(names)]) as small:
        now = snapshot(small)
        for one in names[::271]:
            assert suggest(now, one)[0].text == one


def test_a_long_beginning_comes_before_the_words_alone(tmp_path: Path) -> None:
    name = "Annual satellite imagery of region {}"
    rows = [dataset(n, name.format(f"{of} {n}")) for n, of in enumerate("b" * 50 + "a" * 9)]
    with holding(tmp_path, rows) as small:
        names = [one.text for one in suggest(snapshot(small), name.format("a"))]
        assert len(names) == 8
        assert all(text.startswith(name.format("a")) for text in names)


def test_a_name_is_found_by_its_later_words_however_many_hold_all_but_the_last(
    tmp_path: Path,
) -> None:
    name = "Sentinel-2 satellite imagery of region {}"
    with holding(tmp_path, [dataset(n, name.format(of)) for n, of in enumerate(SERIES)]) as small:
        now = snapshot(small)
        for of in SERIES[::9]:
            texts = [one.text for one in suggest(now, f"imagery region {of}")]
            assert texts == [name.format(of)]
        assert len(suggest(now, "imagery region h", 20)) == 10


@pytest.mark.parametrize("make", [dataset, schema])
def test_names_are_found_alike_however_many_have_the_same_first_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Row]
) -> None:
    names = [f"Whale calls {of}" for of in SERIES[::2]] + ["Whale", "Whales", "Whale calls"]
    typed = ["Wha", "Whale", "Whale c", "Whale calls", "Whale calls h", "Whale calls h8", "Tide"]
    with holding(tmp_path, [make(n, name) for n, name in enumerate(names)]) as small:
        now = snapshot(small)
        looked_at = [{one.text for one in suggest(now, q, 500)} for q in typed]
        monkeypatch.setattr("atdata_indexer.index.suggest._ALIKE", -1)
        assert [{one.text for one in suggest(now, q, 500)} for q in typed] == looked_at
        assert [len(texts) for texts in looked_at] == [53, 53, 51, 51, 5, 1, 0]


def test_no_more_than_a_hundred_names_of_a_kind_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "Sentinel-2 satellite imagery of region {}"
    looked: list[str] = []
    real = Snapshot.view

    def counting(self: Snapshot, address: Address) -> str:
        looked.append(real(self, address))
        return looked[-1]

    with holding(tmp_path, [dataset(n, name.format(f"x{n}")) for n in range(500)]) as small:
        now = snapshot(small)
        monkeypatch.setattr(Snapshot, "view", counting)
        assert suggest(now, name.format("y")) == suggest(now, "satellite imagery y") == []
        assert 0 < len(looked) <= 200


def test_an_author_is_found_by_the_handle_with_or_without_an_at_sign(index: SmallIndex) -> None:
    assert ("author", "photographer.test") in offers(index, "@photogr")
    assert ("author", "photographer.test") in offers(index, "PHOTOGR")


@pytest.mark.parametrize("q", ["ph", "pho", "phot", "photo", "photos", "phoe", "phon", "phosphor"])
def test_nothing_deleted_or_hidden_is_offered(index: SmallIndex, q: str) -> None:
    gone = {"Photos of a hidden account", "PhotoHidden@1.0.0", "phosphor", "phoebe.test"}
    assert not (gone | {"Phones", "phones"}) & {text for _, text in offers(index, q)}


def test_no_more_is_offered_than_asked_for_and_of_every_kind(index: SmallIndex) -> None:
    assert {kind for kind, _ in offers(index, "pho", 4)} == {"dataset", "tag", "schema", "author"}
    for limit in range(1, 20):
        assert len(offers(index, "pho", limit)) == min(limit, len(offers(index, "pho", 20)))


@pytest.mark.parametrize("q", HOSTILE)
def test_anything_may_be_typed(index: SmallIndex, q: str) -> None:
    known = {text for _, text in offers(index, "pho") + offers(index, "wha")}
    known |= {"ImageNet thumbnails", "海の写真", "写真", "audio"}
    assert {text for _, text in offers(index, q)} <= known
    assert {tag for tag, _ in index.reader.tags(25, q)} <= {"audio", "photo", "whales", "写真"}
    assert len(complete(snapshot(index), q)) <= MAX_COMPLETIONS


@given(st.text(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_text_is_answered(index: SmallIndex, q: str) -> None:
    shown = index.reader.suggest(q, 20)
    assert len({(one.kind, one.text) for one in shown}) == len(shown) <= 20


# --- tags -------------------------------------------------------------------------------------


def test_tags_are_listed_with_how_many_datasets_carry_them(index: SmallIndex) -> None:
    assert index.reader.tags(25) == [("photo", 3), ("audio", 2), ("whales", 2), ("写真", 1)]
    assert index.reader.tags(2) == [("photo", 3), ("audio", 2)]
    assert index.reader.tags(25, "Wh") == [("whales", 2)]
    assert index.reader.tags(25, "phon") == []


@given(
    carried=st.lists(st.sets(st.sampled_from(["ab", "abc", "abd", "b", "ba"])), max_size=20),
    gone=st.sets(st.integers(0, 19)),
    prefix=st.sampled_from(["", "a", "ab", "abc", "b", "c"]),
    limit=st.integers(1, 6),
)
@settings(max_examples=25, deadline=None)
def test_tags_are_counted_as_a_look_at_every_dataset_does(
    tmp_path_factory: pytest.TempPathFactory,
    carried: list[set[str]],
    gone: set[int],
    prefix: str,
    limit: int,
) -> None:
    rows = [dataset(n, "One", tags=sorted(some)) for n, some in enumerate(carried)]
    with holding(tmp_path_factory.mktemp("tags"), rows) as small:
        delete(small, *(row for n, row in enumerate(rows) if n in gone))
        left = (some for n, some in enumerate(carried) if n not in gone)
        naive = Counter(tag for some in left for tag in some if tag.startswith(prefix))
        found = tags(snapshot(small), prefix, limit)
        assert dict(found).items() <= naive.items()
        assert [count for _, count in found] == sorted(naive.values(), reverse=True)[:limit]


def test_tags_that_most_deleted_records_carried_do_not_hide_the_others(tmp_path: Path) -> None:
    rows = [dataset(n, "Gone", did=GONE, tags=[f"t{n % 9}"]) for n in range(90)]
    rows += [dataset(n, "Here", tags=["t-last", f"t{n}"]) for n in range(100, 103)]
    with holding(tmp_path, rows) as small:
        small.account(GONE, False, "deleted")
        now = snapshot(small)
        assert now.searcher.terms_with_prefix("tag", "t", limit=1)[0][0] != "t-last"
        assert tags(now, "t", 1) == [("t-last", 3)]
        assert complete(now, "her") == ["here"]
        assert complete(now, "gon") == []


def test_a_tag_that_most_deleted_records_carried_does_not_stand_before_its_time(
    tmp_path: Path,
) -> None:
    gone = [dataset(n, "Gone", did=GONE, tags=["t1", "t2"]) for n in range(9)]
    here = [dataset(n + 50, "Here", tags=["t3", *["t1"] * (n == 0)]) for n in range(3)]
    with holding(tmp_path, [*gone, *here]) as small:
        small.account(GONE, False, "deleted")
        now = snapshot(small)
        likely = [tag for tag, _ in now.searcher.terms_with_prefix("tag", "t", limit=2)]
        assert likely == ["t1", "t2"]
        assert tags(now, "t", 1) == [("t3", 3)]


def test_the_most_frequent_tags_of_many_are_counted_exactly(tmp_path: Path) -> None:
    rows = [dataset(n, "One", tags=["all", *["half"] * (n % 2)]) for n in range(5000)]
    with holding(tmp_path, rows) as small:
        delete(small, *rows[:100])
        assert tags(snapshot(small), enough=20) == [("all", 4900), ("half", 2450)]


# --- the words that a prefix stands for -------------------------------------------------------


def test_a_prefix_stands_for_whole_words_the_most_frequent_first(tmp_path: Path) -> None:
    said = ["imaging", "image imaging", "images", "images imaging", "immune"]
    rows = [dataset(n, "One", description=text) for n, text in enumerate(said)]
    with holding(tmp_path, rows) as small:
        now = snapshot(small)
        assert complete(now, "Ima") == ["imaging", "images", "image"]
        assert complete(now, "ima", 2) == ["imaging", "images"]
        assert complete(now, "imm") == ["immune"]
        assert complete(now, "x") == complete(now, "") == []


def test_a_prefix_stands_for_no_more_words_than_its_bound(tmp_path: Path) -> None:
    words = " ".join(f"word{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(200))
    with holding(tmp_path, [dataset(1, "One", description=words)]) as small:
        assert len(complete(snapshot(small), "word", 10**9)) == MAX_COMPLETIONS


def test_an_empty_index_offers_nothing(tmp_path: Path) -> None:
    with holding(tmp_path, []) as small:
        now = snapshot(small)
        assert suggest(now, "photo") == []
        assert tags(now) == tags(now, "p") == []
        assert complete(now, "p") == []


def test_what_begins_too_many_words_stands_for_those_of_some_records(tmp_path: Path) -> None:
    with holding(tmp_path, [dataset(n, f"Images im{n}x") for n in range(6000)]) as small:
        now = snapshot(small)
        found = common(now, "im", large=1)
        assert "images" in found
        assert len(found) < 100
        assert not common(now, "zebra", large=1)
        assert not common(now, "im", large=6001)
