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
├── SchemaChanged              a published version of a schema would change (a ValueError)
├── SampleMismatch             a sample is not what its schema says (a ValueError)
├── IncompatibleType           samples of a schema do not load as a class (ValueError and TypeError)
├── NoLensPath                 no registered lenses lead from a dataset to a class (a LookupError)
├── CodeNotPublished           a lens's code is not where others can read it (NotImplementedError)
├── NotIndexed                 the index does not show what was published: `status` says why
├── PublishInterrupted         a bulk publish got only part of the way: `plan` is how to go on
└── UnsafeUrlError             shards that opening would run as a command (a ValueError)

ValidationError (of `atdata_schemas`, a ValueError): a record breaks a rule of its lexicon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atdata_schemas.errors import ValidationError

if TYPE_CHECKING:
    from atdata_client._index.views import RecordStatus
    from atdata_client.bulk import Plan
    from atdata_client.compatibility import Compatibility

__all__ = [
    "AtdataClientError",
    "AuthenticationError",
    "CodeNotPublished",
    "Failure",
    "IdentityError",
    "IncompatibleType",
    "IndexClientError",
    "IndexUnavailable",
    "InvalidRequest",
    "NoLensPath",
    "NotFound",
    "NotIndexed",
    "PdsError",
    "PublishInterrupted",
    "RateLimited",
    "RecordNotFound",
    "SampleMismatch",
    "SchemaChanged",
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

    def __reduce__(self) -> tuple[object, ...]:
        # Workers hand errors on as pickles, which would call `__init__` with the message alone.
        return _restored, (type(self), self.args), self.__dict__


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


class SchemaChanged(AtdataClientError, ValueError):
    """A sample class has changed since its schema was published, and its version has not.

    `uri` is the schema that was published, `compatibility` how the class differs from it, and
    `version` one that fits the change.
    """

    def __init__(self, name: str, old: str, uri: str, found: Compatibility, version: str) -> None:
        super().__init__(
            f"{name} {old} is published as {uri} and has changed since ({found}): "
            f"publish it as another version, such as {version}"
        )
        self.uri = uri
        self.compatibility = found
        self.version = version


class SampleMismatch(AtdataClientError, ValueError):
    """A sample is not what its schema says.

    `field` is the name of the field (`box.corners` within a nested sample), `rule` what it breaks:
    `required`, `type`, `dtype` or `shape`.
    """

    def __init__(self, field: str, rule: str, message: str) -> None:
        super().__init__(f"field {field!r} breaks {rule}: {message}")
        self.field = field
        self.rule = rule
        self.message = message


class UnsafeUrlError(AtdataClientError, ValueError):
    """Shards of somebody's record that would not be read but run (`pipe:` and its disguises)."""


class IncompatibleType(AtdataClientError, ValueError, TypeError):
    """Samples of a published schema do not load as a class; `compatibility` has the reasons."""

    def __init__(self, uri: str, cls: type, found: Compatibility) -> None:
        super().__init__(f"samples of {uri} do not load as {cls.__name__} ({found})")
        self.compatibility = found


class NoLensPath(AtdataClientError, LookupError, ValueError):
    """The lenses registered in this process do not lead from a dataset's samples to a class."""


class CodeNotPublished(AtdataClientError, NotImplementedError):
    """The code of a lens is not where others can read it, so a record cannot refer to it.

    `reason` is what git has against it.
    """

    ASK = "Inline code storage not yet supported. Please provide code_repository and code_commit."

    def __init__(self, reason: str) -> None:
        super().__init__(f"{self.ASK} They cannot be read from git: {reason}")
        self.reason = reason


class NotIndexed(AtdataClientError):
    """A record was published, and the index does not show it.

    `uri` is the record's, `status` what the index last said of it, None when it said nothing.
    """

    def __init__(self, uri: str, message: str, status: RecordStatus | None) -> None:
        super().__init__(f"{uri} is published, but {message}")
        self.uri = uri
        self.status = status


class PublishInterrupted(AtdataClientError):
    """A bulk publish got only part of the way; its commits are each done wholly or not at all.

    `published` are the AT-URIs known to be on the PDS. `publish_many(client, error.plan)` goes on
    with the rest. The failure itself is the `__cause__`.
    """

    def __init__(self, published: tuple[str, ...], plan: Plan, why: Exception) -> None:
        super().__init__(f"{len(published)} of {len(plan.writes)} records are published: {why}")
        self.published = published
        self.plan = plan


def _restored(kind: type[AtdataClientError], args: tuple[object, ...]) -> AtdataClientError:
    """An error as it was pickled, but for its attributes."""
    return kind.__new__(kind, *args)
