"""The admin socket: HTTP on a Unix socket in the data directory, for this machine's operator.

Owns the path, its permissions and the routes; `admin_client` is the other end. Only who may use the
data directory may use the socket (mode 0600): there is no other authentication. It is opened while
the database is held, so a socket that is already there belongs to nobody.
"""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atdata_indexer import overview
from atdata_indexer.daemon import Indexer
from atdata_indexer.errors import StoreError
from atdata_indexer.http_server import serving
from atdata_indexer.rates import Rates

SOCKET = "admin.sock"
_LONGEST = 107
"""The most bytes that the path of a Unix socket may have (Linux)."""

_SAMPLED_S = 1.0


@asynccontextmanager
async def admin_socket(data_dir: Path, indexer: Indexer) -> AsyncIterator[Path]:
    """Answer on the socket of `data_dir` until the block ends; gives its path."""
    rates = Rates()
    path = data_dir / SOCKET
    with _listening(path) as listener:
        sampling = asyncio.create_task(_sample(rates, indexer))
        try:
            async with serving(create_app(indexer, rates), listener):
                yield path
        finally:
            sampling.cancel()


def create_app(indexer: Indexer, rates: Rates) -> Starlette:
    """The routes over a running indexer: GET reads, POST commands."""

    def get(name: str, answer: Callable[[Request], Any]) -> Route:
        return Route(f"/{name}", _answering(answer), methods=["GET"])

    def post(name: str, answer: Callable[[Request], Any]) -> Route:
        return Route(f"/{name}", _answering(answer), methods=["POST"])

    def changes(request: Request) -> Any:
        asked = request.query_params
        return indexer.changes(int(asked["after"]), int(asked["until"]))

    def take_down(request: Request) -> Any:
        asked = request.query_params
        taken = indexer.upkeep.take_down(asked["subject"], asked["reason"])
        indexer.check_export()
        return taken

    def backup(request: Request) -> Any:
        folder = Path(request.query_params["folder"])
        if not folder.is_absolute():
            raise StoreError(f"{folder} is not an absolute path")
        return indexer.upkeep.backup(folder)

    def backfill(request: Request) -> Any:
        indexer.begin_backfill(request.query_params.getlist("host"))
        return True

    return Starlette(
        routes=[
            get("record-status", lambda asked: indexer.record_status(asked.query_params["uri"])),
            get("pds", lambda asked: indexer.pds(asked.query_params["did"]) or ""),
            get("account-counts", lambda _: dict(indexer.account_counts())),
            get("sources", lambda _: list(indexer.sources())),
            get("head", lambda _: indexer.head()),
            get("changes-span", lambda _: indexer.changes_span()),
            get("changes", changes),
            get("overview", lambda _: overview.of_running(indexer, rates.per_second())),
            post("backfill", backfill),
            post("verify", lambda _: indexer.upkeep.verify()),
            post("sample", lambda asked: indexer.sample(int(asked.query_params["size"]))),
            post("rebuild", lambda _: indexer.upkeep.rebuild()),
            post("backup", backup),
            post("export", lambda _: indexer.export()),
            get("takedowns", lambda _: list(indexer.upkeep.takedowns())),
            post("take-down", take_down),
            post("put-back", lambda asked: indexer.upkeep.put_back(asked.query_params["subject"])),
        ]
    )


def _answering(answer: Callable[[Request], Any]) -> Callable[[Request], Response]:
    """An endpoint that gives a value as JSON, and why it could not as words. Runs in a thread."""

    def endpoint(request: Request) -> Response:
        try:
            value = answer(request)
        except (StoreError, OSError) as error:  # the latter of what it writes: a full disk
            body = json.dumps({"message": str(error)})
            return Response(body, 409, media_type="application/json")
        return Response(TypeAdapter(type(value)).dump_json(value), media_type="application/json")

    return endpoint


async def _sample(rates: Rates, indexer: Indexer) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        rates.note(clock(), overview.counters(indexer))
        await asyncio.sleep(_SAMPLED_S)


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A socket at `path` that only its owner may connect to; gone when the block ends.

    It is bound under another name and takes its own when its mode is set: at no moment can anybody
    else connect, and one that was left behind is replaced.
    """
    binding = path.with_suffix(".new")
    if len(os.fsencode(binding)) > _LONGEST:
        raise StoreError(
            f"{path} is too long for a socket, which may have {_LONGEST} bytes: choose a shorter"
            " data directory, or a relative one"
        )
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            binding.unlink(missing_ok=True)
            listener.bind(str(binding))
            binding.chmod(0o600)
            listener.listen(64)
            binding.replace(path)
        except OSError as error:
            raise StoreError(f"cannot open the socket {path}: {error}") from error
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)
