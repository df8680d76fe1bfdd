"""Every failure is `{"error", "message"}` with the right status; nothing sent gives a 500."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_api.app import create_app
from atdata_api.server import AppView
from atdata_indexer.index.reader import Reader
from atdata_schemas.lexicon import lexicons
from tests.asking import NS, TRUTH, Api, uris_of

DATASET = uris_of("dataset")[0]
DID = DATASET.split("/")[2]
SEARCHES = ("searchDatasets", "searchSchemas", "searchLenses")
UNKNOWN = "at://did:plc:abcdefghijklmnopqrstuvwx/app.bsky.atdata.dataset/3lhzqk2mfd22s"


@pytest.fixture(scope="module")
def api(recorded_appview: AppView) -> Iterator[Api]:
    with Api(recorded_appview.url) as api:
        yield api


@pytest.fixture(scope="module")
def url(recorded_appview: AppView) -> str:
    return recorded_appview.url


def failure(response: httpx.Response, status: int, error: str) -> str:
    """The message of a failure, which must be of this status and name and of the one shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"error", "message"}
    assert body["error"] == error
    assert isinstance(body["message"], str)
    assert body["message"]
    if status == 503:
        assert int(response.headers["retry-after"]) > 0
    return str(body["message"])


# --- parameters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "query", "parameter"),
    [
        ("searchDatasets", "colour=red", "colour"),
        ("searchDatasets", "Q=whale", "Q"),
        ("searchDatasets", "tags[]=speech", "tags[]"),
        ("describeService", "limit=5", "limit"),
        ("listTags", "cursor=x", "cursor"),
        ("listLenses", "q=crop", "q"),
        ("searchDatasets", "q=one&q=two", "q"),
        ("searchDatasets", "limit=1&limit=1", "limit"),
        ("getDataset", f"uri={DATASET}&uri={DATASET}", "uri"),
        ("searchDatasets", "limit=", "limit"),
        ("searchDatasets", "limit=0", "limit"),
        ("searchDatasets", "limit=-1", "limit"),
        ("searchDatasets", "limit=101", "limit"),
        ("searchDatasets", "limit=1.5", "limit"),
        ("searchDatasets", "limit=1e1", "limit"),
        ("searchDatasets", "limit=+5", "limit"),
        ("searchDatasets", "limit=%2B5", "limit"),
        ("searchDatasets", "limit=0x10", "limit"),
        ("searchDatasets", "limit=1_0", "limit"),
        ("searchDatasets", "limit=%D9%A5", "limit"),  # an Arabic five
        ("searchDatasets", "limit=5%0A", "limit"),
        ("searchDatasets", "limit=" + "9" * 5000, "limit"),
        ("searchDatasets", "sort=random", "sort"),
        ("searchDatasets", "sort=", "sort"),
        ("searchDatasets", "sort=Newest", "sort"),
        ("searchDatasets", "q=" + "w" * 513, "q"),
        ("searchDatasets", "q=" + "%C3%A9" * 257, "q"),
        ("searchDatasets", "&".join(["tags=a"] * 21), "tags"),
        ("searchDatasets", "tags=fine&tags=" + "t" * 51, "tags[1]"),
        ("searchDatasets", "cursor=" + "c" * 1001, "cursor"),
        ("searchDatasets", "schema=", "schema"),
        ("searchDatasets", "schema=LabeledImage@1.x.y", "schema"),
        ("searchDatasets", "schema=LabeledImage@", "schema"),
        ("searchDatasets", "schema=LabeledImage@>=1.2 <<2", "schema"),
        ("searchDatasets", "schema=" + "n" * 513, "schema"),
        ("searchDatasets", "viewableAs=LabeledImage", "viewableAs"),
        ("searchDatasets", "tagMatch=some", "tagMatch"),
        ("searchDatasets", "license=MIT&license=" + "l" * 101, "license[1]"),
        ("searchDatasets", "&".join(["license=MIT"] * 11), "license"),
        ("searchDatasets", "field=a:b:c:d:e", "field"),
        ("searchDatasets", "field=image:picture", "field"),
        ("searchDatasets", "field=image:str:uint8", "field"),
        ("searchDatasets", "field=image:ndarray:uint8:three", "field"),
        ("searchDatasets", "field=:::", "field"),
        ("searchDatasets", "field=", "field"),
        ("searchDatasets", "&".join(["field=image"] * 11), "field"),
        ("searchDatasets", "field=" + "f" * 151, "field[0]"),
        ("searchSchemas", "field=a:b:c:d:e", "field"),
        ("searchDatasets", "createdAfter=yesterday", "createdAfter"),
        ("searchDatasets", "createdAfter=2026-01-01", "createdAfter"),
        ("searchDatasets", "createdBefore=2026-13-01T00:00:00Z", "createdBefore"),
        (
            "searchDatasets",
            "createdAfter=2026-01-01T00:00:00Z&createdBefore=2026-01-01T00:00:00Z",
            "createdAfter",
        ),
        ("searchDatasets", "samplesMin=-1", "samplesMin"),
        ("searchDatasets", "samplesMin=5&samplesMax=4", "samplesMin"),
        ("searchDatasets", "bytesMin=5&bytesMax=4", "bytesMin"),
        ("searchDatasets", "bytesMax=1e9", "bytesMax"),
        ("searchDatasets", "namespace=atdata", "namespace"),
        ("searchDatasets", "facets=colour", "facets[0]"),
        ("searchDatasets", "&".join(["facets=tags"] * 6), "facets"),
        ("searchDatasets", "facetSize=0", "facetSize"),
        ("searchDatasets", "facetSize=101", "facetSize"),
        ("searchDatasets", "highlight=yes", "highlight"),
        ("searchSchemas", "sort=samples", "sort"),
        ("searchLenses", "sourceSchema=LabeledImage", "sourceSchema"),
        ("searchLenses", "targetSchema=at://", "targetSchema"),
        ("searchLenses", "tags=speech", "tags"),
        ("findLensPaths", f"source={DATASET}", "target"),
        ("findLensPaths", f"source={DATASET}&target=x", "target"),
        ("findLensPaths", f"source={DATASET}&target={DATASET}&maxHops=9", "maxHops"),
        ("findLensPaths", f"source={DATASET}&target={DATASET}&maxHops=0", "maxHops"),
        ("findLensPaths", f"source={DATASET}&target={DATASET}&limit=51", "limit"),
        ("getSchemaUsage", "uri=LabeledImage", "uri"),
        ("getBacklinks", "", "subject"),
        ("getBacklinks", f"subject={DATASET}&source=" + "s" * 501, "source"),
        ("getSimilarDatasets", f"uri={DATASET}&limit=51", "limit"),
        ("suggest", "", "q"),
        ("suggest", "q=" + "q" * 101, "q"),
        ("suggest", "q=a&limit=21", "limit"),
        ("listTags", "prefix=" + "p" * 51, "prefix"),
        ("getDataset", "", "uri"),
        ("getDatasets", "", "uris"),
        ("getDatasets", f"uri={DATASET}", "uri"),
        ("getDatasets", "&".join([f"uris={DATASET}"] * 26), "uris"),
        ("getDatasets", f"uris={DATASET}&uris=nothing", "uris[1]"),
        ("getRecordStatus", f"uris={DATASET}", "uris"),
    ],
)
def test_a_bad_parameter_is_refused_by_its_name(
    api: Api, name: str, query: str, parameter: str
) -> None:
    message = failure(api.get(f"/xrpc/{NS}.{name}?{query}"), 400, "InvalidRequest")
    assert message.startswith(f"{parameter}:")


INVALID_ACCOUNTS = (
    "", " ", "did", "did:", "did:plc", "did:plc:", "did::abc", "DID:plc:abc", "did:PLC:abc",
    "did:plc:abc:", "did:plc:abc%", "did:plc:a b", "did:plc:abc/def", "did:plc:abc?x=1",
    "did:plc:abc#key", "did:web:exämple.com", "did:m1:abc", "did:plc:abc\n", "localhost",
    "did:plc:" + "a" * 2048, ".test", "alice.",
    "alice..test", "-alice.test", "alice-.test", "al_ice.test",
    "@alice.test", "alice.test/", "alice.1test", "алиса.test", "alice.test\x00",
    "a" * 64 + ".test", "a." * 130 + "test", "alice test.com", "https://alice.test",
)  # fmt: skip
INVALID_RECORDS = (
    "", "at:", "at://", "at:///", "AT://did:plc:abc", "http://did:plc:abc", "at://localhost",
    "did:plc:abc", f"{DATASET}/", f"{DATASET}/more", f"{DATASET}#main", f"{DATASET}?x=1",
    f" {DATASET}", f"{DATASET} ", f"{DATASET}\n", f"{DATASET}\x00", "at://did:plc:abc/",
    "at://did:plc:abc/dataset", "at://did:plc:abc/app.bsky.atdata.1dataset/x",
    "at://did:plc:abc/app..bsky/x", "at://did:plc:abc/app.bsky.data-set/x",
    "at://did:plc:abc/app.bsky.atdata.dataset/", "at://did:plc:abc/app.bsky.atdata.dataset/.",
    "at://did:plc:abc/app.bsky.atdata.dataset/..", "at://did:plc:abc/app.bsky.atdata.dataset/a b",
    "at://did:plc:abc/app.bsky.atdata.dataset/a@b", "at://did:plc:abc/app.bsky.atdata.dataset/雪",
    "at://did:plc:abc/app.bsky.atdata.dataset/" + "k" * 513, "at://" + "a" * 9000,
    "at://did:plc:abc/" + "a." * 160 + "dataset/x", "at://did:plc:/app.bsky.atdata.dataset/x",
    "at://@alice.test/app.bsky.atdata.dataset/x", "javascript:alert(1)", "../../etc/passwd",
)  # fmt: skip


@pytest.mark.parametrize("account", INVALID_ACCOUNTS)
def test_what_is_no_account_is_refused(api: Api, account: str) -> None:
    for name in (*SEARCHES, "listDatasets", "listSchemas", "listLenses"):
        response = api.query(name, author=account)
        assert failure(response, 400, "InvalidRequest").startswith("author:")


@pytest.mark.parametrize("uri", INVALID_RECORDS)
def test_what_is_no_record_is_refused(api: Api, uri: str) -> None:
    for name in ("getDataset", "getSchemaUsage", "getSimilarDatasets", "getRecordStatus"):
        assert failure(api.query(name, uri=uri), 400, "InvalidRequest").startswith("uri:")
    response = api.query("getDatasets", uris=[DATASET, uri])
    assert failure(response, 400, "InvalidRequest").startswith("uris[1]:")
    response = api.query("searchDatasets", viewableAs=uri)
    assert failure(response, 400, "InvalidRequest").startswith("viewableAs:")


@pytest.mark.parametrize("token", ["", "x", "!", "AAAA", "WzEs", "bnVsbA", "W10", "é", "W" * 1000])
def test_what_is_no_cursor_is_refused(api: Api, token: str) -> None:
    for name in (*SEARCHES, "listDatasets", "listSchemas", "listLenses"):
        failure(api.query(name, cursor=token), 400, "InvalidCursor")
    failure(api.query("getBacklinks", subject=DATASET, cursor=token), 400, "InvalidCursor")


# --- paths and methods ------------------------------------------------------------------------


def test_a_record_that_is_not_in_the_index_is_not_found(api: Api) -> None:
    invalid = uris_of("dataset", valid=False)[0]
    hidden = next(uri for one in TRUTH["hidden"].values() for uri in one["records"])
    handle = DATASET.replace(DID, TRUTH["accounts"][DID]["handle"])
    for uri in (UNKNOWN, invalid, hidden, handle, f"at://{DID}", uris_of("schema")[0]):
        assert uri in failure(api.query("getDataset", uri=uri), 404, "NotFound")
    failure(api.query("getSchema", uri=DATASET), 404, "NotFound")
    failure(api.query("getLens", uri=DATASET), 404, "NotFound")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/xrpc",
        "/docs",
        "/redoc",
        "/..%2fetc/passwd",
        "/etc//passwd",
        "/%00",
        "/%ED%A0%80",
        "/%FF",
    ],
)
def test_an_unknown_path_is_not_found(api: Api, path: str) -> None:
    failure(api.get(path), 404, "NotFound")


@pytest.mark.parametrize(
    "path",
    [
        "app.bsky.atdata.searchEverything",
        "com.atproto.server.createSession",
        "app.bsky.atdata.searchdatasets",
        "app.bsky.atdata.searchDatasets/",
        "app.bsky.atdata.searchDatasets/more",
        "app.bsky.atdata.searchDatasets%00",
        "_health/",
        "",
        "%ED%A0%80",
        "%FF%FE",
        "x" * 5000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_method_is_not_implemented(api: Api, method: str, path: str) -> None:
    failure(api.request(method, f"/xrpc/{path}"), 501, "MethodNotImplemented")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_a_query_is_only_got(api: Api, method: str) -> None:
    for path in (f"/xrpc/{NS}.searchDatasets", "/xrpc/_health", "/openapi.json", "/"):
        response = api.request(method, path)
        failure(response, 405, "MethodNotAllowed")
        assert "GET" in response.headers["allow"]


async def test_without_an_index_every_search_is_unavailable(
    recorded_appview: AppView, tmp_path: Path
) -> None:
    given = dict.fromkeys(("uri", "uris", "subject", "source", "target"), DATASET) | {"q": "a"}
    given |= dict.fromkeys(("handle", "name", "schemaId"), "a.test")
    given |= {"repo": DATASET.split("/")[2], "collection": f"{NS}.dataset", "rkey": "x"}
    async with _reading(tmp_path, recorded_appview) as client:
        failure(await client.get("/xrpc/_health"), 503, "IndexUnavailable")
        for nsid in lexicons().queries():
            declared = lexicons().document(nsid)["defs"]["main"]["parameters"]
            params = {name: given[name] for name in declared.get("required", ())}
            response = await client.get(f"/xrpc/{nsid}", params=params)
            if nsid == f"{NS}.getRecordStatus":  # needs no index, and says why there is none
                assert response.json()["status"] == "indexed"
            else:
                failure(response, 503, "IndexUnavailable")


@pytest.mark.parametrize("current", [b"\xff\xfe", b"../..", b"v1-gone", b"\0", b"x" * 5000])
async def test_an_index_that_cannot_be_read_is_unavailable_too(
    recorded_appview: AppView, tmp_path: Path, current: bytes
) -> None:
    (tmp_path / "CURRENT").write_bytes(current)
    async with _reading(tmp_path, recorded_appview) as client:
        failure(await client.get("/xrpc/_health"), 503, "IndexUnavailable")
        failure(await client.get(f"/xrpc/{NS}.listTags"), 503, "IndexUnavailable")


# --- bytes that mean harm ---------------------------------------------------------------------

HOSTILE = (
    "%00", "a%00b", "%ED%A0%80", "%ED%B0%80%ED%A0%80", "%FF%FE", "%C0%80", "%F4%90%80%80", "%",
    "%2", "%zz", "%u0041", "%E2%80%AE", "%F0%9F%90%B3", "%0D%0AX-Injected:%201", "%7F", "+", ";",
    "'%20OR%201=1;--", "%22%7D%7D", "${jndi:ldap://x}", "{{7*7}}", "..%2F..%2F", "%EF%BB%BF",
    "(" * 512, "%22" * 170, "\\" * 512, "kind:sentinel", "*:*", "-a", "a~2", "a^999",
    "[a%20TO%20z]",
)  # fmt: skip


@pytest.mark.parametrize("nsid", lexicons().queries())
def test_no_bytes_in_a_parameter_break_anything(api: Api, nsid: str) -> None:
    declared = lexicons().document(nsid)["defs"]["main"]["parameters"]["properties"]
    for text in HOSTILE:
        for query in (*(f"{name}={text}" for name in declared), f"{text}=1", text):
            response = api.get(f"/xrpc/{nsid}?{query}")
            _sound(response.status_code, response.content)
            assert "x-injected" not in response.headers


EVERY_PARAMETER = {
    name: None
    for nsid in lexicons().queries()
    for name in lexicons().document(nsid)["defs"]["main"]["parameters"]["properties"]
}


@settings(deadline=None, max_examples=300)
@given(
    nsid=st.sampled_from(lexicons().queries()),
    pairs=st.lists(
        st.tuples(
            st.sampled_from([*EVERY_PARAMETER]),
            st.text(max_size=80) | st.binary(max_size=20) | st.sampled_from([DATASET, DID, "7"]),
        ),
        max_size=4,
    ),
)
def test_no_query_string_breaks_anything(
    url: str, nsid: str, pairs: list[tuple[str, str | bytes]]
) -> None:
    query = "&".join(f"{name}={quote(_bytes(value))}" for name, value in pairs)
    _sound(*_exchange(url, _get(f"/xrpc/{nsid}?{query}")))


@pytest.mark.parametrize("filler", ["q=" + "a" * 100_000, "&" * 100_000, "tags=a&" * 15_000])
def test_a_query_string_of_a_hundred_kilobytes_is_refused(url: str, filler: str) -> None:
    status, body = _exchange(url, _get(f"/xrpc/{NS}.searchDatasets?{filler}"))
    assert status == 400
    assert json.loads(body)["error"] == "InvalidRequest"


@pytest.mark.parametrize(
    "header",
    [
        b"X-Long: " + b"a" * 4_000_000 + b"\r\n",
        b"".join(b"X-%d: bomb\r\n" % number for number in range(250_000)),
        b"Cookie: a=b\r\n" * 300_000,
        b"Transfer-Encoding: chunked\r\n\r\n5;" + b"x" * 4_000_000,  # a header by another name
    ],
)
def test_a_header_bomb_is_refused_before_it_is_all_there(url: str, header: bytes) -> None:
    request = f"GET /xrpc/{NS}.describeService HTTP/1.1\r\nHost: x\r\n".encode() + header
    request += b"a" * 10_000_000  # and it never ends, so that only the server can end it
    with _connection(url) as connection, pytest.raises(ConnectionError):
        connection.sendall(request)


@pytest.mark.parametrize(
    "request_line",
    [
        b"garbage",
        b"GET",
        b"BREW / HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET /?\xff HTTP/1.1",
        b"GET /\0 HTTP/1.1",
    ],
)
def test_what_is_not_http_is_refused(url: str, request_line: bytes) -> None:
    status, body = _exchange(url, request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status == 400
    assert json.loads(body)["error"] == "InvalidRequest"


def test_a_body_that_nobody_asked_for_is_let_by(api: Api) -> None:
    response = api.request("GET", f"/xrpc/{NS}.listTags", content=b"x" * 500_000)
    assert response.status_code == 200


def test_the_service_still_answers_after_all_this(api: Api) -> None:
    assert api.ask("searchDatasets", q="whale")["hitsTotal"] > 0
    assert api.get("/xrpc/_health").status_code == 200


def _reading(folder: Path, view: AppView) -> httpx.AsyncClient:
    """A client of an API that reads the index in `folder`."""
    transport = httpx.ASGITransport(create_app(Reader(folder), view.indexer))
    return httpx.AsyncClient(transport=transport, base_url="http://appview.test")


def _sound(status: int, body: bytes) -> None:
    """An answer, or a failure that is the client's, in the one shape."""
    answer = json.loads(body)
    assert status in {200, 400, 404}, body
    if status != 200:
        assert answer.keys() == {"error", "message"}
        assert re.fullmatch(r"([A-Z][a-z]+)+", answer["error"])


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


def _get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


def _connection(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), timeout=60)


def _exchange(url: str, request: bytes) -> tuple[int, bytes]:
    """Send these very bytes; the status and body of what comes back."""
    with _connection(url) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body
