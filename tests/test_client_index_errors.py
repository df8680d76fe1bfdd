"""A query that fails says precisely how, and is tried again only where that can help."""

from email.utils import format_datetime

import pytest

from atdata_client import (
    IndexClient,
    IndexClientError,
    IndexUnavailable,
    InvalidRequest,
    NotFound,
    RateLimited,
    UnexpectedResponse,
)
from atdata_client._net.http import retry_after
from atdata_client._net.xrpc import _wait
from atdata_client.errors import Failure
from tests.canned_index import Canned, canned_index

URI = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.atdata.dataset/3aaaaaaaaaaaa"
TAGS = Canned({"tags": []})


def refusal(status: int, error: str, message: str = "because", **headers: str) -> Canned:
    return Canned({"error": error, "message": message}, status, headers)


@pytest.mark.parametrize(
    ("answer", "kind", "error"),
    [
        (refusal(400, "InvalidRequest"), InvalidRequest, "InvalidRequest"),
        (refusal(400, "InvalidCursor"), InvalidRequest, "InvalidCursor"),
        (refusal(404, "NotFound"), NotFound, "NotFound"),
        (refusal(400, "NotFound"), NotFound, "NotFound"),
        (refusal(404, "MethodNotImplemented"), InvalidRequest, "MethodNotImplemented"),
        (refusal(500, "InternalServerError"), IndexUnavailable, "InternalServerError"),
        (Canned(b"<h1>Not Found</h1>", 404), UnexpectedResponse, "UnexpectedResponse"),
        (Canned(b"<h1>Welcome</h1>"), UnexpectedResponse, "UnexpectedResponse"),
        (Canned([1, 2]), UnexpectedResponse, "UnexpectedResponse"),
        (Canned(b"[" * 100_000), UnexpectedResponse, "UnexpectedResponse"),
        (Canned(b"", 302, {"Location": "/"}), UnexpectedResponse, "UnexpectedResponse"),
        (Canned(b"<h1>Oops</h1>", 500), IndexUnavailable, "UnexpectedResponse"),
    ],
)
def test_a_refusal_is_its_own_error_and_not_tried_again(
    answer: Canned, kind: type[IndexClientError], error: str
) -> None:
    with canned_index(answer) as canned, IndexClient(canned.url) as index:
        with pytest.raises(kind) as caught:
            index.get_dataset(URI)
        assert type(caught.value) is kind
        assert (caught.value.error, caught.value.status) == (error, answer.status)
        assert caught.value.service == canned.url
        assert canned.url in str(caught.value)
        assert len(canned.asked) == 1


def test_the_message_of_the_index_is_kept() -> None:
    answer = refusal(400, "InvalidRequest", "limit: greater than 100")
    with canned_index(answer) as canned, IndexClient(canned.url) as index:
        with pytest.raises(InvalidRequest, match="limit: greater than 100") as caught:
            index.list_tags(limit=101)
        assert caught.value.message == "limit: greater than 100"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_passes_is_tried_again(status: int) -> None:
    busy = refusal(status, "Busy", **{"Retry-After": "0"})
    with canned_index(busy, busy, TAGS) as canned, IndexClient(canned.url) as index:
        assert index.list_tags() == ()
        assert len(canned.asked) == 3


def test_trying_again_ends() -> None:
    busy = refusal(503, "NotReady", "starting", **{"Retry-After": "0"})
    with canned_index(busy) as canned, IndexClient(canned.url, attempts=4) as index:
        with pytest.raises(IndexUnavailable, match="NotReady: starting"):
            index.list_tags()
        assert len(canned.asked) == 4


def test_a_long_wait_is_left_to_the_caller() -> None:
    busy = refusal(429, "RateLimitExceeded", **{"Retry-After": "3600"})
    with canned_index(busy) as canned, IndexClient(canned.url) as index:
        with pytest.raises(RateLimited) as caught:
            index.list_tags()
        assert caught.value.retry_after == 3600
        assert len(canned.asked) == 1


def test_the_wait_is_the_one_the_service_asks_for() -> None:
    def failed(status: int | None, wait: float | None) -> IndexClientError:
        return IndexUnavailable(Failure("https://i.example.com", status, "E", "m", wait))

    assert _wait(failed(503, 7.5)) == 7.5
    assert _wait(failed(503, None)) is True
    assert _wait(failed(None, None)) is True
    assert _wait(failed(503, 31.0)) is False
    assert _wait(failed(500, 1.0)) is False
    assert _wait(ValueError()) is False


def test_a_wait_is_read_from_seconds_and_from_dates() -> None:
    from datetime import UTC, datetime, timedelta

    assert retry_after(None) is None
    assert retry_after("12") == 12
    for nonsense in ("", "soon", "-1", "1.5", "\N{ARABIC-INDIC DIGIT ONE}"):
        assert retry_after(nonsense) is None
    later = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert later is not None
    assert 50 < later <= 60
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("Wed, 21 Oct 2015 07:28:00") == 0


def test_an_index_that_does_not_answer_is_unavailable() -> None:
    with canned_index(TAGS) as canned:
        url = canned.url
    with IndexClient(url, attempts=2) as index:
        with pytest.raises(IndexUnavailable, match="Unreachable") as caught:
            index.list_tags()
        assert caught.value.status is None


@pytest.mark.parametrize("url", ["nonsense", "ftp://example.com", "http://[bad", ""])
def test_an_address_that_is_none_is_unavailable_too(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATDATA_APPVIEW_URL", "no-scheme.example.com")
    with IndexClient(url, attempts=1) as index, pytest.raises(IndexUnavailable):
        index.list_tags()


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atdata_client._net.http.MAX_BODY_BYTES", 1000)
    with (
        canned_index(Canned(b" " * 1001)) as canned,
        IndexClient(canned.url, attempts=1) as index,
        pytest.raises(IndexUnavailable, match="longer than 1000 bytes"),
    ):
        index.list_tags()


def test_a_compressed_answer_is_not_opened() -> None:
    answer = Canned(b"", headers={"Content-Encoding": "gzip"})
    with canned_index(answer) as canned, IndexClient(canned.url, attempts=1) as index:
        with pytest.raises(IndexUnavailable, match="compressed answer"):
            index.list_tags()
        assert canned.asked[0].headers["accept-encoding"] == "identity"


def test_a_client_works_again_after_close() -> None:
    with canned_index(TAGS) as canned:
        index = IndexClient(canned.url)
        index.close()
        assert index.list_tags() == ()
        index.close()
        assert index.list_tags() == ()
        index.close()
