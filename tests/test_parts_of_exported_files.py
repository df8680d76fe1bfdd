"""Files of the export in whole and in parts, as RFC 9110 has it; gone is gone, open is whole."""

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from atdata_api.export import RETRY_S, ExportRoutes
from atdata_api.ranges import InvalidRange, NoSuchRange, parts_of
from atdata_api.xrpc import add_error_bodies
from atdata_indexer.exports import Export, Exports
from tests.small_index import NOW_US, SmallIndex, dataset, schema

PATH = "/export/datasets.parquet"


class WithdrawnExports(Exports):
    """Exports that are withdrawn by somebody else just before a file of theirs is opened."""

    withdrawn = 0

    def path(self, made: Export, name: str) -> Path:
        Exports(self._root.parent).withdraw()
        self.withdrawn += 1
        return super().path(made, name)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallIndex]:
    index = SmallIndex(tmp_path)
    photo = schema()
    index.put([photo, *(dataset(photo.uri, rkey=f"3kdataset{n:04}") for n in range(50))])
    Exports(tmp_path).make(index.store, NOW_US)
    yield index
    index.close()


def api(exports: Exports) -> httpx.AsyncClient:
    app = FastAPI()
    add_error_bodies(app)
    ExportRoutes(exports).add_to(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://index.example")


def whole_of(small: SmallIndex) -> bytes:
    exports = Exports(small.folder)
    made = exports.current()
    assert made is not None
    return exports.path(made, "datasets").read_bytes()


async def test_a_file_that_is_gone_before_it_is_opened_is_not_there_now(small: SmallIndex) -> None:
    exports = WithdrawnExports(small.folder)
    async with api(exports) as client:
        answer = await client.get(PATH)
        again = await client.get("/export/")
    assert exports.withdrawn == 1
    for one in (answer, again):
        assert (one.status_code, one.json()["error"]) == (503, "NotExported")
        assert one.headers["retry-after"] == str(RETRY_S)


@pytest.mark.parametrize(("asked", "begins"), [("", 0), ("bytes=10-", 10), ("bytes=0-3,100-", 100)])
async def test_a_file_that_is_withdrawn_while_it_is_read_is_read_to_its_end(
    small: SmallIndex, asked: str, begins: int
) -> None:
    exports = Exports(small.folder)
    made, whole = exports.current(), whole_of(small)
    assert made is not None
    app = FastAPI()
    ExportRoutes(exports).add_to(app)
    sent: list[bytes] = []

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            exports.withdraw()
            assert not exports.path(made, "datasets").exists()
        else:
            body = message.get("body", b"")
            assert isinstance(body, bytes)
            sent.append(body)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": PATH, "query_string": b""}
    scope["asgi"] = {"version": "3.0", "spec_version": "2.4"}
    scope["headers"] = [(b"range", asked.encode())] if asked else []
    await app(scope, receive, send)  # type: ignore[arg-type]  # plain dicts are what servers send
    assert exports.current() is None
    got = b"".join(sent)
    assert whole[begins:] in got


async def test_a_unit_that_is_not_known_is_ignored(small: SmallIndex) -> None:
    async with api(Exports(small.folder)) as client:
        for asked in ("rows=0-3", "lines", "seconds=1-2"):
            answer = await client.get(PATH, headers={"Range": asked})
            assert (answer.status_code, answer.content) == (200, whole_of(small))
        named = await client.get(PATH, headers={"Range": "BYTES=0-3"})
        assert (named.status_code, named.content) == (206, b"PAR1")


async def test_several_parts_come_each_under_its_own_head(small: SmallIndex) -> None:
    whole = whole_of(small)
    async with api(Exports(small.folder)) as client:
        answer = await client.get(PATH, headers={"Range": "bytes=-4, 0-3,2-9,999999999-"})
    assert answer.status_code == 206
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + answer.content).get_payload()
    assert isinstance(parts, list)
    said = [part["content-range"] for part in parts if isinstance(part, Message)]
    size = len(whole)
    assert said == [f"bytes 0-9/{size}", f"bytes {size - 4}-{size - 1}/{size}"]
    assert len(answer.content) == int(answer.headers["content-length"])
    mark = re.escape(answer.headers["content-type"].partition("boundary=")[2].encode())
    pieces = re.split(rb"\r\n--" + mark + rb"(?:--)?\r\n", answer.content)
    bodies = [piece.partition(b"\r\n\r\n")[2] for piece in pieces[1:-1]]
    assert bodies == [whole[:10], whole[-4:]]


async def test_a_part_is_of_the_file_it_is_asked_of(small: SmallIndex) -> None:
    """`If-Range` is a strong comparison, and only a GET has parts."""
    whole = whole_of(small)
    async with api(Exports(small.folder)) as client:
        head = await client.head(PATH, headers={"Range": "bytes=0-3"})
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole)))
        tag, date = head.headers["etag"], head.headers["last-modified"]
        part = await client.get(PATH, headers={"Range": "bytes=0-3", "If-Range": tag})
        assert (part.status_code, part.content) == (206, b"PAR1")
        assert part.headers["content-range"] == f"bytes 0-3/{len(whole)}"
        for other in (f"W/{tag}", '"other"', date, tag.strip('"'), f"{tag}, {tag}"):
            answer = await client.get(PATH, headers={"Range": "bytes=0-3", "If-Range": other})
            assert (answer.status_code, answer.content) == (200, whole)


async def test_who_has_the_file_is_told_so_and_nobody_else(small: SmallIndex) -> None:
    async with api(Exports(small.folder)) as client:
        tag = (await client.head(PATH)).headers["etag"]
        for known in (tag, f"W/{tag}", f'"a" , {tag}', "*", " * "):
            answer = await client.get(PATH, headers={"If-None-Match": known, "Range": "bytes=0-3"})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == tag
        two = await client.get(PATH, headers=[("If-None-Match", '"a"'), ("If-None-Match", tag)])
        assert two.status_code == 304
        for other in (f'"x{tag}x"', tag[1:-1], f"{tag}x", tag.replace('"', "'"), "", "**"):
            answer = await client.get(PATH, headers={"If-None-Match": other})
            assert (answer.status_code, len(answer.content)) == (200, len(whole_of(small)))


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ("bytes=0-0", [range(0, 1)]),
        ("bytes=5-", [range(5, 10)]),
        ("bytes=-3", [range(7, 10)]),
        ("bytes=-99", [range(0, 10)]),
        ("bytes=8-99999999999999999999", [range(8, 10)]),
        ("bytes = 0-1 , ,3-4", [range(0, 2), range(3, 5)]),
        ("bytes=4-6,0-4", [range(0, 7)]),
        ("bytes=0-3,4-5", [range(0, 6)]),
        ("bytes=" + "0-1," * 101, None),
        ("", None),
        ("parsecs=1-2", None),
        ("bytes=10-", NoSuchRange),
        ("bytes=-0", NoSuchRange),
        ("bytes=10-11,20-", NoSuchRange),
        ("bytes", InvalidRange),
        ("bytes=", InvalidRange),
        ("bytes=-", InvalidRange),
        ("bytes=3-1", InvalidRange),
        ("bytes=a-b", InvalidRange),
        ("bytes=0x1-2", InvalidRange),
        ("bytes=١-٢", InvalidRange),
        ("bytes=+1-2", InvalidRange),
        ("bytes=--1", InvalidRange),
        ("bytes=1-2-3", InvalidRange),
        ("bytes=" + "9" * 5000 + "-", InvalidRange),
    ],
)
def test_what_a_range_says(asked: str, parts: list[range] | type[Exception] | None) -> None:
    if isinstance(parts, type):
        with pytest.raises(parts):
            parts_of(asked, 10)
    else:
        assert parts_of(asked, 10) == parts


def test_an_empty_file_has_no_part() -> None:
    for asked in ("bytes=0-", "bytes=-1"):
        with pytest.raises(NoSuchRange):
            parts_of(asked, 0)
