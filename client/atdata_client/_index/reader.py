"""What both clients of an index are, but for who waits."""

from atdata_client._index.changes import Start
from atdata_client._index.requests import Subscription
from atdata_client._net.xrpc import AsyncXrpcReader, XrpcReader
from atdata_client.errors import (
    Failure,
    IndexClientError,
    IndexUnavailable,
    InvalidRequest,
    NotFound,
    RateLimited,
    UnexpectedResponse,
)

DEFAULT_URL = "http://127.0.0.1:8900"


class IndexReader[Reader: (XrpcReader, AsyncXrpcReader)]:
    """Which index is asked, under which names; `_reader` sends the requests."""

    _reader: type[Reader]

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str = "app.bsky.atdata",
        timeout: float = 10.0,
        attempts: int = 3,
    ) -> None:
        self._namespace = namespace
        self._timeout = timeout
        self._xrpc: Reader = self._reader(
            index_address(url), index_error, timeout=timeout, attempts=attempts
        )

    @property
    def url(self) -> str:
        """The base URL of the index."""
        return self._xrpc.url

    def _nsid(self, name: str) -> str:
        return f"{self._namespace}.{name}"

    def _start(self, asked: Subscription) -> Start:
        nsid = self._nsid(asked.name)
        return Start(self.url, nsid, asked.filters, asked.cursor, index_error, self._timeout)


def index_address(url: str | None) -> str:
    """The base URL of an index: the argument, else `ATDATA_APPVIEW_URL`, else this machine."""
    from os import environ

    return url or environ.get("ATDATA_APPVIEW_URL") or DEFAULT_URL


def index_error(failure: Failure) -> IndexClientError:
    """The error class of a failed query."""
    kind: type[IndexClientError] = IndexUnavailable
    if failure.error == "NotFound":
        kind = NotFound
    elif failure.status == 429:
        kind = RateLimited
    elif failure.error == "UnexpectedResponse" and (failure.status or 500) < 500:
        kind = UnexpectedResponse
    elif failure.status is not None and 400 <= failure.status < 500:
        kind = InvalidRequest
    return kind(failure)
