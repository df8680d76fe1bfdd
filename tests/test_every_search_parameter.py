"""Every parameter of the three searches does what its lexicon says, over HTTP.

A filter must give exactly those records of which its rule, said again here in Python, is true.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from atdata_api.server import AppView
from atdata_schemas.lexicon import lexicons
from atdata_schemas.syntax import format_micros, micros, parse_datetime
from tests.asking import NS, Api
from tests.recorded_views import Network, View, license_of, size_of, tags_of


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


@pytest.fixture(scope="module")
def network(api: Api) -> Network:
    return Network.of(api)


# --- filters ----------------------------------------------------------------------------------


def of_schema(name: str, *versions: str) -> Callable[[Network, View], bool]:
    def holds(network: Network, view: View) -> bool:
        link = view["schema"]
        return link.get("name", "").casefold() == name and link["version"] in versions

    return holds


def with_field(
    name: str = "", kinds: Sequence[str] = (), dtype: str = "", ndim: int | None = None
) -> Callable[[Network, View], bool]:
    """Whether a schema has a field of this name, these kinds (any of them) and so on."""

    def fits(field: View) -> bool:
        said = field["type"]
        kind = said.get("primitive", said["kind"])
        return (
            (not name or field["name"].casefold() == name)
            and (not kinds or kind in kinds)
            and (not dtype or said.get("dtype", "").casefold() == dtype)
            and (ndim is None or len(said.get("shape") or "x" * 99) == ndim)
        )

    def holds(network: Network, view: View) -> bool:
        schema = network.schema_of(view)
        return schema is not None and any(map(fits, schema["fields"]))

    return holds


PRIMITIVES = ("str", "int", "float", "bool", "bytes")
FIELDS: Mapping[str, Callable[[Network, View], bool]] = {
    "image": with_field("image"),
    "IMAGE:ndarray": with_field("image", ["ndarray"]),
    "image:ndarray:uint8": with_field("image", ["ndarray"], "uint8"),
    "image:ndarray:uint8:3": with_field("image", ["ndarray"], "uint8", 3),
    "image:ndarray:*:2": with_field("image", ["ndarray"], ndim=2),
    ":ndarray:float32": with_field("", ["ndarray"], "float32"),
    "::float32": with_field("", ["ndarray"], "float32"),
    "*:*:*:1": with_field("", ["ndarray"], ndim=1),
    ":nested": with_field("", ["nested"]),
    "label:str": with_field("label", ["str"]),
    "label:primitive": with_field("label", PRIMITIVES),
    ":bytes": with_field("", ["bytes"]),
}


def by(handle: str) -> Callable[[Network, View], bool]:
    return lambda _, view: view["author"]["handle"] == handle


AUTHORS = ("kestrel-vision.test", "northwind-eo.test", "polyglot-mm.test")
MOMENT = "2026-01-15T12:00:00+01:00"
MOMENT_US = micros(parse_datetime(MOMENT))

type Case = tuple[Mapping[str, Any], Callable[[Network, View], bool]]
type Cases = Mapping[str, Sequence[Case]]

SHARED: Cases = {
    "author": [({"author": handle}, by(handle)) for handle in AUTHORS],
    "createdAfter": [
        ({"createdAfter": MOMENT}, lambda net, view: net.created[view["uri"]] >= MOMENT_US)
    ],
    "createdBefore": [
        ({"createdBefore": MOMENT}, lambda net, view: net.created[view["uri"]] < MOMENT_US)
    ],
    "namespace": [
        ({"namespace": NS}, lambda net, view: True),
        ({"namespace": "org.example.data"}, lambda net, view: False),
    ],
}

FILTERS: Mapping[str, Cases] = {
    "searchDatasets": {
        **SHARED,
        "tags": [
            ({"tags": "speech"}, lambda _, view: "speech" in tags_of(view)),
            ({"tags": ["SPEECH", "asr"]}, lambda _, view: tags_of(view) >= {"speech", "asr"}),
        ],
        "tagMatch": [
            (
                {"tags": ["speech", "ocr"], "tagMatch": "any"},
                lambda _, view: bool(tags_of(view) & {"speech", "ocr"}),
            ),
            (
                {"tags": ["speech", "asr"], "tagMatch": "all"},
                lambda _, view: tags_of(view) >= {"speech", "asr"},
            ),
        ],
        "schema": [
            (
                {"schema": "Sentinel2Patch"},
                of_schema("sentinel2patch", "1.0.0", "1.9.0", "1.10.0"),
            ),
            ({"schema": "sentinel2patch@1.9.0"}, of_schema("sentinel2patch", "1.9.0")),
            ({"schema": "Sentinel2Patch@^1.9"}, of_schema("sentinel2patch", "1.9.0", "1.10.0")),
            ({"schema": "LabeledImage@>=1.1 <2"}, of_schema("labeledimage", "1.1.0")),
            ({"schema": "NoSuchSchema@^1"}, lambda net, view: False),
        ],
        "license": [
            ({"license": "mit"}, lambda _, view: license_of(view) == "mit"),
            (
                {"license": ["CC0-1.0", "odbl-1.0"]},
                lambda _, view: license_of(view) in {"cc0-1.0", "odbl-1.0"},
            ),
        ],
        "field": [({"field": pattern}, holds) for pattern, holds in FIELDS.items()]
        + [
            (
                {"field": ["image", "label:str"]},
                lambda net, view: FIELDS["image"](net, view) and FIELDS["label:str"](net, view),
            )
        ],
        "samplesMin": [
            ({"samplesMin": 60_000}, lambda _, v: (size_of(v, "samples") or -1) >= 60_000)
        ],
        "samplesMax": [
            (
                {"samplesMax": 9_398},
                lambda _, v: (n := size_of(v, "samples")) is not None and n <= 9_398,
            )
        ],
        "bytesMin": [({"bytesMin": 10**9}, lambda _, v: (size_of(v, "bytes") or -1) >= 10**9)],
        "bytesMax": [
            (
                {"bytesMax": 10**9},
                lambda _, v: (n := size_of(v, "bytes")) is not None and n <= 10**9,
            )
        ],
    },
    "searchSchemas": {
        **SHARED,
        "field": [({"field": pattern}, holds) for pattern, holds in FIELDS.items()],
    },
    "searchLenses": {
        **SHARED,
        "sourceSchema": [],  # below: they need the AT-URI of a schema
        "targetSchema": [],
    },
}

CASES = [
    pytest.param(name, params, holds, id=f"{name} {json.dumps(params)}")
    for name, parameters in FILTERS.items()
    for cases in parameters.values()
    for params, holds in cases
]
NO_FILTERS = {"q", "sort", "limit", "cursor"}
NO_FILTERS_OF_DATASETS = {"facets", "facetSize", "highlight", "viewableAs"}


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_no_parameter_is_left_out_here(name: str) -> None:
    declared = lexicons().document(f"{NS}.{name}")["defs"]["main"]["parameters"]["properties"]
    others = NO_FILTERS | (NO_FILTERS_OF_DATASETS if name == "searchDatasets" else set())
    assert set(declared) == set(FILTERS[name]) | others


@pytest.mark.parametrize(("name", "params", "holds"), CASES)
def test_a_filter_gives_exactly_the_records_it_holds_of(
    api: Api,
    network: Network,
    name: str,
    params: Mapping[str, Any],
    holds: Callable[[Network, View], bool],
) -> None:
    views = network.views[name]
    expected = {uri for uri, view in views.items() if holds(network, view)}
    given = [view["uri"] for view in api.walk(name, **params)]
    assert len(given) == len(set(given))
    assert set(given) == expected
    assert api.ask(name, **params, limit=1)["hitsTotal"] == len(expected)


def test_most_filters_above_leave_something_and_take_something(network: Network) -> None:
    telling = 0
    for name, parameters in FILTERS.items():
        for _, holds in (case for cases in parameters.values() for case in cases):
            views = network.views[name].values()
            telling += 0 < sum(holds(network, view) for view in views) < len(views)
    assert telling >= len(CASES) * 3 // 4


def test_lenses_are_found_by_the_schemas_they_join(api: Api, network: Network) -> None:
    lenses = network.views["searchLenses"].values()
    for parameter, end in (("sourceSchema", "source"), ("targetSchema", "target")):
        for uri in {lens[end]["uri"] for lens in lenses}:
            found = {view["uri"] for view in api.walk("searchLenses", **{parameter: uri})}
            assert found == {lens["uri"] for lens in lenses if lens[end]["uri"] == uri}
    one = next(iter(lenses))
    both = {"sourceSchema": one["source"]["uri"], "targetSchema": one["target"]["uri"]}
    assert one["uri"] in {view["uri"] for view in api.walk("searchLenses", **both)}


def test_a_schema_is_asked_for_by_its_uri_too(api: Api, network: Network) -> None:
    for uri in list(network.views["searchSchemas"])[::9]:
        found = {view["uri"] for view in api.walk("searchDatasets", schema=uri)}
        datasets = network.views["searchDatasets"].values()
        assert found == {view["uri"] for view in datasets if view["schema"]["uri"] == uri}


def test_created_after_is_included_and_created_before_is_not(api: Api, network: Network) -> None:
    times = [network.created[uri] for uri in network.views["searchDatasets"]]
    us = next(us for us in sorted(times)[50:] if times.count(us) == 1)
    moment = format_micros(us)
    after = {v["uri"] for v in api.walk("searchDatasets", createdAfter=moment)}
    before = {v["uri"] for v in api.walk("searchDatasets", createdBefore=moment)}
    only = [uri for uri, when in network.created.items() if when == us and uri in after | before]
    assert len(only) == 1
    assert only[0] in after
    assert only[0] not in before
    assert after | before == set(network.views["searchDatasets"])
    [view] = api.walk("searchDatasets", createdAfter=moment, createdBefore=format_micros(us + 1))
    assert view["uri"] == only[0]


def test_a_dataset_that_says_no_size_is_neither_small_nor_large(api: Api) -> None:
    assert api.walk("searchDatasets", samplesMin=0) == api.walk(
        "searchDatasets", samplesMax=2**53 - 1
    )
    for view in api.walk("searchDatasets", samplesMin=0):
        assert "samples" in view["record"]["size"]


# --- lenses -----------------------------------------------------------------------------------


def test_viewable_as_finds_what_lenses_lead_to_and_says_through_which(
    api: Api, network: Network
) -> None:
    lenses = list(network.views["searchLenses"].values())
    deep = 0
    for target in {lens["target"]["uri"] for lens in lenses}:
        hops = hops_to(target, lenses)
        views = api.walk("searchDatasets", viewableAs=target)
        datasets = network.views["searchDatasets"].values()
        expected = {view["uri"] for view in datasets if view["schema"]["uri"] in hops}
        assert {view["uri"] for view in views} == expected
        for view in views:
            at = view["schema"]["uri"]
            assert len(view["lensPath"]) == hops[at]
            for uri in view["lensPath"]:
                lens = network.views["searchLenses"][uri]
                assert lens["source"]["uri"] == at
                at = lens["target"]["uri"]
            assert at == target
            deep += len(view["lensPath"]) > 1
            del view["lensPath"]
            assert view == network.views["searchDatasets"][view["uri"]]
    assert deep > 10


def hops_to(target: str, lenses: Sequence[View]) -> dict[str, int]:
    """How many lenses each schema is away from `target`."""
    hops, edge = {target: 0}, [target]
    while edge:
        sources = {one["source"]["uri"]: one for one in lenses if one["target"]["uri"] in edge}
        fresh = [uri for uri in sources if uri not in hops]
        hops |= dict.fromkeys(fresh, max(hops.values()) + 1)
        edge = fresh
    return hops


def test_without_viewable_as_no_lens_path_is_said(api: Api) -> None:
    assert not any("lensPath" in view for view in api.walk("searchDatasets", q="image"))
