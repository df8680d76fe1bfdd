"""Over HTTP: the orders of results, pages, what `q` says, facets and highlights."""

from collections.abc import Callable, Iterator

import pytest

from atdata_api.server import AppView
from tests.asking import Api
from tests.recorded_views import LISTS, Network, View, license_of, size_of, tags_of


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


@pytest.fixture(scope="module")
def network(api: Api) -> Network:
    return Network.of(api)


# --- order ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(LISTS))
def test_newest_and_oldest_are_each_others_reverse(api: Api, network: Network, name: str) -> None:
    oldest = [view["uri"] for view in api.walk(name, sort="oldest", limit=7)]
    newest = [view["uri"] for view in api.walk(name, sort="newest", limit=9)]
    assert oldest == newest[::-1]
    assert [network.created[uri] for uri in oldest] == sorted(
        network.created[uri] for uri in oldest
    )
    assert set(oldest) == set(network.views[name])


@pytest.mark.parametrize("name", sorted(LISTS))
def test_by_name_every_record_comes_once_in_the_order_of_names(
    api: Api, network: Network, name: str
) -> None:
    views = api.walk(name, sort="name", limit=7)
    assert [view["uri"] for view in views] != list(network.views[name])
    assert {view["uri"] for view in views} == set(network.views[name])
    assert len(views) == len(network.views[name])
    plain = [n for v in views if (n := v["record"]["name"].casefold()).isascii()]
    assert [one[:32] for one in plain] == sorted(one[:32] for one in plain)


def test_by_samples_the_largest_come_first_and_the_unknown_last(api: Api, network: Network) -> None:
    views = api.walk("searchDatasets", sort="samples", limit=7)
    sizes = [-1 if (n := size_of(view, "samples")) is None else n for view in views]
    assert sizes == sorted(sizes, reverse=True)
    assert {view["uri"] for view in views} == set(network.views["searchDatasets"])


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_page_has_as_many_results_as_its_limit(api: Api, name: str) -> None:
    pages = list(api.pages(name, limit=6))
    key = name.removeprefix("search").lower()
    assert {len(page[key]) for page in pages[:-1]} == {6}
    assert 1 <= len(pages[-1][key]) <= 6
    assert len({page["hitsTotal"] for page in pages}) == 1
    assert not any(page["hitsTotalIsBound"] for page in pages)


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "q"),
    [("searchDatasets", "whale"), ("searchSchemas", "hydrophone"), ("searchLenses", "utterance")],
)
def test_q_finds_what_has_the_words(api: Api, network: Network, name: str, q: str) -> None:
    found = {view["uri"] for view in api.walk(name, q=q)}
    named = {uri for uri, v in network.views[name].items() if q in v["record"]["name"].casefold()}
    assert named
    assert named <= found < set(network.views[name])


@pytest.mark.parametrize(
    ("q", "params"),
    [
        ("tag:speech", {"tags": "speech"}),
        ("license:MIT", {"license": "MIT"}),
        ("author:kestrel-vision.test", {"author": "kestrel-vision.test"}),
        ("field:image:ndarray:uint8", {"field": "image:ndarray:uint8"}),
        ("schema:Sentinel2Patch@^1.9", {"schema": "Sentinel2Patch@^1.9"}),
    ],
)
def test_a_filter_within_q_is_the_parameter(api: Api, q: str, params: dict[str, str]) -> None:
    within = api.walk("searchDatasets", q=q)
    assert within
    assert {v["uri"] for v in within} == {v["uri"] for v in api.walk("searchDatasets", **params)}


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize(
    "q",
    [
        "field:image:str:uint8",
        "field:a:nested:x",
        "field:a:b:c:d:e",
        "field::::",
        "field:image:ndarray:uint8:²",
        "schema:at://x",
        "schema:@",
        "schema:Photo@",
        "schema:Photo@1.x.y",
        "schema:did:plc:abc",
        "author:nobody",
        "author:@",
        'tag:""',
        "license:",
        "*",
        "日*",
        '"',
    ],
)
def test_nothing_in_q_is_an_error(api: Api, sign: str, q: str) -> None:
    for name in LISTS:
        assert api.query(name, q=sign + q).status_code == 200


# --- facets and highlights --------------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"q": "image"}, {"tags": "speech", "license": "CC-BY-4.0"}])
def test_facets_count_what_matches_without_their_own_filter(
    api: Api, network: Network, params: dict[str, str]
) -> None:
    names = ["license", "tags"]
    answer = api.ask("searchDatasets", **params, facets=names, facetSize=100, limit=1)
    assert [facet["facet"] for facet in answer["facets"]] == names
    values_of: dict[str, Callable[[View], set[str]]] = {
        "license": lambda view: {license_of(view)} - {""},
        "tags": tags_of,
    }
    for facet in answer["facets"]:
        own = facet["facet"]
        others = {name: value for name, value in params.items() if name != own}
        counts: dict[str, int] = {}
        for view in api.walk("searchDatasets", **others):
            for value in values_of[own](view):
                counts[value] = counts.get(value, 0) + 1
        told = {one["value"]: one["count"] for one in facet["values"]}
        assert told
        assert told.items() <= counts.items()
        assert len(told) == min(100, len(counts))
        assert facet["estimated"] is False


def test_facets_of_schemas_authors_and_kinds_of_fields_say_what_people_read(
    api: Api, network: Network
) -> None:
    answer = api.ask("searchDatasets", facets=["schema", "author", "fieldKind"], facetSize=100)
    schemas, authors, kinds = ({v["value"]: v for v in f["values"]} for f in answer["facets"])
    for uri, value in schemas.items():
        link = network.views["searchSchemas"].get(uri)
        if link is not None:
            record = link["record"]
            assert value["label"] == f"{record['name']}@{record['version']}"
        assert value["count"] == len(api.walk("searchDatasets", schema=uri))
    for did, value in authors.items():
        assert value["count"] == len(api.walk("searchDatasets", author=did))
        assert value.get("label", "x.test").endswith(".test")
    assert kinds["ndarray:uint8"]["count"] == len(
        api.walk("searchDatasets", field=":ndarray:uint8")
    )
    assert kinds["str"]["count"] == len(api.walk("searchDatasets", field=":str"))


def test_facet_size_is_how_many_values_there_are_at_most(api: Api) -> None:
    for size in (1, 3):
        [facet] = api.ask("searchDatasets", facets="tags", facetSize=size)["facets"]
        assert len(facet["values"]) == size
    [facet] = api.ask("searchDatasets", facets="tags")["facets"]
    assert len(facet["values"]) == 10
    counts = [value["count"] for value in facet["values"]]
    assert counts == sorted(counts, reverse=True)
    assert "facets" not in api.ask("searchDatasets", facetSize=3)


def test_highlights_are_slices_of_bytes_that_match(api: Api) -> None:
    fields = set()
    for view in api.walk("searchDatasets", q="recordings café", highlight="true"):
        for one in view["highlights"]:
            fields.add(one["field"])
            assert one["text"] in view["record"][one["field"]] or one["field"] == "description"
            assert one["slices"]
            text = one["text"].encode()
            ends = [at for s in one["slices"] for at in (s["byteStart"], s["byteEnd"])]
            assert ends == sorted(ends)
            assert ends[-1] <= len(text)
            for s in one["slices"]:
                word = text[s["byteStart"] : s["byteEnd"]].decode().casefold()
                assert word.startswith(("record", "caf"))
    assert fields == {"name", "description"}
    for asked in ({}, {"highlight": "false"}):
        views = api.walk("searchDatasets", q="recordings", **asked)
        assert not any("highlights" in view for view in views)
