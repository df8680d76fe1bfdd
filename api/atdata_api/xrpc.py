"""XRPC queries made from lexicons (https://atproto.com/specs/xrpc).

A handler takes checked parameters and gives JSON: a mapping, or text that already is JSON. Its
lexicon says which parameters there are; one that is unknown, repeated, missing or ill-formed is
refused before the handler runs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from atdata_api.answering import Answering
from atdata_api.errors import XrpcError
from atdata_indexer.errors import IndexerUnavailable, StoreError
from atdata_indexer.index.cursor import InvalidCursor
from atdata_schemas.errors import ValidationError
from atdata_schemas.lexicon import lexicons

NS = "app.bsky.atdata"

type Params = Mapping[str, Any]
type Handler = Callable[[Params], Mapping[str, Any] | str]

_NAMES = {
    400: "InvalidRequest",
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "PayloadTooLarge",
    501: "MethodNotImplemented",
}


def add_query(answering: Answering, nsid: str, handler: Handler, name: str | None = None) -> None:
    """Serve `nsid` by `handler` at `/xrpc/<nsid>`, or under another name."""

    def answer(request: Request) -> Response:
        params = lexicons().parse_params(nsid, request.query_params.multi_items())
        found = handler(params)
        return json_response(found if isinstance(found, str) else json.dumps(found))

    answering.add(f"/xrpc/{name or nsid}", answer, nsid)


def members(texts: Mapping[str, str]) -> str:
    """The JSON object whose members are these JSON texts."""
    return f"{{{', '.join(f'"{name}": {text}' for name, text in texts.items())}}}"


def array(texts: Sequence[str]) -> str:
    """The JSON array of these JSON texts."""
    return f"[{','.join(texts)}]"


def join(head: Mapping[str, Any], key: str, views: Sequence[str]) -> str:
    """The object `head` with one more member: the array of `views`, which are JSON already."""
    return f'{json.dumps(head)[:-1]}{", " if head else ""}"{key}": {array(views)}}}'


def json_response(text: str, status: int = 200) -> Response:
    """JSON text as a response."""
    return Response(text.encode(), status, media_type="application/json")


def failure(error: XrpcError) -> Response:
    """A failure as a response."""
    body = json.dumps({"error": error.error, "message": error.message})
    response = json_response(body, error.status)
    if error.retry_s is not None:
        response.headers["Retry-After"] = str(error.retry_s)
    return response


def add_error_bodies(app: FastAPI) -> None:
    """Let every failure be an XRPC error body, those of the framework included."""

    async def xrpc(request: Request, error: Exception) -> Response:
        assert isinstance(error, XrpcError)
        return failure(error)

    async def invalid(request: Request, error: Exception) -> Response:
        return failure(XrpcError(400, "InvalidRequest", str(error)))

    async def cursor(request: Request, error: Exception) -> Response:
        return failure(XrpcError(400, "InvalidCursor", str(error)))

    async def unusable(request: Request, error: Exception) -> Response:
        structlog.get_logger().error("index_unusable", error=str(error), path=request.url.path)
        return failure(XrpcError(503, "IndexUnavailable", "the index cannot be read now"))

    async def alone(request: Request, error: Exception) -> Response:
        structlog.get_logger().warning("indexer_unavailable", error=str(error))
        words = "the indexer does not answer; searches go on"
        return failure(XrpcError(503, "IndexerUnavailable", words))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status, message = error.status_code, str(error.detail)
        if status == 404 and request.url.path.startswith("/xrpc/"):
            status, message = 501, f"no method {request.url.path.removeprefix('/xrpc/')[:200]}"
        response = failure(XrpcError(status, _NAMES.get(status, "RequestFailed"), message))
        response.headers.update(error.headers or {})
        return response

    async def unexpected(request: Request, error: Exception) -> Response:
        structlog.get_logger().error("request_failed", path=request.url.path, exc_info=error)
        words = "something went wrong here; it was logged"
        return failure(XrpcError(500, "InternalServerError", words))

    app.add_exception_handler(XrpcError, xrpc)
    app.add_exception_handler(ValidationError, invalid)
    app.add_exception_handler(InvalidCursor, cursor)
    app.add_exception_handler(StoreError, unusable)
    app.add_exception_handler(IndexerUnavailable, alone)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)
