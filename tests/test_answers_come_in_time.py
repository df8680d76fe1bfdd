"""Every answer begins in time or is refused, whatever is asked; nobody holds up anybody else."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from starlette.responses import PlainTextResponse
from starlette.testclient import WebSocketDenialResponse
from starlette.types import ASGIApp

from atdata_api import caching, protocol, timely
from atdata_api.answering import Answering
from atdata_api.app import create_app
from atdata_api.caching import LARGE, Cached
from atdata_api.front import front
from atdata_api.protocol import Protocol
from atdata_api.server import listen
from atdata_api.timely import Timely
from atdata_api.xrpc import add_query
from atdata_indexer.admin_client import AdminClient
from atdata_indexer.exports import Export, Exports
from atdata_indexer.http_server import Server
from atdata_indexer.index.query import Search
from atdata_indexer.index.reader import Reader
from atdata_indexer.settings import Settings
from tests.appview import PATIENCE_S, until, wait_until
from tests.asking import NS
from tests.small_index import BOB, SmallIndex, row, schema
from tests.small_index import DATASET as COLLECTION

RKEY = "3kdatasetaaaa"
DATASET = f"at://{BOB}/{COLLECTION}/{RKEY}"
WHALES = {
    "$type": COLLECTION,
    "name": "Whale calls",
    "schemaRef": schema().uri,
    "urls": ["https://data.example.com/whales.tar"],
    "createdAt": "2026-01-02T03:04:05Z",
}
ASKED = {
    "query": f"/xrpc/{NS}.searchDatasets?q=whale",
    "query of the other namespace": "/xrpc/science.alt.dataset.searchDatasets",
    "record": f"/xrpc/com.atproto.repo.getRecord?repo={BOB}&collection={COLLECTION}&rkey={RKEY}",
    "page": f"/at/{DATASET.removeprefix('at://')}",
    "croissant": f"/at/{DATASET.removeprefix('at://')}?format=croissant",
    "feed": "/feeds/datasets.atom",
    "health": "/xrpc/_health",
}
OF_EXPORT = ("/sitemap.xml", "/sitemap/0.xml", "/export/", "/export/datasets.parquet")
A_MOMENT_S = 0.3
"""Long enough for a question to come to where it is held."""


class Gate:
    """Where calls wait until it is opened; `calls` is how many came, `given_up` whether one went
    on because it never was.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.given_up = False
        self._opened = threading.Event()

    def __call__(self) -> None:
        self.calls += 1
        self.given_up |= not self._opened.wait(PATIENCE_S / 4)

    def open(self) -> None:
        self._opened.set()


class HeldReader(Reader):
    """A reader as on a disk that hangs."""

    def __init__(self, folder: Path, gate: Gate) -> None:
        super().__init__(folder)
        super().refresh()
        self._gate = gate

    def search(self, search: Search, **options: Any) -> Any:
        self._gate()
        return super().search(search, **options)

    def get(self, kind: str, uris: Any) -> list[str]:
        self._gate()
        return super().get(kind, uris)

    def refresh(self, *, anew: bool = False) -> int:
        self._gate()
        return super().refresh(anew=anew)


class HeldExports(Exports):
    """Exports on a disk that hangs."""

    def __init__(self, folder: Path, gate: Gate) -> None:
        super().__init__(folder)
        self._gate = gate

    def current(self) -> Export | None:
        self._gate()
        return super().current()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a small index."""
    small = SmallIndex(tmp_path_factory.mktemp("small"))
    whales = row(BOB, COLLECTION, RKEY, json.dumps(WHALES), schema_uri=schema().uri)
    small.put([schema(), whales])
    small.close()
    return small.folder


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://appview.test")


def is_overloaded(response: httpx.Response | WebSocketDenialResponse) -> bool:
    assert response.json().keys() == {"error", "message"}
    assert int(response.headers["retry-after"]) > 0
    return (response.status_code, response.json()["error"]) == (503, "Overloaded")


@pytest.mark.parametrize("path", ASKED.values(), ids=[*ASKED])
async def test_an_answer_that_takes_too_long_is_given_up(
    folder: Path, gate: Gate, path: str
) -> None:
    app = create_app(HeldReader(folder / "index", gate), AdminClient(folder))
    async with client_of(Timely(app, A_MOMENT_S)) as client:
        assert is_overloaded(await client.get(path))
    await until(lambda: gate.calls == 1)
    gate.open()
    async with client_of(Timely(app)) as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("path", OF_EXPORT)
async def test_so_is_what_is_made_from_the_export(folder: Path, gate: Gate, path: str) -> None:
    exports = HeldExports(folder, gate)
    app = create_app(Reader(folder / "index"), AdminClient(folder), exports=exports)
    async with client_of(Timely(app, A_MOMENT_S)) as client:
        assert is_overloaded(await client.get(path))
    await until(lambda: gate.calls == 1)
    gate.open()
    async with client_of(Timely(app)) as client:
        assert (await client.get(path)).json()["error"] == "NotExported"


def test_so_is_a_follower_that_cannot_be_let_in(folder: Path, gate: Gate) -> None:
    app = create_app(HeldReader(folder / "index", gate), AdminClient(folder))
    with (
        TestClient(Timely(app, A_MOMENT_S)) as client,
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect(f"/xrpc/{NS}.subscribeChanges?authors=alice.test"),
    ):
        pass
    wait_until(lambda: gate.calls == 1)
    assert is_overloaded(refused.value)
    gate.open()


async def test_the_server_keeps_to_it(
    folder: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timely, "ANSWER_S", A_MOMENT_S)
    reader = HeldReader(folder / "index", gate)
    settings = Settings(data_dir=folder, port=0)
    async with (
        front(settings, reader, AdminClient(folder), CollectorRegistry()) as server,
        serving(server) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        for path in ASKED.values():
            answer = await client.get(path)
            assert is_overloaded(answer)
            assert answer.headers["access-control-allow-origin"] == "*"
    await until(lambda: gate.calls == len(ASKED))


async def test_an_answer_that_began_in_time_may_be_sent_for_long(gate: Gate) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.to_thread(gate)
        await send({"type": "http.response.body", "body": b"all of it"})

    limit_s = A_MOMENT_S / 3
    asyncio.get_running_loop().call_later(A_MOMENT_S, gate.open)
    async with client_of(Timely(app, limit_s)) as client:
        answer = await client.get("/")
    assert gate.calls == 1
    assert (answer.status_code, answer.text) == (200, "all of it")


async def test_what_takes_too_long_is_never_more_than_there_are_threads(gate: Gate) -> None:
    def answer(request: Request) -> Response:
        gate()
        return PlainTextResponse("done")

    app = FastAPI()
    Answering(app, threads=2).add("/slow", answer, "slow")
    async with client_of(Timely(app, A_MOMENT_S)) as client:
        for _ in range(5):
            assert is_overloaded(await client.get("/slow"))
    await until(lambda: gate.calls >= 2)
    assert gate.calls == 2, "the others have waited for their turn"
    gate.open()
    async with client_of(Timely(app)) as client:
        assert (await client.get("/slow")).text == "done"
    assert gate.calls == 3, "who has gone is not answered"


def test_an_indexer_that_does_not_answer_says_when_to_come_back(folder: Path) -> None:
    with TestClient(create_app(Reader(folder / "index"), AdminClient(folder))) as client:
        answer = client.get(f"/xrpc/{NS}.getRecordStatus", params={"uri": DATASET})
    assert (answer.status_code, answer.json()["error"]) == (503, "IndexerUnavailable")
    assert int(answer.headers["retry-after"]) > 0


# --- the event loop is everybody's ------------------------------------------------------------


class SlowToWrite(dict[str, Any]):
    """An answer that waits while it is made JSON of."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(answer=1)
        self._gate = gate

    def items(self) -> Any:
        self._gate()
        return super().items()


async def test_while_an_answer_is_made_json_of_others_are_answered(gate: Gate) -> None:
    app = FastAPI()
    answering = Answering(app)
    add_query(answering, f"{NS}.listTags", lambda params: SlowToWrite(gate))
    add_query(answering, f"{NS}.describeService", lambda params: "{}")
    async with client_of(app) as client:
        slow = asyncio.create_task(client.get(f"/xrpc/{NS}.listTags"))
        await until(lambda: gate.calls == 1)
        assert (await client.get(f"/xrpc/{NS}.describeService")).text == "{}"
        assert not gate.given_up
        gate.open()
        assert (await slow).json() == {"answer": 1}


async def test_while_a_large_answer_is_hashed_and_compressed_others_are_answered(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_threads: dict[int, bool] = {}
    ours = threading.get_ident()

    def hashing(body: bytes, **options: Any) -> Any:
        in_threads[len(body)] = threading.get_ident() != ours
        if len(body) >= LARGE:
            gate()
        return blake2b(body, **options)

    monkeypatch.setattr(caching, "blake2b", hashing)
    bodies = {"/large": "x" * LARGE, "/small": "x" * (LARGE - 1)}
    app = FastAPI()
    for path in bodies:
        Answering(app).add(path, lambda request: PlainTextResponse(bodies[request.url.path]), path)
    async with client_of(Cached(app)) as client:
        large = asyncio.create_task(client.get("/large"))
        await until(lambda: gate.calls == 1)
        small = await client.get("/small")
        assert small.headers["content-encoding"] == "gzip"
        assert small.text == bodies["/small"]
        assert not gate.given_up
        gate.open()
        assert (await large).headers["content-encoding"] == "gzip"
        assert (await large).text == bodies["/large"]
    assert in_threads == {LARGE: True, LARGE - 1: False}


# --- an answer is taken, or given up ----------------------------------------------------------

BODY = 64 << 20
"""More than an operating system takes for one who does not read."""


async def _endless(scope: Any, receive: Any, send: Any) -> None:
    size = str(BODY).encode()
    headers = [(b"content-length", size)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(BODY)})


async def test_who_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SEND_S", 0.2)
    server = Server(_endless, http=Protocol)
    async with serving(server) as url:
        with asking(url) as sock:
            await until(lambda: len(server.server_state.connections) == 1)
            await until(lambda: not server.server_state.connections)
            got = await asyncio.to_thread(read, sock, 2 * BODY)
    assert 0 < got < BODY, "only what was on its way"


async def test_who_takes_it_slowly_gets_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    look = Protocol._not_taken

    def counted(connection: Protocol, waiting: int) -> None:
        looked.append(waiting)
        look(connection, waiting)

    monkeypatch.setattr(protocol, "SEND_S", 0.3)
    monkeypatch.setattr(Protocol, "_not_taken", counted)
    async with serving(Server(_endless, http=Protocol)) as url:
        with asking(url) as sock:
            got = 0
            for times in range(4):  # something each time before it is looked at again
                got += await asyncio.to_thread(read, sock, BODY // 8)
                await until(lambda: len(looked) > times)  # noqa: B023 - awaited here
            while got < BODY:
                got += await asyncio.to_thread(read, sock, BODY - got)
    assert looked == sorted(looked, reverse=True)


def asking(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    sock = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return sock


def read(sock: socket.socket, most: int) -> int:
    """Read so much, or to the end."""
    got = 0
    while got < most and (piece := sock.recv(min(1 << 20, most - got))):
        got += len(piece)
    return got


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    with listen("127.0.0.1", 0) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
