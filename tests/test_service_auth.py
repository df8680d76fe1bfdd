"""A caller is known by the token its PDS sends along: signed, for us, for this query, now, once."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from atdata_api.server import AppView
from atdata_api.service_auth import InvalidToken, ServiceAuth
from atdata_api.used_tokens import UsedTokens
from atdata_indexer.identity import IdentityUnavailable
from tests.asking import NS
from tests.fronts import another_front
from tests.labeler import sign
from tests.real_pds import PATIENCE_S, RealPds
from tests.signed import Author

US = "did:web:index.example.com"
NSID = f"{NS}.searchDatasets"
NOW = 1_800_000_000
ALICE = Author("alice")
EACH = 20
"""How many tokens of one account are remembered here."""
CLAIMS = {
    "iss": ALICE.did, "aud": US, "lxm": NSID, "iat": NOW, "exp": NOW + 60, "jti": "a1",
}  # fmt: skip


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def token(author: Author = ALICE, alg: str = "ES256K", **claims: Any) -> str:
    said = {name: one for name, one in (CLAIMS | claims).items() if one is not None}
    signed = f"{part({'typ': 'JWT', 'alg': alg})}.{part(said)}"
    return f"{signed}.{part(sign(author.key, signed.encode()))}"


class World:
    """What a service that was just started knows."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self.asked: list[str] = []
        self.auth = ServiceAuth(US, self.key_of, lambda: self.now, used=UsedTokens(EACH))

    async def key_of(self, did: str) -> str | None:
        self.asked.append(did)
        if did.startswith("did:web:"):
            raise IdentityUnavailable(did)
        return ALICE.multibase if did == ALICE.did else None

    async def caller(self, text: str) -> str:
        return await self.auth.caller(self.auth.read(text, NSID))


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("aud", [US, f"{US}#atdata_appview"])
@pytest.mark.parametrize("iss", [ALICE.did, f"{ALICE.did}#atproto"])
async def test_what_an_account_signed_is_its_own(world: World, aud: str, iss: str) -> None:
    assert await world.caller(token(aud=aud, iss=iss)) == ALICE.did
    assert await world.caller(token(jti="a2")) == ALICE.did
    assert world.asked == [ALICE.did], "the key is remembered"
    assert world.auth.knows(ALICE.did)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "did:web:other.example.com"}, {"aud": None}, {"aud": [US]}, {"aud": f"{US}#other"},
        {"lxm": f"{NS}.getDataset"}, {"lxm": None}, {"lxm": "*"},
        {"iss": "alice.test"}, {"iss": None}, {"iss": f"{ALICE.did}#atproto_labeler"},
        {"exp": NOW - 61}, {"exp": None}, {"exp": str(NOW + 60)}, {"exp": True},
        {"exp": NOW + 301}, {"iat": NOW + 61, "exp": NOW + 90}, {"iat": None}, {"iat": 1.5},
        {"jti": None}, {"jti": ""}, {"jti": 7},
    ],
)  # fmt: skip
async def test_a_claim_that_does_not_hold_is_refused(world: World, claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        await world.caller(token(**claims))
    assert world.asked == []


@pytest.mark.parametrize(
    "text",
    ["", "x", "..", "a.b.c", "é.é.é", "a" * 5000, f"{part([])}.{part({})}.x",
     f"{part({'alg': 'none'})}.{part(CLAIMS)}.", f"{part(b'[' * 3000)}.{part({})}.x",
     f"{part({'alg': 'HS256'})}.{part(CLAIMS)}.{part(b'x' * 32)}",
     f"{part({'alg': []})}.{part(CLAIMS)}.{part(b'x' * 64)}",
     f"{part({'alg': 'ES256K'})}.{part(CLAIMS | {'exp': 10**400})}.{part(b'x' * 64)}"],
)  # fmt: skip
def test_what_is_no_token_is_refused(world: World, text: str) -> None:
    with pytest.raises(InvalidToken):
        world.auth.read(text, NSID)


async def test_another_signature_is_refused(world: World) -> None:
    good = token()
    forged = token(Author("mallory"))
    high = good.rpartition(".")[0] + "." + part(b"\xff" * 64)
    for text in (forged, high, good[:-4], token(alg="ES256"), good.rpartition(".")[0] + "."):
        with pytest.raises(InvalidToken):
            await world.caller(text)
    assert await world.caller(good) == ALICE.did


async def test_a_token_counts_once(world: World) -> None:
    text = token()
    assert await world.caller(text) == ALICE.did
    with pytest.raises(InvalidToken, match="jti"):
        await world.caller(text)
    world.now += 119  # the last second at which it could be taken
    with pytest.raises(InvalidToken, match="jti"):
        await world.caller(text)
    world.now += 1
    with pytest.raises(InvalidToken, match="exp"):
        await world.caller(text)


@pytest.mark.parametrize("did", ["did:web:gone.example.com", Author("nobody").did])
async def test_who_cannot_be_looked_up_is_nobody_and_not_asked_for_at_once_again(
    world: World, did: str
) -> None:
    for nonce in ("a1", "a2"):
        with pytest.raises(InvalidToken):
            await world.caller(token(iss=did, jti=nonce))
    assert world.asked == [did]
    world.now += 601
    with pytest.raises(InvalidToken):
        await world.caller(token(iss=did, iat=NOW + 600, exp=NOW + 660))
    assert world.asked == [did, did]


async def test_many_tokens_of_a_stranger_make_one_look_up(world: World) -> None:
    many = [world.caller(token(jti=f"a{number}")) for number in range(16)]
    assert await asyncio.gather(*many) == [ALICE.did] * 16
    assert world.asked == [ALICE.did]


async def test_who_is_long_to_look_up_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atdata_api.service_auth.LOOK_UP_S", 0.01)

    async def never(did: str) -> str | None:
        world.asked.append(did)
        await asyncio.Event().wait()
        return None

    auth = ServiceAuth(US, never, lambda: world.now, used=UsedTokens(EACH))
    with pytest.raises(InvalidToken):
        await auth.caller(auth.read(token(), NSID))
    assert world.asked == [ALICE.did]


# --- behind a real PDS ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url(recorded_appview: AppView, pds: RealPds) -> Iterator[str]:
    named = {"public_url": "http://localhost", "plc_url": pds.plc}
    with another_front(recorded_appview, rate_limit=4, **named) as url:
        yield url


def test_each_account_of_a_pds_is_counted_by_itself(pds: RealPds, url: str) -> None:
    did = f"did:web:localhost%3A{url.rpartition(':')[2]}"

    def ask(access_jwt: str) -> httpx.Response:
        headers = {
            "atproto-proxy": f"{did}#atdata_appview",
            "Authorization": f"Bearer {access_jwt}",
        }
        return httpx.get(f"{pds.url}/xrpc/{NS}.listTags", headers=headers, timeout=PATIENCE_S)

    one, other = pds.create_account(), pds.create_account()
    assert [ask(one.access_jwt).status_code for _ in range(5)] == [200] * 4 + [429]
    assert ask(other.access_jwt).status_code == 200
    # One that is not signed for us is nobody's: this machine's own, which are not counted.
    bare = {"Authorization": f"Bearer {one.access_jwt}"}
    for _ in range(6):
        assert httpx.get(f"{url}/xrpc/{NS}.listTags", headers=bare).status_code == 200


def test_to_look_a_stranger_up_is_the_addresss_to_pay(url: str) -> None:
    did = f"did:web:localhost%3A{url.rpartition(':')[2]}"
    now = int(time.time())
    statuses = []
    for number in range(6):
        stranger = Author(f"nobody{number}".translate(str.maketrans("0123456789", "abcdefghij")))
        text = token(
            stranger, iss=stranger.did, aud=did, lxm=f"{NS}.listTags", iat=now, exp=now + 60
        )
        headers = {"Authorization": f"Bearer {text}", "X-Forwarded-For": "203.0.113.9"}
        statuses.append(httpx.get(f"{url}/xrpc/{NS}.listTags", headers=headers).status_code)
    assert statuses == [200] * 4 + [429] * 2
