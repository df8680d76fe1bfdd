"""Pages, sitemap and feeds: for people, search engines and readers, and safe for all of them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient

from atdata_api.app import create_app
from atdata_api.identity import ServiceIdentity
from atdata_api.server import AppView
from atdata_indexer.exports import Exports
from atdata_indexer.index.store import Store
from tests.asking import Api
from tests.small_index import BOB, DATASET, SCHEMA, SmallIndex, row

ATOM = "{http://www.w3.org/2005/Atom}"
MAP = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
LD = re.compile(r'<script type="application/ld\+json">(.*?)</script>', re.DOTALL)
EVIL = "</script><script>alert(1)</script>\"'&\u2028"


def page_of(uri: str) -> str:
    return f"/at/{uri.removeprefix('at://')}"


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, str]]:
    """The pages of an index that holds one dataset, by an author who means no good; and its URI."""
    small = SmallIndex(tmp_path_factory.mktemp("hostile"))
    record: dict[str, Any] = {
        "$type": DATASET,
        "name": f"Photos {EVIL}",
        "description": f"{EVIL} \x0b\x1f",
        "schemaRef": f"at://{BOB}/{SCHEMA}/3kmissingaaaa",
        "urls": ["javascript:alert(1)", "data:text/html,x", 'https://x.example/?a=1&b="<>'],
        "tags": [EVIL[:40]],
        "license": "javascript:alert(2)",
        "createdAt": "2026-01-02T03:04:05Z",
    }
    one = row(BOB, DATASET, "3kdatasetaaa2", json.dumps(record), schema_uri=record["schemaRef"])
    small.put([one])
    small.reader.refresh()
    app = create_app(small.reader, _Unasked(small.store), ServiceIdentity("https://index.example"))
    with TestClient(app) as client:
        yield client, one.uri
    small.close()


class _Unasked:
    """The indexer where nothing asks it."""

    def __init__(self, store: Store) -> None:
        self.head = lambda: store.head

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")


@pytest.mark.parametrize("kind", ["Datasets", "Schemas", "Lenses"])
def test_every_record_has_a_page_that_says_what_it_is(api: Api, kind: str) -> None:
    views = api.walk(f"list{kind}")
    assert len(views) > 20
    for view in views[:20]:
        answer = api.get(page_of(view["uri"]))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        text = answer.text
        assert view["uri"] in text
        assert view["author"]["did"] in text
        found = LD.findall(text)
        assert len(found) == (kind == "Datasets")
        for one in found:
            about = json.loads(one)
            assert (about["@context"], about["@type"]) == ("https://schema.org/", "Dataset")
            assert about["name"] == view["record"]["name"]
            assert about["identifier"] == [view["uri"], view["cid"]]
            assert about.get("keywords", []) == view["record"].get("tags", [])
        as_json = api.get(page_of(view["uri"]), params={"format": "json"}).json()
        assert as_json == view


def test_nothing_an_author_writes_is_more_than_text(hostile: tuple[TestClient, str]) -> None:
    client, uri = hostile
    text = client.get(page_of(uri)).text
    assert "<script>alert" not in text
    assert not re.search(r'(href|src)="(?!https?://)', text)
    assert "javascript:alert(1)" in text
    [found] = LD.findall(text)
    assert json.loads(found)["name"] == f"Photos {EVIL}"
    assert 'href="https://x.example/?a=1&amp;b=&#34;&lt;&gt;" rel="nofollow' in text
    for format in ("croissant", "json"):
        answer = client.get(page_of(uri), params={"format": format})
        assert answer.headers["content-type"] in {"application/ld+json", "application/json"}


def test_what_is_not_there_or_no_record_is_told_apart(api: Api) -> None:
    missing = api.get("/at/did:plc:nobody/app.bsky.atdata.dataset/3kaaaaaaaaaa2")
    assert (missing.status_code, missing.json()["error"]) == (404, "NotFound")
    other = api.get("/at/did:plc:nobody/app.bsky.feed.post/3kaaaaaaaaaa2")
    assert (other.status_code, other.json()["error"]) == (404, "NotFound")
    for bad in ("/at/nobody/app.bsky.atdata.dataset/3k", "/at/did:plc:x/no/3k"):
        answer = api.get(bad)
        assert (answer.status_code, answer.json()["error"]) == (400, "InvalidRequest")
    page = page_of(api.walk("listSchemas")[0]["uri"])
    assert api.get(page, params={"format": "xls"}).status_code == 400
    assert api.get(page, params={"format": "croissant"}).status_code == 404


@pytest.mark.parametrize(
    ("feed", "query", "params"),
    [
        ("datasets", "searchDatasets", {}),
        ("datasets", "searchDatasets", {"q": "speech", "limit": 10}),
        ("datasets", "searchDatasets", {"tags": "speech"}),
        ("schemas", "searchSchemas", {"q": "image"}),
        ("lenses", "searchLenses", {}),
    ],
)
def test_any_search_is_a_feed_of_its_newest(
    api: Api, feed: str, query: str, params: dict[str, Any]
) -> None:
    answer = api.get(f"/feeds/{feed}.atom", params=params)
    assert answer.headers["content-type"] == "application/atom+xml"
    root = ElementTree.fromstring(answer.content)  # noqa: S314 - our own
    views = api.ask(query, sort="newest", **params)[feed]
    entries = root.findall(f"{ATOM}entry")
    assert [one.findtext(f"{ATOM}id") for one in entries] == [view["uri"] for view in views] != []
    assert root.findtext(f"{ATOM}updated") == max(view["indexedAt"] for view in views)
    for entry, view in zip(entries, views, strict=True):
        assert entry.findtext(f"{ATOM}title") == view["record"]["name"]
        assert entry.findtext(f"{ATOM}author/{ATOM}name")
        link = entry.find(f"{ATOM}link")
        assert link is not None
        assert api.get(link.attrib["href"]).status_code == 200


def test_a_feed_keeps_to_the_rules_of_its_search(api: Api) -> None:
    for path in ("/feeds/datasets.atom?limit=0", "/feeds/lenses.atom?tags=a"):
        assert api.get(path).json()["error"] == "InvalidRequest"
    assert api.get("/feeds/records.atom").json()["error"] == "NotFound"


def test_a_feed_is_xml_whatever_it_says(hostile: tuple[TestClient, str]) -> None:
    client, uri = hostile
    root = ElementTree.fromstring(client.get("/feeds/datasets.atom").content)  # noqa: S314 - ours
    entry = root.find(f"{ATOM}entry")
    assert entry is not None
    assert entry.findtext(f"{ATOM}title") == f"Photos {EVIL}"
    link = entry.find(f"{ATOM}link")
    assert link is not None
    assert link.attrib["href"] == f"https://index.example{page_of(uri)}"


@pytest.mark.parametrize("tags", [5, [1, "pond"], {"a": 1}, None])
def test_a_feed_bears_members_that_no_lexicon_knows(tmp_path: Path, tags: Any) -> None:
    small = SmallIndex(tmp_path)
    said = {"$type": SCHEMA, "name": "Photo", "version": "1.0.0", "tags": tags}
    small.put([row(BOB, SCHEMA, "3kschemaaaaaa", json.dumps(said), name="Photo", version="1.0.0")])
    small.reader.refresh()
    app = create_app(small.reader, _Unasked(small.store), ServiceIdentity("https://index.example"))
    with TestClient(app) as client:
        answer = client.get("/feeds/schemas.atom")
    small.close()
    assert answer.status_code == 200
    terms = re.findall(r'category term="([^"]*)"', answer.text)
    assert terms == (["pond"] if isinstance(tags, list) else [])


def test_the_sitemap_leads_to_every_dataset(api: Api, recorded_appview: AppView) -> None:
    recorded_appview.indexer.export()
    root = ElementTree.fromstring(api.get("/sitemap.xml").content)  # noqa: S314 - our own
    parts = [one.text or "" for one in root.iter(f"{MAP}loc")]
    assert parts
    pages = set()
    for part in parts:
        urls = ElementTree.fromstring(api.get(part).content)  # noqa: S314 - our own
        pages |= {one.text for one in urls.iter(f"{MAP}loc")}
    uris = {view["uri"] for view in api.walk("listDatasets")}
    assert pages == {f"{recorded_appview.url}{page_of(uri)}" for uri in uris}
    assert api.get("/sitemap/999.xml").json()["error"] == "NotFound"
    assert api.get("/sitemap/x.xml").json()["error"] == "NotFound"


def test_without_an_export_the_sitemap_is_not_there_now(tmp_path: Path) -> None:
    small = SmallIndex(tmp_path)
    app = create_app(small.reader, _Unasked(small.store), exports=Exports(tmp_path))
    with TestClient(app) as client:
        assert client.get("/sitemap.xml").json()["error"] == "NotExported"
    small.close()
