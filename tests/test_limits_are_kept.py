"""Each caller may make so many requests, each request may be so long and take so long."""

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata_api import protocol
from atdata_api.limits import RateLimiter, caller_of
from atdata_api.protocol import MAX_BODY
from atdata_api.server import AppView
from atdata_indexer.settings import Settings
from tests.asking import NS, Api
from tests.fronts import another_front

LIMIT = 40


@pytest.fixture(scope="module")
def url(recorded_appview: AppView) -> Iterator[str]:
    with another_front(recorded_appview, rate_limit=LIMIT) as url:
        yield url


@pytest.fixture(scope="module")
def api(url: str) -> Iterator[Api]:
    with Api(url) as api:
        yield api


def ask(api: Api, address: str) -> httpx.Response:
    return api.get("/xrpc/_health", headers={"X-Forwarded-For": address})


def test_a_caller_is_refused_beyond_the_limit_and_told_when_to_come_back(api: Api) -> None:
    for left in reversed(range(LIMIT)):
        answer = ask(api, "203.0.113.7")
        assert answer.status_code == 200
        assert answer.headers["ratelimit-limit"] == str(LIMIT)
        assert answer.headers["ratelimit-policy"] == f"{LIMIT};w=300"
        assert int(answer.headers["ratelimit-remaining"]) == left
        assert time.time() < int(answer.headers["ratelimit-reset"]) <= time.time() + 302
    refused = ask(api, "203.0.113.7")
    assert refused.status_code == 429
    assert refused.json()["error"] == "RateLimitExceeded"
    assert 0 < int(refused.headers["retry-after"]) <= 300 // LIMIT + 1
    assert refused.headers["access-control-allow-origin"] == "*"
    assert ask(api, "203.0.113.8").status_code == 200, "others are not held up"


def test_one_network_of_ipv6_is_one_caller(api: Api) -> None:
    answers = [ask(api, f"2001:db8::{host:x}") for host in range(1, LIMIT + 2)]
    assert [answer.status_code for answer in answers] == [200] * LIMIT + [429]
    assert ask(api, "2001:db8:0:1::1").status_code == 200


def test_this_machine_is_not_counted(api: Api) -> None:
    for _ in range(2 * LIMIT):
        answer = api.get("/xrpc/_health")
        assert answer.status_code == 200
        assert "ratelimit-limit" not in answer.headers


def test_what_a_client_says_of_itself_counts_only_from_a_proxy_we_know(
    recorded_appview: AppView,
) -> None:
    with (
        another_front(recorded_appview, rate_limit=1, forwarded_by="none") as url,
        Api(url) as api,
    ):
        for _ in range(3):
            assert ask(api, "203.0.113.7").status_code == 200


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    limit=st.integers(1, 50),
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 20)), max_size=200),
)
def test_no_window_holds_more_than_twice_the_limit_and_nobody_waits_in_vain(
    limit: int, steps: list[tuple[str, float]]
) -> None:
    clock, taken = Clock(), list[tuple[str, float]]()
    limiter = RateLimiter(limit, 60.0, clock=clock)
    for caller, pause in steps:
        clock.now += pause
        allowance = limiter.take(caller)
        if allowance.wait_s:
            clock.now += allowance.wait_s
            allowance = limiter.take(caller)
            assert not allowance.wait_s, "who waited as long as it was told is let by"
        taken.append((caller, clock.now))
        within = [at for one, at in taken if one == caller and at > clock.now - 60.0]
        assert len(within) <= 2 * limit
        assert 0 <= allowance.remaining < limit


def test_what_is_known_of_callers_is_bounded() -> None:
    clock = Clock()
    limiter = RateLimiter(10, 60.0, clock=clock, most_callers=100)
    for number in range(1000):
        limiter.take(str(number))
        assert len(limiter._settled) <= 100
    clock.now += 3600
    limiter.take("late")
    assert limiter.take("late").remaining == 8


@pytest.mark.parametrize(
    ("host", "caller"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("", None),
        ("unknown", "unknown"),
        ("1.2.3.4:55 and more", "1.2.3.4:55 and more"),
    ],
)
def test_callers_are_told_apart_by_address(host: str, caller: str | None) -> None:
    assert caller_of(host) == caller


# --- one request ------------------------------------------------------------------------------


def test_a_body_that_is_too_long_is_refused(api: Api) -> None:
    answer = api.request("POST", "/nothing", content=b"x" * (MAX_BODY + 1))
    assert answer.status_code == 413
    assert answer.json()["error"] == "PayloadTooLarge"
    assert api.request("POST", "/nothing", content=b"x" * MAX_BODY).status_code == 404


def test_an_endless_body_ends_with_the_connection(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER_S", 0.1)
    request = b"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"

    def send_for_ever(sock: socket.socket) -> None:
        sock.sendall(request)
        for _ in range(100_000):
            sock.sendall(piece)

    with connection(url) as sock, pytest.raises(ConnectionError):
        send_for_ever(sock)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"",
        b"GET /xrpc/_hea",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab",
    ],
)
def test_a_request_that_does_not_come_to_its_end_is_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch, request_bytes: bytes
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_S", 0.2)
    with connection(url) as sock:
        sock.sendall(request_bytes)
        answer = b""
        while piece := sock.recv(65_536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 404" if b"POST" in request_bytes else b"HTTP/1.1 408")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_connection_that_has_answered_is_not_given_up_for_its_next_request(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_S", 0.2)
    with Api(url) as api:
        for _ in range(2):
            assert api.get("/xrpc/_health").status_code == 200
            # The time of the first request must not end the wait for the second.
            assert api.get(f"/xrpc/{NS}.listTags").status_code == 200


def connection(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), timeout=60)


# --- what we ask of others ------------------------------------------------------------------------


def test_a_contact_is_told_only_where_the_operator_gave_one() -> None:
    assert Settings().user_agent == "atdata-appview"
    contact = "https://index.example.com/about"
    assert Settings(contact=contact).user_agent == f"atdata-appview ({contact})"
    for broken in ("a) b", "line\nfeed", "", " "):
        with pytest.raises(ValueError, match="contact"):
            Settings(contact=broken)
