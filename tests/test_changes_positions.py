"""Where a stream of changes is, and what its client makes of what it is told."""

import json

import pytest

from atdata_client._index.changes import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Change,
    Position,
)
from atdata_client._index.reader import index_error
from atdata_client.errors import IndexUnavailable, InvalidRequest, UnexpectedResponse

NSID = "app.bsky.atdata.subscribeChanges"
DID = "did:plc:frogs"


def at(cursor: str | int | None = None) -> Position:
    return Position("https://index.example", cursor, index_error)


def message(seq: int, op: str = "delete", uri: str = f"at://{DID}/a.b.c/3k") -> str:
    return json.dumps({"$type": f"{NSID}#change", "seq": seq, "op": op, "uri": uri, "did": DID})


def test_a_cursor_says_where_to_go_on_and_in_which_epoch() -> None:
    position = at()
    assert position.cursor is None
    assert position.params == {"cursor": None, "epoch": None}
    info = {"$type": f"{NSID}#info", "epoch": "e1", "seq": 7}
    assert position.take(json.dumps(info)) is None
    assert position.cursor == "e1:7"
    change = position.take(message(9))
    assert change == Change(9, "delete", f"at://{DID}/a.b.c/3k", DID)
    assert position.cursor == "e1:9"
    assert at("e1:9").params == {"cursor": 9, "epoch": "e1"}
    assert at(9).params == at("9").params == {"cursor": 9, "epoch": None}


@pytest.mark.parametrize("cursor", ["", "e1:", "x", "-1", "e1:1.5", "e1:²"])
def test_what_is_no_cursor_is_refused_at_once(cursor: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        at(cursor)


def test_what_hides_a_whole_account_says_so() -> None:
    position = at(1)
    hidden = position.take(message(2, "hide", f"at://{DID}"))
    assert hidden is not None
    assert (hidden.is_account, hidden.is_gone) == (True, True)
    again = position.take(message(3, "refresh"))
    assert again is not None
    assert (again.is_account, again.is_gone) == (False, False)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"$type": "a#change"}', "{"])
def test_what_is_no_message_is_no_appview(text: str) -> None:
    with pytest.raises(UnexpectedResponse):
        at(1).take(text)


def test_a_lost_stream_raises_and_one_that_is_only_interrupted_goes_on() -> None:
    for name in ("OutdatedCursor", "FutureCursor", "EpochChanged"):
        with pytest.raises(InvalidRequest) as lost:
            at(1).take(json.dumps({"error": name, "message": "words"}))
        assert lost.value.error == name
    position = at(1)
    assert position.take(json.dumps({"error": "Unavailable", "message": "later"})) is None
    assert position.cursor == "1"


def test_it_waits_longer_each_time_until_something_comes() -> None:
    position = at(1)
    pauses = [position.pause() for _ in range(12)]
    assert pauses[0] == FIRST_PAUSE_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    position.take(message(2))
    assert position.pause() == FIRST_PAUSE_SECONDS


def test_a_service_that_is_busy_is_waited_for_and_one_that_refuses_is_not() -> None:
    busy = json.dumps({"error": "TooManyFollowers", "message": "later"}).encode()
    assert at().denied(503, busy, 30.0) == 30.0
    assert at().denied(503, b"", None) == FIRST_PAUSE_SECONDS
    bad = json.dumps({"error": "InvalidRequest", "message": "no"}).encode()
    with pytest.raises(InvalidRequest):
        at().denied(400, bad, None)
    with pytest.raises((UnexpectedResponse, IndexUnavailable)):
        at().denied(404, b"<html>", None)
