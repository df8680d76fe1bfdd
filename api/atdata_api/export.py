"""`/export/`: the Parquet files of the index, in whole or in part, and what they are.

A file's tag is its hash. Readers of columns ask for a file piece by piece; all pieces with one tag
are of one file, and one that asks `If-Range` gets the whole of the new one when it was made anew.
"""

import json
from dataclasses import asdict

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from atdata_api.errors import XrpcError
from atdata_api.xrpc import json_response
from atdata_indexer.export import COLUMNS
from atdata_indexer.exports import Export, Exports

MEDIA_TYPE = "application/vnd.apache.parquet"


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
            words = "there is no export now: one is being made, or is made at night"
            raise XrpcError(503, "NotExported", words)
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
        exports, made = await run_in_threadpool(self.current)
        path = exports.path(made, name)
        headers = {"ETag": f'"{made.files[name].sha256}"', "Cache-Control": "no-cache"}
        known_tags = request.headers.get("if-none-match", "")
        if headers["ETag"] in known_tags or known_tags.strip() == "*":
            return Response(status_code=304, headers=headers)
        try:
            stat = await run_in_threadpool(path.stat)
        except FileNotFoundError as error:
            raise XrpcError(503, "NotExported", "the export has just been withdrawn") from error
        return _Part(path, headers=headers, media_type=MEDIA_TYPE, stat_result=stat)


class _Part(FileResponse):
    """A file or parts of it; a range that it has not is refused as everything is here."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused: Response | None = None

        async def worded(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                words = {"error": "InvalidRequest", "message": "the file has no such range"}
                refused = json_response(json.dumps(words), message["status"])
                refused.headers["Content-Range"] = f"bytes */{self.headers['content-length']}"
                await refused(scope, receive, send)
            elif refused is None:
                await send(message)

        await super().__call__(scope, receive, worded)
