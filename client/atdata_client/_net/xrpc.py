"""XRPC queries: GET, the error body, retries where they can help.

Owns nothing else. Which error class a failure becomes is its caller's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from atdata_client._net.http import AsyncHttp, Http, UnreachableError
from atdata_client.errors import Failure, XrpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from atdata_client._net.http import Answer

MAX_WAIT_SECONDS = 30.0
"""A longer `Retry-After` is the caller's business: the error is raised at once."""


class _Pauses(TypedDict):
    timeout: float
    wait_initial: float
    wait_max: float
    wait_jitter: float


_PAUSES: _Pauses = {
    "timeout": 2 * MAX_WAIT_SECONDS,
    "wait_initial": 0.1,
    "wait_max": 5.0,
    "wait_jitter": 0.1,
}


class Service[Pool: (Http, AsyncHttp)]:
    """The service at `url`, and what its answers mean; `to_error` makes the error of a failure.

    `attempts` are made at most, and `timeout` is in seconds, per step of a request.
    """

    _pool: type[Pool]

    def __init__(
        self,
        url: str,
        to_error: Callable[[Failure], XrpcError],
        *,
        timeout: float,
        attempts: int,
    ) -> None:
        self.url = url.rstrip("/")
        self._to_error = to_error
        self._attempts = attempts
        self._http: Pool = self._pool(timeout=timeout)

    def unexpected(self, message: str, status: int | None = 200) -> XrpcError:
        """The error of an answer that is not the one the query promises, for callers to raise."""
        return self._to_error(Failure(self.url, status, "UnexpectedResponse", message))

    def _address(self, nsid: str) -> str:
        return f"{self.url}/xrpc/{nsid}"

    def _unreachable(self, error: UnreachableError) -> XrpcError:
        return self._to_error(Failure(self.url, None, "Unreachable", str(error)))

    def _object(self, answer: Answer) -> dict[str, Any]:
        body = answer.json_object()
        if answer.status == 200 and body is not None:
            return body
        if answer.status == 200 or body is None or "error" not in body:
            name, words = "UnexpectedResponse", f"HTTP {answer.status}, and no XRPC body"
        else:
            name, words = str(body["error"]), str(body.get("message", ""))
        raise self._to_error(Failure(self.url, answer.status, name, words, answer.retry_after))


class XrpcReader(Service[Http]):
    """Sends queries to a service.

    Tries again, with growing pauses, when the service cannot be reached or answers 429, 502, 503
    or 504; a `Retry-After` is kept to.
    """

    _pool = Http

    def query(self, nsid: str, params: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
        """The JSON object that query `nsid` answers with. Raises what `to_error` makes."""
        from stamina import RetryingCaller

        retrying = RetryingCaller(attempts=self._attempts, **_PAUSES).on(_wait)
        return retrying(self._once, nsid, list(params))

    def close(self) -> None:
        """Close the connections; the next query opens new ones."""
        self._http.close()

    def _once(self, nsid: str, params: list[tuple[str, str]]) -> dict[str, Any]:
        try:
            answer = self._http.get(self._address(nsid), params)
        except UnreachableError as error:
            raise self._unreachable(error) from error
        return self._object(answer)


class AsyncXrpcReader(Service[AsyncHttp]):
    """What `XrpcReader` is, for programs that wait for many things at once."""

    _pool = AsyncHttp

    async def query(self, nsid: str, params: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
        """The JSON object that query `nsid` answers with. Raises what `to_error` makes."""
        from stamina import AsyncRetryingCaller

        retrying = AsyncRetryingCaller(attempts=self._attempts, **_PAUSES).on(_wait)
        return await retrying(self._once, nsid, list(params))

    async def close(self) -> None:
        """Close the connections; the next query opens new ones."""
        await self._http.close()

    async def _once(self, nsid: str, params: list[tuple[str, str]]) -> dict[str, Any]:
        try:
            answer = await self._http.get(self._address(nsid), params)
        except UnreachableError as error:
            raise self._unreachable(error) from error
        return self._object(answer)


def _wait(error: Exception) -> bool | float:
    """Whether to try again, and after how many seconds where the service said so."""
    if not isinstance(error, XrpcError) or not error.transient:
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= MAX_WAIT_SECONDS else False
