"""A search finds what it should, all of it and nothing else, whatever is typed."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atdata_api.server import AppView
from atdata_indexer.index.query import Search
from atdata_indexer.index.searching import ENOUGH
from atdata_schemas.syntax import micros, parse_datetime, tid_micros
from tests.asking import NS, TRUTH, Api
from tests.small_index import ALICE, BOB, DATASET, SmallIndex, row, schema

type Views = dict[str, Any]

HIDDEN = TRUTH["hidden"]
CHATTER = next(did for did, one in TRUTH["accounts"].items() if one["handle"] == "chatter.test")
FIELDNOTES = next(
    did for did, one in TRUTH["accounts"].items() if one["handle"] == "fieldnotes.test"
)
NOTHING = {"hitsTotal": 0, "hitsTotalIsBound": False, "datasets": []}
LISTS = ("listDatasets", "listSchemas", "listLenses")


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


@pytest.fixture(scope="module")
def datasets(api: Api) -> Views:
    """Every dataset of the index by URI."""
    return {view["uri"]: view for view in api.walk("listDatasets")}


@pytest.fixture(scope="module")
def texts(api: Api, datasets: Views) -> dict[str, str]:
    """What every dataset is found by, by URI: its own words, its schema's, its author's handle."""
    schemas = {view["uri"]: view["record"] for view in api.walk("listSchemas")}
    return {uri: text_of(view, schemas) for uri, view in datasets.items()}


def found(api: Api, **params: Any) -> set[str]:
    """Every match: by date no word may be missing, as some may by relevance."""
    return {view["uri"] for view in api.walk("searchDatasets", sort="newest", **params)}


def ranked(api: Api, **params: Any) -> list[str]:
    """The hits by relevance."""
    return [view["uri"] for view in api.walk("searchDatasets", **params)]


def tags_of(view: Any) -> set[str]:
    return {tag.casefold() for tag in view["record"].get("tags", ())}


def text_of(view: Any, schemas: Views) -> str:
    record = view["record"]
    parts = [record["name"], record.get("description", ""), view["schema"].get("name", "")]
    parts += [field["name"] for field in schemas.get(record["schemaRef"], {}).get("fields", ())]
    return " ".join([*parts, *record.get("tags", ()), view["author"]["handle"]]).lower()


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "q", ["whale", "kitchen", "satellite segmentation", "chest x-ray", "time series", "speech asr"]
)
def test_words_find_every_record_that_has_them_all(api: Api, texts: dict[str, str], q: str) -> None:
    words = re.findall(r"\w+", q)
    having = {
        uri for uri, text in texts.items() if all(re.search(rf"\b{word}\b", text) for word in words)
    }
    hits = found(api, q=q)
    assert having
    assert having <= hits
    stems = [word[:4] for word in words]
    assert all(stem in texts[uri] for uri in hits for stem in stems)


@pytest.mark.parametrize(
    ("one", "other"), [("whale", "song"), ("speech", "noise"), ("image", "depth")]
)
def test_all_words_must_match_by_date(api: Api, one: str, other: str) -> None:
    assert found(api, q=f"{one} {other}") == found(api, q=one) & found(api, q=other)
    assert found(api, q=f"{other} {one}") == found(api, q=f"{one} {other}")


def test_words_that_say_nothing_are_left_out_beside_others(api: Api) -> None:
    assert found(api, q="the image of a whale") == found(api, q="image whale")
    assert found(api, q="the"), "alone they are searched"


@pytest.mark.parametrize(
    "q", ["whale song", "chest x-ray", "time series", "satellite segmentation"]
)
def test_by_relevance_what_has_some_of_the_words_follows_what_has_them_all(
    api: Api, q: str
) -> None:
    whole = found(api, q=q)
    hits = ranked(api, q=q)
    pieces = re.findall(r"\w+", q)  # of a compound its pieces count as well
    some = set[str]().union(*(found(api, q=word) for word in pieces))
    assert 0 < len(whole) < ENOUGH
    assert set(hits[: len(whole)]) == whole
    assert whole < set(hits) <= some
    assert len(hits) == len(set(hits))


def test_what_enough_records_have_whole_is_not_searched_in_part(api: Api) -> None:
    whole = found(api, q="image the")
    assert len(whole) >= ENOUGH
    assert set(ranked(api, q="image the")) == whole


@pytest.mark.parametrize("word", ["zyzzyva", "x" * 65, "x" * 500, "雪" * 100])
def test_a_word_that_no_record_has_finds_nothing_however_long(api: Api, word: str) -> None:
    assert api.ask("searchDatasets", q=word)["hitsTotal"] == 0
    q = f"speech {word}"[:512]
    assert not found(api, q=q)
    assert set(ranked(api, q=q)) == found(api, q="speech"), "the word that is known still finds"


def test_a_mistyped_word_is_searched_as_what_it_is_meant_to_be_and_this_is_said(api: Api) -> None:
    page = api.ask("searchDatasets", q="segmentaton", limit=100)
    assert page["didYouMean"] == "segmentation"
    assert {view["uri"] for view in page["datasets"]} == found(api, q="segmentation")
    by_date = api.ask("searchDatasets", q="segmentaton", sort="newest")
    assert by_date == NOTHING | {"didYouMean": "segmentation"}


@pytest.mark.parametrize(("word", "other"), [("whale", "song"), ("speech", "noise")])
def test_what_is_excluded_is_not_found(api: Api, word: str, other: str) -> None:
    without = found(api, q=f"{word} -{other}")
    assert without == found(api, q=word) - found(api, q=other)
    assert set(ranked(api, q=f"{word} -{other}")) == without
    everything = found(api)
    assert found(api, q=f"-{other}") == everything - found(api, q=other)


def test_a_phrase_is_found_where_its_words_stand_side_by_side(
    api: Api, texts: dict[str, str]
) -> None:
    hits = found(api, q='"time series"')
    assert hits
    assert hits <= found(api, q="time series")
    assert hits >= {uri for uri, text in texts.items() if re.search(r"\btime series\b", text)}
    assert not found(api, q='"series time"')


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("whale", "whales"),
        ("segmentation", "segmenting"),
        ("recordings", "recorded"),
        ("kitchen", "KITCHEN"),
        ("kitchen", "ｋｉｔｃｈｅｎ"),
        ("Provérbios", "proverbios"),
        ("Provérbios", unicodedata.normalize("NFD", "PROVÉRBIOS")),
        ("Märchen", "marchen"),
        ("Schweißnähte", "schweissnahte"),
        ("español", "ESPANOL"),
        ("café", "cafe\u0301"),
    ],
)
def test_stems_case_width_and_accents_do_not_matter(api: Api, written: str, typed: str) -> None:
    assert found(api, q=written)
    assert found(api, q=typed) == found(api, q=written)


def test_no_case_is_beyond_folding(tmp_path: Path) -> None:
    small = SmallIndex(tmp_path)
    small.put([_named("3kistanbulaaa", "İstanbul'da ışık, ẹ̀kọ́ ìtàn", "हिन्दी")])
    istanbul = ("İstanbul", "istanbul", "ISTANBUL", "i\u0307stanbul", "I\u0307stanbul")
    for q in (*istanbul, "ISIK", "eko itan", "Ẹ̀KỌ́", "ẸKỌ", "हिन्दी"):
        assert small.reader.search(Search("dataset", q=q)).total == 1, q
    small.close()


def test_other_scripts_are_found_word_by_word(api: Api, texts: dict[str, str]) -> None:
    for word in ("العربية", "普通话与方言对照朗读", "落語の書き起こしと間", "语音"):
        hits = found(api, q=word)
        assert hits
        assert all(word in texts[uri] for uri in hits)


def test_the_name_of_its_schema_finds_a_dataset(api: Api, datasets: Views) -> None:
    named = {uri for uri, view in datasets.items() if view["schema"].get("name") == "CaloShower"}
    assert named
    assert found(api, q="caloshower") >= named


def test_schemas_are_found_by_words_and_author(api: Api) -> None:
    views = api.walk("searchSchemas", q="hydrophone clip")
    assert "HydrophoneClip" in {view["record"]["name"] for view in views}
    author = views[0]["author"]
    mine = api.walk("searchSchemas", author=author["did"])
    assert mine == api.walk("searchSchemas", author=author["handle"].upper())
    assert {view["author"]["did"] for view in mine} == {author["did"]}
    assert mine == api.walk("listSchemas", author=author["did"])


# --- filters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tags", [["speech"], ["speech", "asr"], ["time series", "energy"], ["ocr", "japanese", "かな"]]
)
def test_tags_must_all_be_carried_whatever_the_case(
    api: Api, datasets: Views, tags: list[str]
) -> None:
    carrying = {uri for uri, view in datasets.items() if tags_of(view) >= set(tags)}
    assert carrying
    assert found(api, tags=tags) == carrying
    assert found(api, tags=[tag.upper() for tag in reversed(tags)]) == carrying
    assert not found(api, tags=[*tags, "no such tag"])
    assert not found(api, tags=[tag[:-1] for tag in tags])


def test_a_schema_finds_all_its_datasets(api: Api, datasets: Views) -> None:
    of_schema: dict[str, set[str]] = {}
    for uri, view in datasets.items():
        of_schema.setdefault(view["record"]["schemaRef"], set()).add(uri)
    for schema_uri, uris in of_schema.items():
        assert found(api, schema=schema_uri) == uris


def test_authors_are_found_by_did_and_by_handle(api: Api, datasets: Views) -> None:
    for did, account in TRUTH["accounts"].items():
        theirs = {uri for uri, view in datasets.items() if view["author"]["did"] == did}
        for name in (did, account["handle"], account["handle"].upper()):
            assert found(api, author=name) == theirs
    assert not found(api, author="framestack.test"), "a handle given up finds nothing"
    assert not found(api, author="handle.invalid")
    assert not found(api, author=FIELDNOTES.upper().replace("DID:PLC", "did:plc"))


def test_filters_narrow_each_other_down(api: Api, datasets: Views) -> None:
    author = next(v["author"] for v in datasets.values() if v["author"]["handle"][:4] == "vox-")
    both = found(api, q="speech", tags=["asr"], author=author["handle"])
    assert both
    assert both == found(api, q="speech") & found(api, tags=["asr"]) & found(
        api, author=author["did"]
    )


@pytest.mark.parametrize(
    "params", [{}, {"q": "whale"}, {"tags": "speech"}, {"q": "no such thing at all"}]
)
def test_hits_total_is_how_many_all_pages_have(api: Api, params: dict[str, str]) -> None:
    totals = {page["hitsTotal"] for page in api.pages("searchDatasets", **params, limit=7)}
    assert totals == {len(api.walk("searchDatasets", **params))}


def test_tags_are_counted_as_they_are_carried(api: Api, datasets: Views) -> None:
    counts = Counter(tag for view in datasets.values() for tag in tags_of(view))
    listed = [(one["tag"], one["count"]) for one in api.ask("listTags", limit=100)["tags"]]
    assert listed == sorted(listed, key=lambda one: (-one[1], one[0]))
    assert dict(listed).items() <= counts.items()
    assert [count for _, count in listed] == [count for _, count in counts.most_common(100)]
    assert [(one["tag"], one["count"]) for one in api.ask("listTags", limit=9)["tags"]] == listed[
        :9
    ]


def test_a_tag_spread_thinly_over_the_index_is_counted_whole(tmp_path: Path) -> None:
    """Each commit is a part of its own, in which `everywhere` is the rarest of fifty tags."""
    small = SmallIndex(tmp_path)
    for part in range(7):
        tags = [f"only in part {part}, number {number}" for number in range(49)]
        twice = [_tagged(f"3k{part}{number:010}", tags) for number in range(2)]
        small.put([*twice, _tagged(f"3k{part}aaaaaaaaaa", ["everywhere"])])
    small.reader.refresh()
    assert small.reader.tags(1) == [("everywhere", 7)]
    small.close()


# --- order ------------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"q": "image"}, {"tags": "speech"}])
def test_newest_and_oldest_go_by_creation_but_never_after_the_commit(
    api: Api, params: dict[str, str]
) -> None:
    def created(view: Any) -> int:
        rev = api.ask("getRecordStatus", uri=view["uri"])["rev"]
        return min(micros(parse_datetime(view["record"]["createdAt"])), tid_micros(rev))

    newest = api.walk("searchDatasets", **params, sort="newest")
    oldest = api.walk("searchDatasets", **params, sort="oldest")
    times = [created(view) for view in oldest]
    assert len(times) > 20
    assert times == sorted(times)
    assert newest == oldest[::-1]


def test_without_words_the_newest_come_first(api: Api) -> None:
    newest = api.walk("searchDatasets", sort="newest")
    assert newest == api.walk("searchDatasets")
    assert newest == api.walk("searchDatasets", sort="relevance")
    assert newest == api.walk("searchDatasets", q="  ")
    assert newest == api.walk("listDatasets")


def test_a_word_in_the_name_counts_more_than_one_in_the_description(tmp_path: Path) -> None:
    small = SmallIndex(tmp_path)
    small.put(
        [
            _named("3kdescription", "Recordings of a pier", "Now and then a porpoise goes by."),
            _named("3knameaaaaaaa", "Porpoise of the pier", "Now and then a recording goes on."),
            *(_named(f"3kfiller{n:05}", "Something else", "Goes on and on.") for n in range(9)),
        ]
    )
    page = small.reader.search(Search("dataset", q="porpoise"))
    assert [json.loads(view)["uri"][-13:] for view in page.views] == [
        "3knameaaaaaaa",
        "3kdescription",
    ]
    small.close()


@pytest.mark.parametrize("q", ["chest x-ray", "protein", "whale", "lidar"])
def test_the_best_hit_has_the_words_in_its_name_or_tags(api: Api, q: str) -> None:
    best = api.ask("searchDatasets", q=q, limit=1)["datasets"][0]["record"]
    shown = f"{best['name']} {' '.join(best['tags'])}".lower()
    assert all(word in shown for word in re.findall(r"\w+", q))


# --- hostile queries --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "q",
    ["(" * 512, ")" * 512, '"' * 512, "\\" * 512, "[" * 512, "*", "?", "~", "^", "!", "&&", "\0"],
)
def test_signs_alone_find_nothing(api: Api, q: str) -> None:
    assert api.ask("searchDatasets", q=q) == NOTHING


@pytest.mark.parametrize(
    "q",
    [
        '"whale"',
        "'whale'",
        "(whale",
        "whale)))",
        "+whale",
        "!whale",
        "whale~",
        "/whale/",
        "\\whale",
        "🐋 whale 🐳",
        "whale\0",
        "\u202ewhale",
        "whale whale WHALE",
    ],
)
def test_signs_around_a_word_change_nothing(api: Api, q: str) -> None:
    assert found(api, q=q) == found(api, q="whale")


@pytest.mark.parametrize(
    "q", ["kind:dataset", "kind:sentinel", "did:plc", "created:[0 TO 9]", "text:whale", "view:a"]
)
def test_field_names_are_words_like_others(api: Api, texts: dict[str, str], q: str) -> None:
    words = re.findall(r"\w+", q.lower())
    for uri in found(api, q=q):
        assert all(word[:4] in texts[uri] for word in words)
    assert found(api, q=q) == found(api, q=" ".join(words))


def test_floods_of_words_and_brackets_are_read_in_part(recorded_appview: AppView) -> None:
    """What the API would refuse for its length does no harm behind it either."""
    search = recorded_appview.indexer.reader.search
    assert search(Search("dataset", q="(" * 3_000)).total == 0
    assert search(Search("dataset", q="(" * 3_000 + "whale" + ")" * 3_000)).total == 0
    flood = Search("dataset", q=" ".join(f"zyzzyva{n}" for n in range(10_000)))
    assert search(flood, sort="newest").total == 0
    assert search(flood).total < 500
    assert search(Search("dataset", q="whale " * 85)).total > 0
    assert search(Search("dataset", tags=["speech"] * 10_000)).total > 0


# --- what must never be found -----------------------------------------------------------------


def test_the_sentinel_is_never_found(api: Api, recorded_appview: AppView) -> None:
    kinds = {name: f"at://[^/]+/{NS}.{kind}/" for name, kind in zip(LISTS, KINDS, strict=True)}
    for name, pattern in kinds.items():
        assert all(re.match(pattern, view["uri"]) for view in api.walk(name))
    for q in ("sentinel", "kind:sentinel", "epoch seq"):
        assert all(re.match(kinds["listDatasets"], uri) for uri in found(api, q=q))
    reader = recorded_appview.indexer.reader
    assert all(reader.get(kind, ["sentinel"]) == [] for kind in KINDS)
    assert api.ask("describeService")["counts"]["datasets"] == len(api.walk("listDatasets"))


KINDS = ("dataset", "schema", "lens")


def test_no_endpoint_shows_a_record_of_a_hidden_account(api: Api, datasets: Views) -> None:
    shown = {view["uri"] for name in LISTS for view in api.walk(name)}
    shown |= {view["uri"] for view in api.walk("searchDatasets") + api.walk("searchSchemas")}
    assert HIDDEN
    for did, account in HIDDEN.items():
        handle = TRUTH["accounts"][did]["handle"]
        assert not any(did in uri for uri in shown)
        for name in (*LISTS, "searchDatasets", "searchSchemas"):
            assert api.walk(name, author=did) == []
            assert api.walk(name, author=handle) == []
        for uri in account["records"]:
            for name in ("getDataset", "getSchema", "getLens"):
                assert api.query(name, uri=uri).status_code == 404
        assert api.ask("getDatasets", uris=[*account["records"]])["datasets"] == []
        assert not any(did in json.dumps(view["author"]) for view in datasets.values())


def test_a_schema_that_is_not_visible_is_shown_as_missing(api: Api, datasets: Views) -> None:
    visible = {view["uri"]: view for view in api.walk("listSchemas")}
    lenses = api.walk("listLenses")
    links = [view["schema"] for view in datasets.values()]
    links += [lens[end] for lens in lenses for end in ("source", "target")]
    for link in links:
        if link["uri"] in visible:
            schema_view = visible[link["uri"]]
            assert link["status"] == "indexed"
            assert link["cid"] == schema_view["cid"]
            assert link["name"] == schema_view["record"]["name"]
            assert link["version"] == schema_view["record"]["version"]
        else:
            assert link == {"uri": link["uri"], "status": "missing"}


def test_a_dataset_whose_schema_is_missing_is_found_and_says_so(api: Api) -> None:
    cases = TRUTH["cases"]
    for uri in cases["schema_never_published"] + cases["schema_deleted_while_in_use"]:
        view = api.ask("getDataset", uri=uri)["dataset"]
        assert view["schema"] == {"uri": view["record"]["schemaRef"], "status": "missing"}
        assert uri in found(api, schema=view["record"]["schemaRef"])
        assert uri in found(api, author=view["author"]["did"])
    for uri in cases["schema_published_after_a_dataset_of_it"]:
        of_it = api.walk("searchDatasets", schema=uri)
        assert of_it
        assert {view["schema"]["status"] for view in of_it} == {"indexed"}


@pytest.mark.parametrize(
    "uri",
    [
        f"at://{CHATTER}/app.bsky.atdatabase.dataset/3m2aaaaaaaa2s",
        f"at://{CHATTER}/com.example.app.bsky.atdata.dataset/3m2aaaaaaab2s",
        f"at://{CHATTER}/com.example.note/app.bsky.atdata.dataset",
        f"at://{FIELDNOTES}/app.bsky.atdata.bookmark/3m2aaaaaaac2s",
    ],
)
def test_what_only_looks_like_ours_is_not_indexed(api: Api, uri: str) -> None:
    assert api.ask("getRecordStatus", uri=uri)["status"] == "unseen"
    assert api.query("getDataset", uri=uri).status_code == 404
    assert not any(api.walk(name, author=CHATTER) for name in LISTS)
    assert not found(api, q='"looks like one of ours is not"')
    assert uri not in ranked(api, q="looks like one of ours is not")


def test_what_is_in_quarantine_is_not_found(api: Api) -> None:
    invalid = {uri for uri, one in TRUTH["records"].items() if not one["valid"]}
    assert not invalid & {view["uri"] for name in LISTS for view in api.walk(name)}
    assert not found(api, q="unfinished upload")
    assert not invalid & set(ranked(api, q="unfinished upload"))


def _named(rkey: str, name: str, description: str) -> Any:
    record = {"$type": DATASET, "name": name, "description": description}
    return row(BOB, DATASET, rkey, json.dumps(record), name=name, schema_uri=schema(ALICE).uri)


def _tagged(rkey: str, tags: list[str]) -> Any:
    record = {"$type": DATASET, "name": "Tagged", "tags": tags}
    return row(BOB, DATASET, rkey, json.dumps(record), name="Tagged", schema_uri=schema(ALICE).uri)
