"""The atproto SDK at the edge of this package: its clients, its errors, its tokens."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from atdata_client.errors import (
    AuthenticationError,
    Failure,
    PdsError,
    RecordNotFound,
    SwapConflict,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atproto import Client, Session

TIMEOUT = 10.0
"""Seconds, per step of a request."""


def pds_error(failure: Failure) -> PdsError:
    """The error class of a failed call to a PDS."""
    kind = PdsError
    if failure.error in {"RecordNotFound", "RepoNotFound"}:
        kind = RecordNotFound
    elif failure.error == "InvalidSwap":
        kind = SwapConflict
    elif failure.status in {401, 403} or failure.error in {"ExpiredToken", "InvalidToken"}:
        kind = AuthenticationError
    return kind(failure)


def new_client(url: str | None) -> Client:
    """A client of the PDS at `url`, of the SDK's default without one."""
    from atproto import Client, Request

    from atdata_client._net.http import user_agent

    sdk = Client(url, request=Request(timeout=TIMEOUT))
    sdk.request.add_additional_header("User-Agent", user_agent())
    return sdk


def url_of(sdk: Client) -> str:
    """The base URL of the service a client talks to."""
    # The SDK has no other word for it.
    return str(sdk._base_url).removesuffix("/xrpc")


@contextmanager
def sdk_errors(sdk: Client) -> Iterator[None]:
    """Turn what the SDK raises into this package's errors."""
    from atproto.exceptions import AtProtocolError, RequestErrorBase

    try:
        yield
    except RequestErrorBase as error:
        if error.response is None:
            cause = str(error.__cause__ or "") or type(error).__name__
            raise pds_error(Failure(url_of(sdk), None, "Unreachable", cause)) from error
        content, status = error.response.content, error.response.status_code
        name = getattr(content, "error", None) or "UnexpectedResponse"
        message = getattr(content, "message", None) or f"HTTP {status}"
        wait = getattr(error, "retry_after", None)
        raise pds_error(Failure(url_of(sdk), status, name, message, wait)) from error
    except AtProtocolError as error:
        words = str(error) or type(error).__name__
        raise pds_error(Failure(url_of(sdk), 200, "UnexpectedResponse", words)) from error


def json_object(sdk: Client, answer: Any) -> dict[str, Any]:
    """The JSON object a service answered with. Raises PdsError when it is none."""
    if not isinstance(answer.content, dict):
        raise pds_error(Failure(url_of(sdk), 200, "UnexpectedResponse", "not a JSON object"))
    return answer.content


def subject(token: str) -> str:
    """The DID an access token is for, unverified: the PDS does that.

    Raises AuthenticationError for a token that names none.
    """
    from atproto import get_jwt_payload
    from atproto.exceptions import AtProtocolError

    from atdata_schemas.syntax import is_did

    try:
        did = get_jwt_payload(token).sub
    except (AtProtocolError, ValueError) as error:
        raise pds_error(Failure("access token", None, "InvalidToken", str(error))) from error
    if not isinstance(did, str) or not is_did(did):
        raise pds_error(Failure("access token", None, "InvalidToken", "it names no account"))
    return did


def session_of(text: str) -> Session:
    """The session in a text that the SDK exported. Raises AuthenticationError when it is none."""
    from atproto import Session

    try:
        session = Session.decode(text)
        subject(session.access_jwt)
    except (ValueError, TypeError, IndexError) as error:
        # Never the text itself: it may be most of a session.
        raise pds_error(Failure("session", None, "InvalidToken", "not a session")) from error
    return session
