"""The errors of this package. Wrong arguments are plain ValueErrors, as in the standard library.

AtdataClientError
├── XrpcError                  a service refused or did not answer: service, status, error, message
│   ├── PdsError               … a PDS
│   │   ├── AuthenticationError   wrong, missing or expired credentials
│   │   ├── RecordNotFound        no such record or repository there
│   │   └── SwapConflict          the record is no longer the version that was named
│   └── IndexClientError       … the index
│       ├── IndexUnavailable      no answer, or one that says "not now"
│       ├── InvalidRequest        the query is not one the index takes
│       ├── NotFound              not in the index; `IndexClient.record_status` says why
│       ├── RateLimited           too many requests; `retry_after` seconds
│       └── UnexpectedResponse    an answer that is not an AppView's
├── IdentityError              a handle or DID does not lead to a PDS that may be asked
├── UnsupportedTypeError       a field's type has no place in a schema (ValueError and TypeError)
└── UnsafeUrlError             shards that opening would run as a command (a ValueError)

ValidationError (of `atdata_schemas`, a ValueError): a record breaks a rule of its lexicon.
"""

from dataclasses import dataclass

from atdata_schemas.errors import ValidationError

__all__ = [
    "AtdataClientError",
    "AuthenticationError",
    "Failure",
    "IdentityError",
    "IndexClientError",
    "IndexUnavailable",
    "InvalidRequest",
    "NotFound",
    "PdsError",
    "RateLimited",
    "RecordNotFound",
    "SwapConflict",
    "UnexpectedResponse",
    "UnsafeUrlError",
    "UnsupportedTypeError",
    "ValidationError",
    "XrpcError",
]


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known of a call that failed.

    `service` is the base URL that was asked; `status` the HTTP status, None when no answer came;
    `error` and `message` are those of the XRPC error body, or our own words where there was none;
    `retry_after` is the wait in seconds that the service asked for, None when it named none.
    """

    service: str
    status: int | None
    error: str
    message: str
    retry_after: float | None = None


class AtdataClientError(Exception):
    """Any failure this package reports on purpose, wrong arguments apart."""


class XrpcError(AtdataClientError):
    """A service refused a call or did not answer. The attributes are those of `Failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.service}: {failure.error}: {failure.message}")
        self.service = failure.service
        self.status = failure.status
        self.error = failure.error
        self.message = failure.message
        self.retry_after = failure.retry_after

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.status is None or self.status in {429, 502, 503, 504}


class PdsError(XrpcError):
    """A PDS refused a call or did not answer."""


class AuthenticationError(PdsError):
    """Wrong, missing or expired credentials."""


class RecordNotFound(PdsError):
    """The PDS holds no such record, or no such repository."""


class SwapConflict(PdsError):
    """The record is no longer the version that was named: read it again before writing."""


class IndexClientError(XrpcError):
    """The index refused a query or did not answer."""


class IndexUnavailable(IndexClientError):
    """The index could not be reached, or answered that it cannot serve now."""


class InvalidRequest(IndexClientError):
    """The index does not take this query; `error` tells an ill-formed cursor from the rest."""


class NotFound(IndexClientError):
    """Not in the index: unseen, not valid, deleted or hidden."""


class RateLimited(IndexClientError):
    """Too many requests, and the wait asked for is longer than this client waits by itself."""


class UnexpectedResponse(IndexClientError):
    """The answer is not one an AppView of this project gives: is the address right?"""


class IdentityError(AtdataClientError):
    """A handle or DID that does not lead to a PDS, or to none that may be asked."""


class UnsupportedTypeError(AtdataClientError, ValueError, TypeError):
    """A type annotation that no schema can express.

    `field` is the name of the field (None where the type stood alone), `python_type` the type.
    """

    def __init__(self, python_type: object, field: str | None = None, why: str = "") -> None:
        where = f" (field {field!r})" if field is not None else ""
        super().__init__(f"Unsupported type: {python_type}{where}{': ' if why else ''}{why}")
        self.python_type = python_type
        self.field = field


class UnsafeUrlError(AtdataClientError, ValueError):
    """Shards of somebody's record that would not be read but run (`pipe:` and its disguises)."""
