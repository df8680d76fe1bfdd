"""Answers that need not be sent again, or not at full length: ETag, 304 and gzip (RFC 9110).

Only whole texts that are answers to GET are touched; what streams, or has an ETag of its own, is
let by. A tag is the hash of the text, so it outlives restarts and is the same in every process.
"""

import gzip
from hashlib import blake2b

from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SHORTEST = 1400
"""Texts that fit into one packet are not compressed."""
LONGEST = 16 << 20
LARGE = 1 << 16
"""Texts from here on are hashed and compressed in a thread: the event loop is everybody's, and
below it the way to a thread and back costs more than it saves.
"""
MOST_SAID = 500
"""So much of `Accept-Encoding` is read: the list is walked on the event loop."""
_TEXTS = (
    "application/json",
    "application/ld+json",
    "application/xml",
    "application/atom+xml",
    "text/",
)
_LEVEL = 1  # what more would save is not worth what it costs here


class Cached:
    """An application whose texts carry tags, and are compressed for those who take that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        started: Message | None = None

        async def hold(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start" and _is_text(message):
                started = message
            elif started is None:
                await send(message)
            else:
                held, started = started, None
                if message.get("more_body"):
                    pass
                elif len(message.get("body", b"")) < LARGE:
                    message = _shorten(held, message, asked)
                else:
                    message = await run_sync(_shorten, held, message, asked)
                await send(held)
                await send(message)

        await self._app(scope, receive, hold)


def _is_text(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    length = headers.get("content-length", "")
    return (
        start["status"] == 200
        and "etag" not in headers
        and "content-encoding" not in headers
        and headers.get("content-type", "").startswith(_TEXTS)
        and length.isdigit()
        and int(length) <= LONGEST
    )


def _shorten(start: Message, whole: Message, asked: Headers) -> Message:
    """The body to send instead of `whole`; `start` is changed to fit it."""
    body: bytes = whole.get("body", b"")
    headers = MutableHeaders(scope=start)
    # Weak, for it is the same whether compressed or not (RFC 9110, section 8.8.1).
    headers["ETag"] = tag = f'W/"{blake2b(body, digest_size=12).hexdigest()}"'
    headers["Vary"] = "Accept-Encoding"
    # What is hidden must vanish at once: nobody may answer from a copy without asking.
    headers.setdefault("Cache-Control", "no-cache")
    if _matches(asked.get("if-none-match", ""), tag):
        start["status"] = 304
        del headers["content-length"]
        del headers["content-type"]
        return {**whole, "body": b""}
    if len(body) >= SHORTEST and _takes_gzip(asked.get("accept-encoding", "")):
        body = gzip.compress(body, _LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(body))
    return {**whole, "body": body}


def _matches(if_none_match: str, tag: str) -> bool:
    """Whether the client has this text already; tags are compared weakly (section 13.1.2)."""
    return if_none_match.strip() == "*" or tag.removeprefix("W/") in if_none_match


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether a client takes gzip (section 12.5.3): named, or by a star, and not with weight 0."""
    weights: dict[str, bool] = {}
    for one in accept_encoding[:MOST_SAID].lower().split(","):
        name, _, parameter = one.partition(";")
        weight = parameter.strip().removeprefix("q=").strip()
        weights[name.strip()] = weight.strip("0.") != "" or not parameter
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))
