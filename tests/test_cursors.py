"""A cursor says where its own walk goes on; any other text is an InvalidCursor and no more."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_api.server import AppView
from atdata_indexer.index.cursor import InvalidCursor, Position, decode, encode
from atdata_indexer.index.order import ORDERS
from atdata_indexer.index.query import Search
from atdata_indexer.index.reader import Reader
from atdata_indexer.index.searching import Sort

EDGE = 2**63 - 2
NUMBERS = st.integers(0, EDGE)


def positions(columns: int) -> st.SearchStrategy[Position]:
    """Places in walks by so many columns, and in walks by relevance."""
    keys = st.lists(st.integers(-EDGE, EDGE), min_size=columns, max_size=columns)
    names = st.text(min_size=1, max_size=40)
    ranked = st.builds(Position, keys, NUMBERS, NUMBERS, NUMBERS, st.booleans(), names)
    return st.builds(Position, keys, NUMBERS) | ranked


POSITIONS = positions(1) | positions(2) | positions(5)
SORTS: tuple[Sort, ...] = ("relevance", "newest", "oldest", "name", "samples")
COLUMNS = {sort: len(order.columns) for sort, order in ORDERS.items()} | {"relevance": 1}


def token_of(value: Any) -> str:
    """Any JSON value in the clothes of a cursor."""
    return urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")


def parts_of(identity: str) -> list[Any]:
    """The version and binding every cursor of this walk begins with."""
    token = encode(Position([0]), identity)
    parts: list[Any] = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return parts[:2]


@given(position=POSITIONS, identity=st.text())
def test_what_was_encoded_is_decoded(position: Position, identity: str) -> None:
    token = encode(position, identity)
    assert decode(token, identity, len(position.key)) == position
    assert token.isascii()
    assert not set(token) & set("=&?#+/ %"), "a cursor needs no escaping"


@given(position=POSITIONS, identity=st.text(), other=st.text())
def test_the_cursor_of_another_walk_is_invalid(
    position: Position, identity: str, other: str
) -> None:
    if other != identity:
        with pytest.raises(InvalidCursor):
            decode(encode(position, identity), other, len(position.key))


@given(text=st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_invalid(text: str) -> None:
    with pytest.raises(InvalidCursor):
        decode(text, "newest", 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(value=JSON)
def test_any_json_is_invalid(value: Any) -> None:
    with pytest.raises(InvalidCursor):
        decode(token_of(value), "newest", 1)


@given(rest=st.lists(JSON, max_size=4))
def test_a_forged_cursor_is_invalid_or_what_the_service_could_have_made(rest: list[Any]) -> None:
    token = token_of([*parts_of("newest"), *rest])
    with suppress(InvalidCursor):
        assert encode(decode(token, "newest", 1), "newest") == token


@given(data=st.data(), position=POSITIONS)
def test_a_changed_cursor_is_invalid_or_what_the_service_could_have_made(
    data: st.DataObject, position: Position
) -> None:
    token = encode(position, "newest")
    at = data.draw(st.integers(0, len(token)))
    cut = data.draw(st.integers(0, 3))
    added = data.draw(st.text(alphabet="AZaz09-_=+/!é\n\0 ", max_size=3))
    changed = token[:at] + added + token[at + cut :]
    with suppress(InvalidCursor):
        assert encode(decode(changed, "newest", len(position.key)), "newest") == changed


@pytest.mark.parametrize(
    "rest",
    [
        [],
        [None],
        [1],
        [[]],
        [[1]],
        [[1], None],
        [[1], True],
        [[1], 1.0],
        [["1"], 1],
        [[True], 1],
        [[1.0], 1],
        [[1, 1], 1],
        [[EDGE + 1], 1],
        [[-EDGE - 2], 1],
        [[2**63], 1],
        [[10**300], 1],
        [[1], -1],
        [[1], 2**63],
        [[1], 1, 1],
        [[1], 1, 1, 1, True],
        [[1], 1, 0, 0, False, ""],
        [[1], 1, -1, 0, False, "s"],
        [[1], 1, True, 0, False, "s"],
        [[1], 1, 1, 2**63, False, "s"],
        [[1], 1, 1, 1, 0, "s"],
        [[1], 1, 1, 1, False, None],
        [[1], 1, 1, 1, False, "s", 4],
        [[float("nan")], 1],
        [[1], float("inf")],
        [{"key": 1}, 1],
    ],
    ids=str,
)
def test_parts_that_no_position_has_are_invalid(rest: list[Any]) -> None:
    with pytest.raises(InvalidCursor):
        decode(token_of([*parts_of("newest"), *rest]), "newest", 1)


@pytest.mark.parametrize("raw", [b"[" * 500, b"1" * 700, b'"\\ud800"', b"[1e999]", b"\xff", b"{}"])
def test_json_that_means_harm_is_invalid(raw: bytes) -> None:
    with pytest.raises(InvalidCursor):
        decode(urlsafe_b64encode(raw).decode().rstrip("="), "newest", 1)


def test_a_cursor_of_another_version_is_invalid() -> None:
    for version in (0, 1, 3, "2", True, 1.0, None):
        with pytest.raises(InvalidCursor):
            decode(token_of([version, *parts_of("newest")[1:], [1], 1]), "newest", 1)


@pytest.fixture(scope="module")
def reader(recorded_appview: AppView) -> Reader:
    return recorded_appview.indexer.reader


@settings(deadline=None)
@given(data=st.data(), sort=st.sampled_from(SORTS), limit=st.sampled_from([1, 100]))
def test_a_search_bears_every_position_a_cursor_can_hold(
    reader: Reader, data: st.DataObject, sort: Sort, limit: int
) -> None:
    """A forger may ask for any place of a walk: the answer is a page, perhaps an empty one."""
    search = Search("dataset", q="image")
    position = data.draw(positions(COLUMNS[sort]))
    cursor = encode(position, f"{sort}\0{search.identity}")
    page = reader.search(search, sort=sort, limit=limit, cursor=cursor)
    assert len(page.views) <= limit
