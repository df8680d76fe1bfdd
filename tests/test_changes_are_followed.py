"""Whoever follows the changes sees each one once, in order, whatever happens in between."""

import json
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from atdata_api.changes import CLOSE, NSID
from atdata_api.server import AppView
from atdata_client import Change, ChangeStream, IndexClient
from atdata_client.errors import InvalidRequest
from atdata_indexer.changes_feed import SHOWING
from atdata_indexer.playback import Playback
from atdata_schemas.lexicon import lexicons
from benchmarks.repos import Write
from tests.appview import serving, wait_until
from tests.asking import Api
from tests.contents import searchable
from tests.signed import Author, frame, path, record

KILLS = 50


@pytest.fixture(scope="module")
def appview(recorded_appview: AppView) -> AppView:
    return recorded_appview


@pytest.fixture(scope="module")
def expected(appview: AppView) -> Sequence[int]:
    """The seqs there are to tell: all but those that show what is hidden now."""
    with appview.indexer.store.reader() as db:
        rows = db.execute(
            "SELECT o.seq, o.op, r.state, p.status FROM outbox o"
            " LEFT JOIN records r ON r.uri = o.uri LEFT JOIN repos p ON p.did = o.did ORDER BY 1"
        ).fetchall()
    seqs = [seq for seq, op, _, status in rows if op not in SHOWING or status == "active"]
    assert len(rows) > len(seqs) > 700
    return seqs


@contextmanager
def joined(appview: AppView, **params: Any) -> Iterator[ClientConnection]:
    url = appview.url.replace("http", "ws", 1)
    url = f"{url}/xrpc/{NSID}?{urlencode(params, doseq=True)}"
    with connect(url, compression=None) as connection:
        yield connection


def reset(stream: ChangeStream) -> None:
    """What `kill -9` of a follower does to its connection, its buffers lost."""
    connection = stream._connection
    assert connection is not None
    linger = struct.pack("ii", 1, 0)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.socket.close()


def taken(stream: ChangeStream, last: int) -> list[Change]:
    changes = []
    for change in stream:
        changes.append(change)
        if change.seq >= last:
            break
    return changes


def to_the_end(connection: ClientConnection) -> tuple[list[Any], int]:
    """All messages there still are, and the code that the connection was closed with."""
    messages = []
    while True:
        try:
            messages.append(json.loads(connection.recv()))
        except ConnectionClosed as closed:
            return messages, 1006 if closed.rcvd is None else closed.rcvd.code


def test_one_that_is_killed_fifty_times_sees_each_change_once_and_in_order(
    appview: AppView, expected: Sequence[int]
) -> None:
    seen: list[int] = []
    cursor: str | int | None = 0
    kills = 0
    with IndexClient(appview.url) as index:
        while len(seen) < len(expected):
            stream = index.changes(cursor=cursor)
            for _ in range(len(expected) // KILLS):
                seen.append(next(stream).seq)
                cursor = stream.cursor
                if len(seen) == len(expected):
                    break
            reset(stream)
            kills += 1
    assert kills >= KILLS
    assert seen == expected


def test_applied_in_order_the_changes_make_the_index(
    appview: AppView, expected: Sequence[int]
) -> None:
    copy: dict[str, Any] = {}
    with joined(appview, cursor=0) as connection:
        while True:
            message = json.loads(connection.recv())
            lexicons().check_output(NSID, message)
            if message["$type"].endswith("#info"):
                if message["seq"] == appview.indexer.head():
                    break  # the last changes are left out, and the end of what is kept is told
                continue
            if "view" in message:
                copy[message["uri"]] = message["view"]
            elif message["op"] not in SHOWING:
                for uri in [one for one in copy if f"{one}/".startswith(f"{message['uri']}/")]:
                    del copy[uri]
    for view in copy.values():
        del view["indexedAt"]
    assert copy == searchable(appview.indexer.reader)


def test_a_slow_one_is_closed_with_the_documented_code_and_resumes(tmp_path: Path) -> None:
    author = Author("slow")
    long = record("Long") | {"description": "word " * 1000, "urls": ["s3://x/" + "y" * 990] * 10}
    commits = [  # more than any socket buffers
        author.write(*(Write("create", path(n), long) for n in range(100 * at, 100 * at + 100)))
        for at in range(5)
    ]
    playback = Playback([frame(one) for one in commits], {author.did: author.identity("127.0.0.1")})
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with serving(playback, tmp_path, follower_patience_s=1) as view:
        host, _, port = view.url.removeprefix("http://").partition(":")
        narrow.connect((host, int(port)))
        url = f"ws://{host}:{port}/xrpc/{NSID}?cursor=0"
        with connect(url, sock=narrow, compression=None, max_queue=1) as connection:
            with capture_logs() as logs:
                wait_until(lambda: any(line["event"] == "follower_refused" for line in logs))
            messages, code = to_the_end(connection)
        assert code == CLOSE["ConsumerTooSlow"] == 4000
        seen = [message["seq"] for message in messages if "uri" in message]
        head = view.indexer.head()
        assert 0 < len(seen) < head
        with IndexClient(view.url) as index, index.changes(cursor=seen[-1]) as stream:
            seen += [change.seq for change in taken(stream, head)]
    assert seen == list(range(1, head + 1))


def test_a_stream_goes_on_by_itself_when_the_service_comes_back(tmp_path: Path) -> None:
    author = Author("back")
    frames = [frame(author.create(number)) for number in range(20)]
    playback = Playback(frames[:10], {author.did: author.identity("127.0.0.1")})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with IndexClient(f"http://127.0.0.1:{port}") as index, index.changes(cursor=0) as stream:
        with serving(playback, tmp_path, port=port) as view:
            first = taken(stream, view.indexer.head())
        for one in frames[10:]:
            playback.append(one)
        with serving(playback, tmp_path, port=port) as view:
            then = taken(stream, view.indexer.head())
    assert len(then) >= 10
    seqs = [change.seq for change in first + then]
    assert seqs == list(range(1, len(seqs) + 1))
    assert {change.uri for change in first + then} == author.uris().keys()


def test_filters_let_through_what_they_name(appview: AppView, expected: Sequence[int]) -> None:
    with IndexClient(appview.url) as index, index.changes(cursor=0) as stream:
        everything = taken(stream, expected[-1])
        author = next(index.list_datasets()).author
        tag = index.list_tags(limit=1)[0].tag

        def found(**filters: Any) -> list[Change]:
            wanted = index.changes(cursor=0, **filters)
            with wanted:
                messages = taken(wanted, 0)  # there is one at least
                with joined(appview, cursor=0, **filters) as connection:
                    ends = [json.loads(connection.recv())]
                    while ends[-1].get("epoch") is None or ends[-1]["seq"] == 0:
                        ends.append(json.loads(connection.recv()))
                for _ in range(len(ends) - 2 - len(messages)):
                    messages.append(next(wanted))
            return messages

        lenses = found(collections=["app.bsky.atdata.lens"])
        accounts = [change for change in everything if change.is_account]
        assert [one for one in lenses if not one.is_account] == [
            one for one in everything if "/app.bsky.atdata.lens/" in one.uri
        ]
        assert [one for one in lenses if one.is_account] == accounts != []
        assert found(authors=[author.handle]) == found(authors=[author.did])
        assert found(authors=[author.did]) == [one for one in everything if one.did == author.did]
        tagged = found(tags=[tag.upper()])
        shown = {one.uri for one in tagged if one.view is not None}
        assert shown == {view.uri for view in index.search_datasets(tags=[tag], limit=None)}


def test_without_a_cursor_it_begins_with_what_is_new(appview: AppView) -> None:
    with joined(appview) as connection:
        message = json.loads(connection.recv())
    lexicons().check_output(NSID, message)
    assert message["seq"] == appview.indexer.head()
    assert message["epoch"] == appview.indexer.store.epoch


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"cursor": 10**9}, "FutureCursor"),
        ({"cursor": 1, "epoch": "another"}, "EpochChanged"),
    ],
)
def test_a_cursor_that_leads_nowhere_is_refused_by_name_and_code(
    appview: AppView, params: dict[str, Any], error: str
) -> None:
    with joined(appview, **params) as connection:
        said, code = to_the_end(connection)
    assert [one["error"] for one in said] == [error]
    assert code == CLOSE[error]
    cursor = f"{params.get('epoch', appview.indexer.store.epoch)}:{params['cursor']}"
    with IndexClient(appview.url) as index, pytest.raises(InvalidRequest) as refused:
        next(index.changes(cursor=cursor))
    assert refused.value.error == error


@pytest.mark.parametrize(
    "params",
    [{"cursor": "x"}, {"cursor": -1}, {"authors": "nobody"}, {"authors": "no.example"}, {"q": "a"}],
)
def test_a_parameter_that_breaks_its_rule_is_refused_before_the_stream_begins(
    appview: AppView, params: dict[str, Any]
) -> None:
    with pytest.raises(InvalidStatus) as refused, joined(appview, **params):
        pass
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body or b"")["error"] == "InvalidRequest"


def test_what_is_no_websocket_is_told_so(appview: AppView) -> None:
    with Api(appview.url) as api:
        response = api.query("subscribeChanges")
    assert (response.status_code, response.json()["error"]) == (426, "UpgradeRequired")
    assert response.headers["upgrade"] == "websocket"


def test_more_than_may_follow_at_once_are_asked_to_wait(tmp_path: Path) -> None:
    author = Author("full")
    playback = Playback([frame(author.create(1))], {author.did: author.identity("127.0.0.1")})
    with serving(playback, tmp_path, followers=2) as view:
        with joined(view), joined(view), pytest.raises(InvalidStatus) as refused, joined(view):
            pass
        response = refused.value.response
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "30"

        def has_room() -> bool:
            try:
                with joined(view):
                    return True
            except InvalidStatus:
                return False

        wait_until(has_room)
