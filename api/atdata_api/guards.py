"""What stands before the application: rate limits, and the headers by which browsers may read.

Every answer may be read by pages of any origin, for nothing here depends on a cookie. The limits'
headers are those of the PDS: `RateLimit-Reset` is a time in seconds since the epoch.
"""

import json
import math
import time
from collections.abc import Sequence
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from atdata_api.limits import Allowance, RateLimiter, caller_of
from atdata_api.service_auth import InvalidToken, ServiceAuth, Token

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "*",
}
_PREFLIGHT = _CORS | {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    # The star does not stand for Authorization (https://fetch.spec.whatwg.org, CORS protocol).
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Max-Age": "86400",
}


ACCOUNTS = 10
"""How many callers' allowances an address has for what accounts sign."""


class Guarded:
    """An application behind a limit for each caller; None: without one.

    A caller is an address, or the account that a token is signed by where `auth` can tell. What an
    account signed is counted under the account, and then under the address it came from, which may
    ask ACCOUNTS times as much that way: a PDS asks for all its accounts from one address, and
    anybody can make accounts. What nobody signed, and the look-up of an account that is not known
    yet, are the address's own, with one caller's allowance.
    """

    def __init__(
        self, app: ASGIApp, limiter: RateLimiter | None, auth: ServiceAuth | None = None
    ) -> None:
        self._app = app
        self._limiter = limiter
        self._auth = auth
        self._signed = None if limiter is None else limiter.times(ACCOUNTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        if _is_preflight(scope):
            await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, send)
            return
        allowance = await self._take(scope)
        headers = _CORS | ({} if allowance is None else self._told(allowance))
        if allowance is not None and allowance.wait_s:
            await _refuse(headers, allowance.wait_s, scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self._app(scope, receive, with_headers)

    async def _take(self, scope: Scope) -> Allowance | None:
        if self._limiter is None or self._signed is None:
            return None
        client: Sequence[str] | None = scope.get("client")
        address = None if client is None else caller_of(client[0])
        allowance = None
        token = self._token(scope)
        if token is not None and self._auth is not None:
            if address is not None and not self._auth.knows(token.issuer):
                # Asking who a stranger is costs more than an answer: it is the address's to pay.
                allowance = self._limiter.take(address)
                if allowance.wait_s:
                    return allowance
            with suppress(InvalidToken):  # as if nothing was said
                own = self._limiter.take(await self._auth.caller(token))
                if address is None or own.wait_s:
                    return own  # one that must wait takes nothing from the others at its address
                of_all = self._signed.take(address)
                return min(own, of_all, key=lambda one: (-one.wait_s, one.remaining))
        if allowance is None and address is not None:
            allowance = self._limiter.take(address)
        return allowance

    def _token(self, scope: Scope) -> Token | None:
        """The token that a request carries for the query it asks, if there is one to be read."""
        scheme, _, text = Headers(scope=scope).get("authorization", "").partition(" ")
        if self._auth is None or scheme.lower() != "bearer":
            return None
        try:
            return self._auth.read(text.strip(), scope["path"].removeprefix("/xrpc/"))
        except InvalidToken:
            return None

    def _told(self, allowance: Allowance) -> dict[str, str]:
        assert self._limiter is not None
        return {
            "RateLimit-Limit": str(allowance.limit),
            "RateLimit-Remaining": str(allowance.remaining),
            "RateLimit-Reset": str(math.ceil(time.time() + allowance.reset_s)),
            "RateLimit-Policy": f"{allowance.limit};w={self._limiter.window_s:.0f}",
        }


def _is_preflight(scope: Scope) -> bool:
    is_options = scope["type"] == "http" and scope["method"] == "OPTIONS"
    return is_options and "access-control-request-method" in Headers(scope=scope)


async def _refuse(
    headers: dict[str, str], wait_s: float, scope: Scope, receive: Receive, send: Send
) -> None:
    seconds = math.ceil(wait_s)
    body = {
        "error": "RateLimitExceeded",
        "message": f"too many requests from this caller; ask again in {seconds} s",
    }
    response = Response(
        json.dumps(body),
        429,
        headers | {"Retry-After": str(seconds)},
        media_type="application/json",
    )
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)
