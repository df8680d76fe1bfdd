"""`/export/`: the Parquet files of the index, in whole or in part, and what they are.

A file's tag is its hash. Readers of columns ask for a file piece by piece; all pieces with one tag
are of one file, and one that asks `If-Range` gets the whole of the new one when it was made anew.
A file is open before its answer begins: what is withdrawn then is read to its end or not at all.
"""

import json
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from email.utils import formatdate
from typing import BinaryIO

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from atdata_api.errors import XrpcError
from atdata_api.ranges import InvalidRange, NoSuchRange, parts_of
from atdata_api.xrpc import json_response
from atdata_indexer.export import COLUMNS
from atdata_indexer.exports import Export, Exports

MEDIA_TYPE = "application/vnd.apache.parquet"
RETRY_S = 60
"""When to come back while there is no export: the next is not made at once."""
_CHUNK = 1 << 18


class ExportRoutes:
    """Offers what the indexer exported into its data directory; None: nothing can be."""

    def __init__(self, exports: Exports | None) -> None:
        self._exports = exports

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        methods = ["GET", "HEAD"]
        for path in ("/export", "/export/"):
            app.add_api_route(
                path, self._overview, methods=methods, include_in_schema=False, name="export"
            )
        app.add_api_route(
            "/export/{file}", self._file, methods=methods, include_in_schema=False, name="export"
        )

    def current(self) -> tuple[Exports, Export]:
        """The export that is offered. Raises XrpcError when there is none."""
        made = None if self._exports is None else self._exports.current()
        if self._exports is None or made is None:
            raise _not_exported("there is no export now: one is being made, or is made at night")
        return self._exports, made

    async def _overview(self, request: Request) -> Response:
        _, made = await run_in_threadpool(self.current)
        about = {"epoch": made.epoch, "seq": made.seq, "madeAt": made.made_at}
        files = [{"name": f"{name}.parquet"} | asdict(one) for name, one in made.files.items()]
        return json_response(json.dumps(about | {"files": files}))

    async def _file(self, request: Request, file: str) -> Response:
        name = file.removesuffix(".parquet")
        if name not in COLUMNS or name == file:
            known = ", ".join(f"{one}.parquet" for one in COLUMNS)
            raise HTTPException(404, f"no such file; there are {known}")
        opened, tag = await run_in_threadpool(self._open, name)
        try:
            return _answer(request, opened, tag)
        except BaseException:
            opened.close()
            raise

    def _open(self, name: str) -> tuple[BinaryIO, str]:
        """A file of the export, and its tag. Raises XrpcError."""
        exports, made = self.current()
        try:
            return exports.path(made, name).open("rb"), f'"{made.files[name].sha256}"'
        except FileNotFoundError as error:
            raise _not_exported("the export has just been withdrawn") from error


def _answer(request: Request, file: BinaryIO, tag: str) -> Response:
    """What a request gets of an open file."""
    stat = os.fstat(file.fileno())
    size = stat.st_size
    headers = {
        "ETag": tag,
        "Cache-Control": "no-cache",
        "Accept-Ranges": "bytes",
        "Last-Modified": formatdate(stat.st_mtime, usegmt=True),
    }
    if _has_it(request.headers, tag):
        return _Part(file, (), 304, headers)
    try:
        parts = parts_of(request.headers["range"], size) if _asks_for_parts(request, tag) else None
    except (InvalidRange, NoSuchRange) as error:
        file.close()
        status = 416 if isinstance(error, NoSuchRange) else 400
        words = {"error": "InvalidRequest", "message": "the file has no such range"}
        refused = json_response(json.dumps(words), status)
        refused.headers["Content-Range"] = f"bytes */{size}"
        return refused
    status, media_type, pieces = 206, MEDIA_TYPE, list[bytes | range](parts or ())
    if parts is None:
        status, pieces = 200, [range(size)]
    elif len(parts) == 1:
        headers["Content-Range"] = _content_range(parts[0], size)
    else:
        mark = secrets.token_hex(16)
        media_type, pieces = f"multipart/byteranges; boundary={mark}", _multipart(parts, size, mark)
    headers |= {"Content-Type": media_type, "Content-Length": str(sum(map(len, pieces)))}
    return _Part(file, () if request.method == "HEAD" else pieces, status, headers)


def _has_it(asked: Headers, tag: str) -> bool:
    """Whether the client has the file already; tags are compared weakly (section 13.1.2)."""
    said = [one.strip() for line in asked.getlist("if-none-match") for one in line.split(",")]
    return said == ["*"] or tag in (one.removeprefix("W/") for one in said)


def _asks_for_parts(request: Request, tag: str) -> bool:
    """Whether a range counts: of a GET (section 14.2), and of this very file (section 13.1.5).

    A date is no strong validator here, as two exports may be of one second; who has a tag, as
    everyone has, may not send one anyway.
    """
    is_asked = request.method == "GET" and "range" in request.headers
    return is_asked and request.headers.get("if-range", tag).strip() == tag


def _multipart(parts: Sequence[range], size: int, mark: str) -> list[bytes | range]:
    """Several parts behind one another, each under its own head (section 14.6)."""
    pieces: list[bytes | range] = []
    for part in parts:
        head = f"Content-Type: {MEDIA_TYPE}\r\nContent-Range: {_content_range(part, size)}"
        pieces += [f"\r\n--{mark}\r\n{head}\r\n\r\n".encode(), part]
    return [*pieces, f"\r\n--{mark}--\r\n".encode()]


def _content_range(part: range, size: int) -> str:
    return f"bytes {part.start}-{part.stop - 1}/{size}"


def _not_exported(words: str) -> XrpcError:
    return XrpcError(503, "NotExported", words, RETRY_S)


class _Part(StreamingResponse):
    """Pieces of an open file, and what stands between them; closes it."""

    def __init__(
        self,
        file: BinaryIO,
        pieces: Sequence[bytes | range],
        status: int,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(self._chunks(pieces), status, headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)

    async def _chunks(self, pieces: Sequence[bytes | range]) -> AsyncIterator[bytes]:
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            for at in range(piece.start, piece.stop, _CHUNK):
                yield await run_in_threadpool(self._read, at, min(_CHUNK, piece.stop - at))

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(size)
