"""Pages of any origin may read; what is known already is not sent again; crawlers are told."""

import gzip
import json
from collections.abc import Iterator

import httpx
import pytest

from atdata_api.server import AppView
from tests.asking import NS, Api, uris_of

SEARCH = f"/xrpc/{NS}.searchDatasets?q=image"
PATHS = (SEARCH, f"/xrpc/{NS}.listTags", "/xrpc/_health", "/openapi.json", "/robots.txt", "/")
PAGE = f"/at/{uris_of('dataset')[0].removeprefix('at://')}"
OTHERS = (
    PAGE,
    f"{PAGE}?format=json",
    f"{PAGE}?format=croissant",
    "/feeds/datasets.atom?q=image",
    "/sitemap.xml",
    "/sitemap/0.xml",
)


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    recorded_appview.indexer.export()  # what the sitemap is made from
    with Api(recorded_appview.url) as api:
        yield api


def raw(api: Api, path: str, method: str = "GET", **headers: str) -> tuple[httpx.Response, bytes]:
    """An answer and its body as it came over the wire."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with api.stream(method, path, headers={"Accept-Encoding": "identity"} | named) as response:
        return response, b"".join(response.iter_raw())


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "/xrpc/no.such.method"])
def test_any_page_may_read_any_answer(api: Api, path: str) -> None:
    response = api.get(path, headers={"Origin": "https://page.example"})
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-expose-headers"] == "*"
    assert "access-control-allow-credentials" not in response.headers


def test_a_browser_that_asks_first_is_let(api: Api) -> None:
    response = api.options(
        SEARCH,
        headers={
            "Origin": "https://page.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization, atproto-proxy",
        },
    )
    assert response.status_code == 204
    assert response.content == b""
    assert "GET" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == "*, Authorization"


@pytest.mark.parametrize("path", PATHS)
def test_what_the_client_has_is_not_sent_again(api: Api, path: str) -> None:
    first, body = raw(api, path)
    tag = first.headers["etag"]
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-cache"
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again, nothing = raw(api, path, If_None_Match=known)
        assert again.status_code == 304, known
        assert nothing == b""
        assert again.headers["etag"] == tag
        assert "content-type" not in again.headers
    for other in ('W/"other"', "", tag.strip('W/"')):
        again, same = raw(api, path, If_None_Match=other)
        assert again.status_code == 200, other
        assert same == body


def test_another_answer_has_another_tag(api: Api) -> None:
    assert len({raw(api, path)[0].headers["etag"] for path in PATHS}) == len(PATHS)


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("*", True),
        ("x-gzip", True),
        ("GZIP", True),
        ("identity", False),
        ("", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*;q=0", False),
        ("br", False),
    ],
)
def test_a_long_answer_is_compressed_for_who_takes_that(
    api: Api, accepted: str, compressed: bool
) -> None:
    plain, body = raw(api, SEARCH)
    response, sent = raw(api, SEARCH, Accept_Encoding=accepted)
    assert ("content-encoding" in response.headers) is compressed
    assert (gzip.decompress(sent) if compressed else sent) == body
    assert response.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert response.headers["etag"] == plain.headers["etag"]
    assert int(response.headers["content-length"]) == len(sent)
    if compressed:
        assert len(sent) < len(body) / 2


def test_a_short_answer_and_a_failure_are_sent_as_they_are(api: Api) -> None:
    for path, status in (("/xrpc/_health", 200), (f"{SEARCH}&limit=x", 400)):
        response, body = raw(api, path, Accept_Encoding="gzip")
        assert response.status_code == status
        assert "content-encoding" not in response.headers
        json.loads(body)
    assert "etag" not in raw(api, f"{SEARCH}&limit=x")[0].headers


@pytest.mark.parametrize("path", [*PATHS, *OTHERS])
def test_only_the_head_can_be_asked_for(api: Api, path: str) -> None:
    (head, nothing), (whole, body) = raw(api, path, method="HEAD"), raw(api, path)
    assert head.status_code == whole.status_code == 200
    assert {*head.headers} == {*whole.headers}
    for same in ("etag", "content-type", "content-length", "cache-control"):
        assert head.headers[same] == whole.headers[same]
    assert body
    assert nothing == b""


def test_long_lists_in_headers_are_not_walked_to_their_end(api: Api) -> None:
    plain, body = raw(api, SEARCH)
    for accepted, compressed in (("br," * 20_000 + "gzip", False), ("gzip" + ",br" * 20_000, True)):
        response, sent = raw(api, SEARCH, Accept_Encoding=accepted)
        assert response.status_code == 200
        assert ("content-encoding" in response.headers) is compressed
        assert (gzip.decompress(sent) if compressed else sent) == body
    known = '"other",' * 7_000 + plain.headers["etag"]
    assert raw(api, SEARCH, If_None_Match=known)[0].status_code == 304


def test_crawlers_are_told_to_leave_queries_alone(api: Api) -> None:
    response = api.get("/robots.txt")
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text == "User-agent: *\nDisallow: /xrpc/\n"
