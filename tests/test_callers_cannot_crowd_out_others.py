"""What strangers fill up is theirs: tokens, allowances, places to look up and to follow from."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from atdata_api import service_auth
from atdata_api.changes import FOLLOWERS_EACH, NSID
from atdata_api.guards import ACCOUNTS, Guarded
from atdata_api.limits import RateLimiter, believes_anybody
from atdata_api.server import AppView
from atdata_api.service_auth import InvalidToken, ServiceAuth
from atdata_api.used_tokens import UsedTokens
from tests.appview import wait_until
from tests.fronts import another_front
from tests.signed import Author
from tests.test_service_auth import EACH, NOW, US, World, token
from tests.test_service_auth import NSID as QUERY

# --- tokens ---------------------------------------------------------------------------------------


async def test_an_account_that_has_too_many_tokens_is_not_believed_and_others_are() -> None:
    world = World()
    other = Author("bob")
    keys = {one.did: one.multibase for one in (Author("alice"), other)}

    async def key_of(did: str) -> str:
        return keys[did]

    world.auth = ServiceAuth(US, key_of, lambda: world.now, used=UsedTokens(EACH))
    for number in range(EACH):
        await world.caller(token(jti=f"a{number}"))
    with pytest.raises(InvalidToken, match="jti"):
        await world.caller(token(jti="one more"))
    assert await world.caller(token(other, iss=other.did)) == other.did
    world.now += 121  # when none of them holds any more
    await world.caller(token(jti="later", iat=NOW + 121, exp=NOW + 181))


def test_many_accounts_have_nobody_elses_tokens_forgotten() -> None:
    used = UsedTokens(each=100, most=1000)
    assert used.add("honest", "once", 600.0, 0.0)
    for attacker in range(50):
        for number in range(100):
            assert used.add(f"attacker{attacker}", str(number), 300.0 + number, 0.0)
            assert len(used) <= 1000
    assert not used.add("honest", "once", 600.0, 0.0), "it is still known to be used"
    assert not used.add("attacker49", "99", 600.0, 0.0)
    assert used.add("another", "new", 600.0, 0.0)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 30), st.integers(1, 50)), max_size=300
    )
)
def test_what_is_remembered_of_tokens_is_what_is_counted(
    uses: list[tuple[str, int, int]],
) -> None:
    used = UsedTokens(each=8, most=20)
    for now, (issuer, nonce, life) in enumerate(uses):
        known = dict(used._of.get(issuer, {}))
        added = used.add(issuer, str(nonce), now + life, now)
        assert added or len(known) == 8 or len(used._of[issuer]) == len(known)
        assert len(used) == sum(len(one) for one in used._of.values()) <= 20
        assert all(0 < len(one) <= 8 for one in used._of.values())


def test_a_long_nonce_takes_no_more_room_than_a_short_one() -> None:
    used = UsedTokens(each=10, most=10)
    used.add("a", "x" * 4000, 9.0, 0.0)
    assert [len(key) for key in used._of["a"]] == [16]
    assert not used.add("a", "x" * 4000, 9.0, 0.0)


# --- keys -----------------------------------------------------------------------------------------


async def test_slow_hosts_of_strangers_keep_nobody_of_the_directory_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_auth, "LOOK_UP_S", 5.0)
    alice, hanging, released = Author("alice"), asyncio.Semaphore(0), asyncio.Event()

    async def key_of(did: str) -> str | None:
        if did != alice.did:
            hanging.release()
            await released.wait()
            return None
        return alice.multibase

    auth = ServiceAuth(US, key_of, lambda: float(NOW), used=UsedTokens(EACH))
    strangers = [
        asyncio.create_task(auth._key(f"did:web:host{number}.example")) for number in range(20)
    ]
    for _ in range(service_auth.AT_ONCE):
        await hanging.acquire()
    assert await auth.caller(auth.read(token(), QUERY)) == alice.did
    released.set()
    await asyncio.gather(*strangers)


async def test_who_had_no_turn_to_be_looked_up_is_looked_up_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_auth, "LOOK_UP_S", 0.05)
    monkeypatch.setattr(service_auth, "AT_ONCE", 1)
    asked: list[str] = []

    async def key_of(did: str) -> str | None:
        asked.append(did)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return None

    auth = ServiceAuth(US, key_of, lambda: float(NOW), used=UsedTokens(EACH))
    slow, waiting = "did:web:slow.example", "did:web:waits.example"
    await asyncio.gather(auth._key(slow), auth._key(waiting))
    assert (auth.knows(slow), auth.knows(waiting)) == (True, waiting in asked)
    await auth._key(waiting)
    assert asked == [slow, waiting]


async def test_the_newest_keys_are_remembered_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_auth, "MOST_KEYS", 10)

    async def key_of(did: str) -> str | None:
        return None

    auth = ServiceAuth(US, key_of, lambda: float(NOW), used=UsedTokens(EACH))
    for number in range(30):
        await auth._key(f"did:web:host{number}.example")
        assert auth.knows(f"did:web:host{number}.example")
        assert len(auth._keys) <= 10


# --- allowances -----------------------------------------------------------------------------------

LIMIT = 3


class Behind:
    """A service behind limits, asked with tokens of many accounts from one address."""

    def __init__(self, clock: World) -> None:
        self.authors: dict[str, Author] = {}

        async def key_of(did: str) -> str:
            return self.authors[did].multibase

        auth = ServiceAuth(US, key_of, lambda: clock.now, used=UsedTokens(1000))
        app = FastAPI()
        app.add_api_route(f"/xrpc/{QUERY}", lambda: "here", methods=["GET"])
        self._limiter = RateLimiter(LIMIT, clock=lambda: clock.now)
        self._app = Guarded(app, self._limiter, auth)
        self._nonces = iter(range(10**6))

    def knowing(self, *names: str) -> list[Author]:
        authors = [Author(name) for name in names]
        self.authors |= {one.did: one for one in authors}
        return authors

    async def ask(self, author: Author | None, address: str = "203.0.113.7") -> httpx.Response:
        transport = httpx.ASGITransport(self._app, client=(address, 4711))
        headers = {}
        if author is not None:
            text = token(author, iss=author.did, jti=f"n{next(self._nonces)}")
            headers = {"Authorization": f"Bearer {text}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(f"/xrpc/{QUERY}", headers=headers)


async def known(behind: Behind, authors: list[Author]) -> None:
    """Let each be looked up from an address of its own, which pays for it."""
    for number, author in enumerate(authors):
        assert (await behind.ask(author, f"198.51.100.{number}")).status_code == 200


async def test_one_address_has_ten_callers_allowances_however_many_accounts_it_has() -> None:
    behind = Behind(World())
    names = [f"a{'bcdefghijklmnopq'[number]}" for number in range(ACCOUNTS + 6)]
    authors = behind.knowing(*names)
    await known(behind, authors)
    answers = [await behind.ask(author) for author in authors for _ in range(LIMIT - 1)]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [200] * LIMIT * ACCOUNTS + [429] * (len(statuses) - LIMIT * ACCOUNTS)
    assert answers[-1].headers["ratelimit-limit"] == str(LIMIT * ACCOUNTS)
    assert answers[0].headers["ratelimit-limit"] == str(LIMIT)
    assert int(answers[-1].headers["retry-after"]) > 0
    assert (await behind.ask(None)).status_code == 200, "what nobody signed is counted by itself"
    behind.knowing("elsewhere")
    assert (await behind.ask(Author("elsewhere"), "192.0.2.9")).status_code == 200


async def test_an_account_that_must_wait_takes_nothing_from_the_others_at_its_address() -> None:
    behind = Behind(World())
    flooding, honest = behind.knowing("flood", "honest")
    await known(behind, [flooding, honest])
    answers = [await behind.ask(flooding) for _ in range(2 * LIMIT * ACCOUNTS)]
    assert [one.status_code for one in answers[: LIMIT - 1]] == [200] * (LIMIT - 1)
    assert {one.status_code for one in answers[LIMIT - 1 :]} == {429}
    assert (await behind.ask(honest)).status_code == 200


def test_who_asked_much_is_not_forgotten_for_many_who_asked_little() -> None:
    limiter = RateLimiter(10, 60.0, clock=lambda: 1000.0, most_callers=100)
    while not limiter.take("much").wait_s:
        pass
    for number in range(1000):
        limiter.take(str(number))
        assert len(limiter._settled) <= 100
    assert limiter.take("much").wait_s


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "anybody"),
    [("*", True), ("0.0.0.0/0", True), ("10.0.0.1,::/0", True), ("none", False),
     ("127.0.0.1,::1", False), ("10.0.0.0/8", False), ("10.0.0.0/10", False)],
)  # fmt: skip
def test_proxies_that_are_everybody_are_told_apart(proxies: str, anybody: bool) -> None:
    assert believes_anybody(proxies) == anybody


@pytest.mark.parametrize(
    ("settings", "warned"),
    [({"forwarded_by": "*"}, True), ({"forwarded_by": "10.0.0.0/8"}, False),
     ({"forwarded_by": "*", "rate_limit": 0, "followers": 0}, False)],
)  # fmt: skip
def test_the_operator_is_warned_when_callers_name_their_own_address(
    recorded_appview: AppView, settings: dict[str, object], warned: bool
) -> None:
    with capture_logs() as logs, another_front(recorded_appview, **settings):
        pass
    lines = [one for one in logs if one["event"] == "callers_name_their_own_address"]
    assert len(lines) == warned
    for line in lines:
        assert line["log_level"] == "warning"
        assert line["setting"] == "ATDATA_APPVIEW_FORWARDED_BY"


# --- followers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url(recorded_appview: AppView) -> Iterator[str]:
    with another_front(recorded_appview, followers=FOLLOWERS_EACH + 5) as url:
        yield url


def follow(url: str, address: str | None) -> ClientConnection:
    headers = {} if address is None else {"X-Forwarded-For": address}
    ws = url.replace("http", "ws", 1)
    return connect(f"{ws}/xrpc/{NSID}", additional_headers=headers, compression=None)


def test_one_caller_cannot_take_all_the_places_of_followers(url: str) -> None:
    with ExitStack() as following:
        for host in range(FOLLOWERS_EACH):
            following.enter_context(follow(url, f"2001:db8::{host + 1:x}")).recv()
        with pytest.raises(InvalidStatus) as refused, follow(url, "2001:db8::ffff"):
            pass
        response = refused.value.response
        assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
        assert json.loads(response.body or b"")["error"] == "TooManyFollowers"
        for address in ("203.0.113.7", "2001:db8:0:1::1", None, None, None):
            following.enter_context(follow(url, address)).recv()
        with pytest.raises(InvalidStatus), follow(url, "203.0.113.8"):
            pass


def test_who_leaves_makes_room_for_the_next_of_its_address(url: str) -> None:
    address = "198.51.100.7"
    with ExitStack() as following:
        for _ in range(FOLLOWERS_EACH):
            following.enter_context(follow(url, address)).recv()

    def has_room() -> bool:
        try:
            with follow(url, address) as connection:
                connection.recv()
        except InvalidStatus:
            return False
        return True

    wait_until(has_room)
    for _ in range(FOLLOWERS_EACH):
        wait_until(has_room)
