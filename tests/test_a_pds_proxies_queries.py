"""The service has a DID, and a real PDS passes an author's queries on to it (service proxying)."""

from collections.abc import Iterator

import httpx
import pytest

from atdata_api.identity import ServiceIdentity
from atdata_api.server import AppView
from tests.asking import NS, Api
from tests.fronts import another_front
from tests.real_pds import PATIENCE_S, RealPds

PREFIX = "org.example.search"


@pytest.fixture(scope="module")
def url(recorded_appview: AppView) -> Iterator[str]:
    named = {"public_url": "http://localhost", "query_nsid": PREFIX}
    with another_front(recorded_appview, **named) as url:
        yield url


@pytest.fixture(scope="module")
def did(url: str) -> str:
    return f"did:web:localhost%3A{url.rpartition(':')[2]}"


def test_its_document_says_where_it_is(url: str, did: str) -> None:
    response = httpx.get(f"{url}/.well-known/did.json")
    assert response.status_code == 200
    document = response.json()
    assert document["id"] == did
    assert document["service"] == [
        {
            "id": "#atdata_appview",
            "type": "AtdataAppView",
            "serviceEndpoint": f"http://localhost:{url.rpartition(':')[2]}",
        }
    ]


def test_a_service_without_a_public_name_has_no_document(recorded_appview: AppView) -> None:
    response = httpx.get(f"{recorded_appview.url}/.well-known/did.json")
    assert response.status_code == 404
    assert response.json()["error"] == "NotFound"


@pytest.mark.parametrize(
    ("url", "did"),
    [
        ("https://index.example.com", "did:web:index.example.com"),
        ("http://localhost:8900", "did:web:localhost%3A8900"),
        (None, None),
    ],
)
def test_its_did_is_its_host(url: str | None, did: str | None) -> None:
    assert ServiceIdentity(url).did == did


@pytest.mark.parametrize("prefix", [NS, PREFIX])
@pytest.mark.parametrize("signed_in", [True, False])
def test_the_pds_gives_our_answer(
    pds: RealPds, url: str, did: str, prefix: str, signed_in: bool
) -> None:
    headers = {"atproto-proxy": f"{did}#atdata_appview"}
    if signed_in:
        headers["Authorization"] = f"Bearer {pds.create_account().access_jwt}"
    path, params = f"/xrpc/{prefix}.searchDatasets", {"q": "image", "limit": "3"}
    ours = httpx.get(url + path, params=params)
    proxied = httpx.get(pds.url + path, params=params, headers=headers, timeout=PATIENCE_S)
    if not signed_in:
        assert proxied.status_code == 401, "the PDS speaks for its own accounts only"
        return
    assert proxied.status_code == 200, proxied.text
    assert proxied.json() == ours.json()
    assert len(ours.json()["datasets"]) == 3


def test_our_failures_come_through_too(pds: RealPds, url: str, did: str) -> None:
    headers = {
        "atproto-proxy": f"{did}#atdata_appview",
        "Authorization": f"Bearer {pds.create_account().access_jwt}",
    }
    refused = httpx.get(
        f"{pds.url}/xrpc/{NS}.searchDatasets?limit=0", headers=headers, timeout=PATIENCE_S
    )
    assert refused.status_code == 400
    assert refused.json()["error"] == "InvalidRequest"
    assert refused.json()["message"].startswith("limit:")


def test_crawlers_are_told_where_the_pages_are_listed(url: str) -> None:
    lines = httpx.get(f"{url}/robots.txt").text.splitlines()
    assert lines[-1] == f"Sitemap: http://localhost:{url.rpartition(':')[2]}/sitemap.xml"


# --- the names of queries -----------------------------------------------------------------------


def test_queries_go_by_the_operators_names_and_by_their_own(url: str) -> None:
    with Api(url) as api:
        ours = api.get(f"/xrpc/{PREFIX}.listTags")
        assert ours.status_code == 200
        assert ours.json() == api.ask("listTags")
        described = api.get("/openapi.json").json()
        assert f"/xrpc/{PREFIX}.listTags" in described["paths"]
        assert f"/xrpc/{NS}.listTags" not in described["paths"]
        assert described["servers"] == [{"url": f"http://localhost:{api.base_url.port}"}]


def test_no_other_name_is_answered(recorded_appview: AppView) -> None:
    response = httpx.get(f"{recorded_appview.url}/xrpc/{PREFIX}.listTags")
    assert response.status_code == 501
