"""What hangs together is told over HTTP: ways through lenses, use of schemas, back-links, likes."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from atdata_api.server import AppView
from atdata_schemas.versions import Version
from tests.asking import NS, TRUTH, Api

type View = dict[str, Any]

UNKNOWN = f"at://did:plc:abcdefghijklmnopqrstuvwx/{NS}.schema/3lhzqk2mfd22s"


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


@pytest.fixture(scope="module")
def datasets(api: Api) -> list[View]:
    return api.walk("listDatasets")


@pytest.fixture(scope="module")
def schemas(api: Api) -> list[View]:
    return api.walk("listSchemas")


@pytest.fixture(scope="module")
def lenses(api: Api) -> list[View]:
    return api.walk("listLenses")


# --- findLensPaths ----------------------------------------------------------------------------


def every_path(
    source: str, target: str, lenses: list[View], hops: int, been: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    """The ways from one schema to another, each as the URIs of its lenses."""
    if source == target:
        return [()]
    return [
        (lens["uri"], *rest)
        for lens in lenses
        if hops and lens["source"]["uri"] == source and lens["target"]["uri"] not in (*been, source)
        for rest in every_path(lens["target"]["uri"], target, lenses, hops - 1, (*been, source))
    ]


def test_every_path_is_found_shortest_first(api: Api, lenses: list[View]) -> None:
    by_uri = {lens["uri"]: lens for lens in lenses}
    ends = {lens[end]["uri"] for lens in lenses for end in ("source", "target")}
    lengths: Counter[int] = Counter()
    for source in ends:
        for target in ends:
            answer = api.ask("findLensPaths", source=source, target=target, limit=50)
            paths = [tuple(lens["uri"] for lens in path["lenses"]) for path in answer["paths"]]
            assert answer["cut"] is False
            assert sorted(paths) == sorted(every_path(source, target, lenses, 4))
            assert [len(path) for path in paths] == sorted(len(path) for path in paths)
            assert all(lens == by_uri[lens["uri"]] for p in answer["paths"] for lens in p["lenses"])
            lengths.update(map(len, paths))
    assert set(lengths) == {0, 1, 2, 3, 4}


def test_hops_and_paths_are_bounded_as_asked(api: Api, lenses: list[View]) -> None:
    ends = sorted({lens[end]["uri"] for lens in lenses for end in ("source", "target")})
    ways = {(a, b): len(every_path(a, b, lenses, 8)) for a in ends for b in ends}
    (source, target), most = max(ways.items(), key=lambda one: one[1])
    assert most > 1
    for hops in (1, 2, 8):
        answer = api.ask("findLensPaths", source=source, target=target, maxHops=hops, limit=50)
        assert len(answer["paths"]) == len(every_path(source, target, lenses, hops))
    one = api.ask("findLensPaths", source=source, target=target, maxHops=8, limit=1)
    assert len(one["paths"]) == 1


def test_a_schema_nobody_knows_has_no_paths_but_the_one_to_itself(api: Api) -> None:
    lens = api.ask("listLenses", limit=1)["lenses"][0]
    target = lens["target"]["uri"]
    assert api.ask("findLensPaths", source=UNKNOWN, target=target) == {"paths": [], "cut": False}
    alone = api.ask("findLensPaths", source=UNKNOWN, target=UNKNOWN)
    assert alone == {"paths": [{"lenses": []}], "cut": False}


# --- getSchemaUsage ---------------------------------------------------------------------------


def test_usage_counts_what_refers_to_a_schema(
    api: Api, datasets: list[View], schemas: list[View], lenses: list[View]
) -> None:
    totals: Counter[str] = Counter()
    for view in schemas:
        uri, record = view["uri"], view["record"]
        usage = api.ask("getSchemaUsage", uri=uri)
        link = usage["schema"]
        assert (link["uri"], link["status"], link["cid"]) == (uri, "indexed", view["cid"])
        assert (link["name"], link["version"]) == (record["name"], record["version"])
        assert usage["datasets"] == sum(one["schema"]["uri"] == uri for one in datasets)
        assert usage["lensesFrom"] == sum(one["source"]["uri"] == uri for one in lenses)
        assert usage["lensesTo"] == sum(one["target"]["uri"] == uri for one in lenses)
        newer = [v["record"]["version"] for v in usage["newerVersions"]]
        assert newer == sorted(
            (
                one["record"]["version"]
                for one in schemas
                if one["author"] == view["author"]
                and one["record"]["name"] == record["name"]
                and version_of(one) > version_of(view)
            ),
            key=lambda version: [int(part) for part in version.split(".")],
        )
        assert all(other["uri"] != uri for other in usage["identical"])
        for other in usage["identical"]:
            assert shape(other) == shape(view)
        assert len(usage["identical"]) == sum(shape(other) == shape(view) for other in schemas) - 1
        totals.update(newer=len(newer), identical=len(usage["identical"]))
    assert totals["newer"] > 10


def version_of(view: View) -> Version:
    return Version.parse(view["record"]["version"])


def shape(view: View) -> list[str]:
    fields = [{k: v for k, v in f.items() if k != "description"} for f in view["record"]["fields"]]
    return sorted(str(sorted((f | {"optional": f.get("optional", False)}).items())) for f in fields)


def test_a_schema_that_is_missing_but_used_says_so(api: Api, datasets: list[View]) -> None:
    uri = next(v["schema"]["uri"] for v in datasets if v["schema"]["status"] == "missing")
    usage = api.ask("getSchemaUsage", uri=uri)
    assert usage["schema"] == {"uri": uri, "status": "missing"}
    assert usage["datasets"] == sum(view["schema"]["uri"] == uri for view in datasets)
    assert usage["newerVersions"] == usage["identical"] == []


def test_what_is_unknown_or_no_schema_has_no_usage(api: Api, datasets: list[View]) -> None:
    for uri in (UNKNOWN, datasets[0]["uri"]):
        response = api.query("getSchemaUsage", uri=uri)
        assert response.status_code == 404
        assert response.json()["error"] == "NotFound"
        assert uri in response.json()["message"]


# --- getBacklinks -----------------------------------------------------------------------------


def backlinks(api: Api, **params: Any) -> list[View]:
    return [one for page in api.pages("getBacklinks", **params) for one in page["backlinks"]]


def test_every_link_to_a_record_is_found_with_its_place(
    api: Api, datasets: list[View], schemas: list[View], lenses: list[View]
) -> None:
    expected: dict[str, dict[str, set[str]]] = {}

    def note(subject: str, view: View, place: str) -> None:
        source = f"{view['uri'].split('/')[3]}:{place}"
        expected.setdefault(subject, {}).setdefault(view["uri"], set()).add(source)

    for view in datasets:
        note(view["record"]["schemaRef"], view, "schemaRef")
    for view in lenses:
        note(view["record"]["sourceSchema"], view, "sourceSchema")
        note(view["record"]["targetSchema"], view, "targetSchema")
    for view in schemas:
        for field in view["record"]["fields"]:
            if field["type"]["kind"] == "nested":
                note(field["type"]["schemaRef"], view, "fields[].type.schemaRef")
    views = {view["uri"]: view for view in [*datasets, *schemas, *lenses]}
    for subject, linking in expected.items():
        found = backlinks(api, subject=subject, limit=2)
        assert len(found) == len(linking)
        assert {one["uri"]: set(one["sources"]) for one in found} == linking
        for one in found:
            view = views[one["uri"]]
            for name in ("cid", "author", "indexedAt"):
                assert one[name] == view[name]
        totals = {page["total"] for page in api.pages("getBacklinks", subject=subject, limit=3)}
        assert totals == {len(linking)}


def test_backlinks_are_narrowed_down_to_one_place(api: Api, lenses: list[View]) -> None:
    subject = lenses[0]["target"]["uri"]
    source = f"{NS}.lens:targetSchema"
    found = backlinks(api, subject=subject, source=source)
    assert {one["uri"] for one in found} == {
        lens["uri"] for lens in lenses if lens["target"]["uri"] == subject
    }
    assert all(source in one["sources"] for one in found)
    assert backlinks(api, subject=subject, source=f"{NS}.lens:nowhere") == []


def test_backlinks_come_newest_first(api: Api, datasets: list[View]) -> None:
    order = [view["uri"] for view in datasets]  # which is newest first
    by_schema = Counter(view["schema"]["uri"] for view in datasets)
    subject = by_schema.most_common(1)[0][0]
    source = f"{NS}.dataset:schemaRef"
    found = [one["uri"] for one in backlinks(api, subject=subject, source=source, limit=3)]
    assert found == [uri for uri in order if uri in found]
    assert len(found) > 5


def test_nothing_links_to_an_unknown_record(api: Api) -> None:
    assert api.ask("getBacklinks", subject=UNKNOWN) == {"total": 0, "backlinks": []}


def test_records_of_hidden_accounts_link_to_nothing(api: Api, schemas: list[View]) -> None:
    hidden = {uri for account in TRUTH["hidden"].values() for uri in account["records"]}
    for view in schemas:
        assert not hidden & {one["uri"] for one in backlinks(api, subject=view["uri"])}


# --- getSimilarDatasets, suggest, listTags -------------------------------------------------------


def test_similar_datasets_are_others_that_have_something_in_common(
    api: Api, datasets: list[View]
) -> None:
    shared = 0
    for view in datasets[::12]:
        similar = api.ask("getSimilarDatasets", uri=view["uri"], limit=5)["datasets"]
        assert len(similar) <= 5
        assert view["uri"] not in {one["uri"] for one in similar}
        tags = {tag.casefold() for tag in view["record"].get("tags", ())}
        shared += any(
            tags & {tag.casefold() for tag in one["record"].get("tags", ())} for one in similar
        )
    assert shared > len(datasets[::12]) // 2
    assert len(api.ask("getSimilarDatasets", uri=datasets[0]["uri"])["datasets"]) <= 10


def test_nothing_is_similar_to_what_is_not_indexed(api: Api, schemas: list[View]) -> None:
    for uri in (UNKNOWN, schemas[0]["uri"]):
        assert api.query("getSimilarDatasets", uri=uri).status_code == 404


def test_suggestions_lead_somewhere(api: Api, datasets: list[View]) -> None:
    kinds: Counter[str] = Counter()
    for q in ("spe", "sentinel", "kestrel", "whale"):
        answer = api.ask("suggest", q=q, limit=20)["suggestions"]
        assert answer
        for one in answer:
            kinds[one["kind"]] += 1
            words = (one["text"] + " " + one["value"]).casefold()
            assert q in words
            match one["kind"]:
                case "tag":
                    assert one["count"] == len(api.walk("searchDatasets", tags=one["value"]))
                case "author":
                    assert api.walk("searchDatasets", author=one["value"])
                case "schema":
                    assert api.ask("getSchema", uri=one["value"])["schema"]["uri"] == one["value"]
                case _:
                    assert api.ask("getDataset", uri=one["value"])["dataset"]["uri"] == one["value"]
    assert set(kinds) == {"dataset", "tag", "author", "schema"}
    assert len(api.ask("suggest", q="s")["suggestions"]) == 8
    assert len(api.ask("suggest", q="s", limit=2)["suggestions"]) == 2


def test_tags_are_listed_by_their_beginning(api: Api, datasets: list[View]) -> None:
    carried = Counter(
        tag.casefold() for view in datasets for tag in {*view["record"].get("tags", ())}
    )
    for prefix in ("s", "SPE", "time series", "zzz"):
        listed = api.ask("listTags", prefix=prefix, limit=100)["tags"]
        assert {one["tag"] for one in listed} == {
            tag for tag in carried if tag.startswith(prefix.casefold())
        }
        assert all(one["count"] == carried[one["tag"]] for one in listed)
