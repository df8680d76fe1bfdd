"""Who a request comes from, where a PDS says so (https://atproto.com/specs/xrpc#inter-service-auth).

A PDS that passes a query on sends along a token that the account signed for this service, this
query and this minute. It matters where callers are counted: a PDS asks for all its accounts from
one address. What does not hold counts as nothing said; no query is answered differently for it.
"""

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from atdata_api.identity import SERVICE
from atdata_api.used_tokens import UsedTokens
from atdata_indexer.identity import IdentityUnavailable
from atdata_indexer.keys import parse_key
from atdata_schemas.syntax import is_did

LONGEST = 4096
"""The most characters of a token that are looked at."""
SKEW_S = 60
"""How far another's clock may be off."""
LIFE_S = 300
"""The longest that a token may hold from when it was made. A PDS that passes a query on gives it a
minute; one that a client asked it for may hold for an hour, and is refused beyond this."""
KEY_S = 600.0
"""How long a key is believed, and that one cannot be had."""
LOOK_UP_S = 3.0
"""How long a caller's key is waited for; who is not known by then is counted by address."""
MOST_KEYS = 20_000
"""How many keys are remembered, the newest."""
AT_ONCE = 8
"""How many accounts of one DID method are looked up at once: those who name slow hosts of their own
(did:web) keep only each other waiting."""
_CURVES = {"ES256K": "secp256k1", "ES256": "secp256r1"}


class InvalidToken(Exception):
    """A token that is not one of an account for this service, now."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a token claims, and what shows it."""

    issuer: str
    nonce: str
    expires: float
    algorithm: str
    signed: bytes
    signature: bytes


def read_token(text: str, *, audience: str, nsid: str, now: float) -> Token:
    """The claims of a token for `nsid` at `audience`, all but its signature checked.

    Raises InvalidToken.
    """
    if len(text) > LONGEST or text.count(".") != 2:
        raise InvalidToken("not a token")
    head, claimed, signature = text.split(".")
    header, claims = _json(head), _json(claimed)
    issuer = _text(claims, "iss").removesuffix("#atproto")
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    algorithm = _text(header, "alg")
    if algorithm not in _CURVES:
        raise InvalidToken("alg: neither ES256K nor ES256")
    if not is_did(issuer):
        raise InvalidToken("iss: not a DID")
    if _text(claims, "aud") not in (audience, f"{audience}#{SERVICE}"):
        raise InvalidToken("aud: another service")
    if _text(claims, "lxm") != nsid:
        raise InvalidToken("lxm: another method")
    if not issued - SKEW_S <= now < expires + SKEW_S:
        raise InvalidToken("exp, iat: not now")
    if expires - issued > LIFE_S:
        raise InvalidToken("exp: too far from iat")
    nonce = _text(claims, "jti")
    signed = f"{head}.{claimed}".encode("ascii", "replace")
    return Token(issuer, nonce, expires, algorithm, signed, _bytes(signature))


class ServiceAuth:
    """Tells callers by their tokens, each of which counts once.

    `audience` is the DID of this service; `key_of` looks up the signing key of an account (None:
    it has none) and raises IdentityUnavailable; `used` remembers the tokens.
    """

    def __init__(
        self,
        audience: str,
        key_of: Callable[[str], Awaitable[str | None]],
        clock: Callable[[], float] = time.time,
        *,
        used: UsedTokens,
    ) -> None:
        self._audience = audience
        self._key_of = key_of
        self._clock = clock
        self._keys: dict[str, tuple[str | None, float]] = {}
        self._used = used
        self._turns = {own_host: asyncio.Semaphore(AT_ONCE) for own_host in (False, True)}

    def read(self, text: str, nsid: str) -> Token:
        """The claims of a token. Raises InvalidToken."""
        return read_token(text, audience=self._audience, nsid=nsid, now=self._clock())

    def knows(self, did: str) -> bool:
        """Whether a token of this account can be checked without asking anybody."""
        return self._keys.get(did, (None, 0.0))[1] > self._clock()

    async def caller(self, token: Token) -> str:
        """The account that signed a token for its first use. Raises InvalidToken."""
        key = await self._key(token.issuer)
        try:
            parsed = parse_key(key or "")
        except ValueError as error:
            raise InvalidToken("iss: no signing key") from error
        if parsed.point.curve.name != _CURVES[token.algorithm]:
            raise InvalidToken("alg: not that of the key")
        if not parsed.signed(token.signature, token.signed):
            raise InvalidToken("not signed by its issuer")
        until = token.expires + SKEW_S
        if not self._used.add(token.issuer, token.nonce, until, self._clock()):
            raise InvalidToken("jti: used before, or one of too many")
        return token.issuer

    async def _key(self, did: str) -> str | None:
        now = self._clock()
        key, until = self._keys.get(did, (None, 0.0))
        if until > now:
            return key
        asked = False
        try:
            async with asyncio.timeout(LOOK_UP_S), self._turns[not did.startswith("did:plc:")]:
                key, until = self._keys.get(did, (None, 0.0))  # others may have asked meanwhile
                if until > now:
                    return key
                asked = True
                key = await self._key_of(did)
        except (IdentityUnavailable, TimeoutError):
            key = None
        if asked:
            self._keys.pop(did, None)
            if len(self._keys) >= MOST_KEYS:
                del self._keys[next(iter(self._keys))]  # the one that was looked up first
            self._keys[did] = key, now + KEY_S
        return key


def _json(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_bytes(part))
    except (ValueError, RecursionError) as error:
        raise InvalidToken("not JSON") from error
    if not isinstance(value, dict):
        raise InvalidToken("not an object")
    return value


def _bytes(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidToken("not base64url") from error


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidToken(f"{name}: missing")
    return value


def _time(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 2**53:
        raise InvalidToken(f"{name}: no time")
    return float(value)
