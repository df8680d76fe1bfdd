"""One HTTP GET, bounded in size and time. Everything this package fetches itself passes here.

`Http` and `AsyncHttp` differ in who waits, and in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

MAX_BODY_BYTES = 32 << 20
MAX_ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. `retry_after` is in seconds, None when it named no wait."""

    status: int
    body: bytes
    retry_after: float | None

    def json_object(self) -> dict[str, Any] | None:
        """The body as a JSON object, None when it is none."""
        import json

        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


class UnreachableError(Exception):
    """No answer, or one that was cut off for its size or its slowness. Stays in the package."""


class Http:
    """A connection pool that opens at the first request; `timeout` in seconds, per step.

    Redirects are answers like others: nobody is sent to an address that was not checked.
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._client: httpx.Client | None = None

    def get(self, url: str, params: Sequence[tuple[str, str]] = ()) -> Answer:
        """The answer to a GET of `url`. Raises UnreachableError."""
        import httpx

        if self._client is None:
            self._client = httpx.Client(timeout=self._timeout, headers=_headers())
        try:
            with self._client.stream("GET", url, params=list(params)) as response:
                body = _Body(response)
                for chunk in response.iter_raw():
                    body.add(chunk)
                return body.answer()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnreachableError(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._client is not None:
            self._client.close()
            self._client = None


class AsyncHttp:
    """What `Http` is, for programs that wait for many things at once."""

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None

    async def get(self, url: str, params: Sequence[tuple[str, str]] = ()) -> Answer:
        """The answer to a GET of `url`. Raises UnreachableError."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._timeout, headers=_headers())
        try:
            async with self._client.stream("GET", url, params=list(params)) as response:
                body = _Body(response)
                async for chunk in response.aiter_raw():
                    body.add(chunk)
                return body.answer()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnreachableError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()


def user_agent() -> str:
    """What this client calls itself in every request."""
    from importlib.metadata import version

    return f"atdata-appview/{version('atdata-appview')}"


def retry_after(header: str | None) -> float | None:
    """The wait in seconds that a `Retry-After` header asks for (RFC 9110, 10.2.3), if any."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _headers() -> dict[str, str]:
    # Compressed, a few kilobytes could fill the memory before their size is known.
    return {"User-Agent": user_agent(), "Accept-Encoding": "identity"}


class _Body:
    """The body of a response as it comes in. Raises UnreachableError beyond its bounds."""

    def __init__(self, response: httpx.Response) -> None:
        from time import monotonic

        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise UnreachableError(
                f"a compressed answer ({encoding[:40]}), though none was asked for"
            )
        self._response = response
        self._now = monotonic
        self._deadline = monotonic() + MAX_ANSWER_SECONDS
        self._bytes = bytearray()

    def add(self, chunk: bytes) -> None:
        """A piece more."""
        self._bytes += chunk
        if len(self._bytes) > MAX_BODY_BYTES:
            raise UnreachableError(f"the answer is longer than {MAX_BODY_BYTES} bytes")
        if self._now() > self._deadline:
            raise UnreachableError(f"the answer takes more than {MAX_ANSWER_SECONDS:.0f} seconds")

    def answer(self) -> Answer:
        """The answer, now that it is whole."""
        wait = retry_after(self._response.headers.get("Retry-After"))
        return Answer(self._response.status_code, bytes(self._bytes), wait)
