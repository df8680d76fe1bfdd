"""From the block of a record to its JSON form: canonical DAG-CBOR of the data model, or nothing.

The blocks are strangers' work. What a few bytes of CBOR can ask of a decoder (a list within itself,
one of 2**60 items, a date, a regular expression) must come to nothing.
"""

import json
from base64 import b64decode
from typing import Any

import cbor2
import libipld
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata_indexer.errors import RecordError
from atdata_indexer.repo import MAX_DEPTH, MAX_RECORD_BYTES, read_record
from atdata_schemas.syntax import cid_text
from tests.builders import block_of, cid, dataset, encode, lens, link, recorded_records, schema


def head(major: int, number: int) -> bytes:
    """The shortest head of an item: its major type and a number."""
    if number < 24:
        return bytes([major << 5 | number])
    for size, code in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if number < 1 << 8 * size:
            return bytes([major << 5 | code]) + number.to_bytes(size)
    raise ValueError(number)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return head(3, len(raw)) + raw


def array(*items: bytes) -> bytes:
    return head(4, len(items)) + b"".join(items)


def tag(number: int, item: bytes) -> bytes:
    return head(6, number) + item


def uint(number: int) -> bytes:
    return head(0, number)


def raw(value: bytes) -> bytes:
    return head(2, len(value)) + value


def record(value: bytes) -> bytes:
    """A record with one property `a` of this value."""
    return head(5, 1) + text("a") + value


def rule(block: bytes) -> str:
    with pytest.raises(RecordError) as caught:
        read_record(block)
    assert len(str(caught.value)) < 400
    return caught.value.rule


# --- what a record may hold -------------------------------------------------------------------

CID_BYTES = cid(b"x")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (False, False),
        (0, 0),
        (2**53 - 1, 2**53 - 1),
        (-(2**53) + 1, -(2**53) + 1),
        ("", ""),
        ("a~öñ©⽘☎𓋓😀👨\u200d👩", "a~öñ©⽘☎𓋓😀👨\u200d👩"),
        ("a\0b", "a\0b"),
        ("\ufffe\uffff\u2028", "\ufffe\uffff\u2028"),
        ([], []),
        ({}, {}),
        ([None, [True, {"b": 1}]], [None, [True, {"b": 1}]]),
        (b"", {"$bytes": ""}),
        (b"\0", {"$bytes": "AA"}),
        (b"\xfb\xff", {"$bytes": "+/8"}),
        (link(CID_BYTES), {"$link": cid_text(CID_BYTES)}),
        (link(b"\x01\x55" + CID_BYTES[2:]), {"$link": cid_text(b"\x01\x55" + CID_BYTES[2:])}),
    ],
)
def test_a_value_of_the_data_model_has_one_json_form(value: object, expected: object) -> None:
    assert read_record(encode({"a": value})) == {"a": expected}


def test_bytes_that_look_like_a_cid_stay_bytes() -> None:
    for value in (CID_BYTES, b"\0" + CID_BYTES, b"\xd8\x2a\x58\x25\0" + CID_BYTES):
        found = read_record(encode({"a": value}))
        assert found["a"].keys() == {"$bytes"}
        assert b64decode(found["a"]["$bytes"] + "==") == value


def test_the_protocol_s_own_blocks_read_as_its_own_json() -> None:
    # https://github.com/bluesky-social/atproto, interop-test-files/data-model
    block = b64decode(
        "o2Fh2CpYJQABcRIgZQYqWloA/BbXPGlEI3zLwVscSnI0SJM2iR0JF0GiOdBhYlggnFERjvLLiw9qm45JrqH9QTzyC2"
        "Lu1Xb4ne6+sBrCzI1hY6RjcmVm2CpYJQABVRIgQljP/3j2E2l2l1Y/kmyR5dNXTS6iWuftktbr/COjiJ5kc2l6ZRkn"
        "EGUkdHlwZWRibG9iaG1pbWVUeXBlamltYWdlL2pwZWc="
    )
    assert cid_text(cid(block)) == "bafyreihldkhcwijkde7gx4rpkkuw7pl6lbyu5gieunyc7ihactn5bkd2nm"
    assert read_record(block) == {
        "a": {"$link": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"},
        "b": {"$bytes": "nFERjvLLiw9qm45JrqH9QTzyC2Lu1Xb4ne6+sBrCzI0"},
        "c": {
            "$type": "blob",
            "ref": {"$link": "bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity"},
            "mimeType": "image/jpeg",
            "size": 10000,
        },
    }


@pytest.mark.parametrize("made", [schema(), dataset(), lens()], ids=lambda made: made["$type"])
def test_a_record_is_read_as_it_was_written(made: dict[str, Any]) -> None:
    assert read_record(block_of(made)) == made


def test_every_recorded_record_is_read_and_encodes_to_its_cid_again() -> None:
    assert len(recorded_records()) > 500
    for version in recorded_records():
        assert cid_text(cid(block_of(version.record))) == version.cid


# --- what it may not --------------------------------------------------------------------------

NOT_OF_THE_MODEL = {
    "a double": b"\xfb\x3f\xf8" + bytes(6),
    "a whole double": b"\xfb" + bytes(8),
    "a single": b"\xfa" + bytes(4),
    "a half": b"\xf9\x3c\x00",
    "not a number": b"\xf9\x7e\x00",
    "infinity": b"\xfb\x7f\xf0" + bytes(6),
    "2**53": uint(2**53),
    "-2**53": head(1, 2**53 - 1),
    "2**64 - 1": uint(2**64 - 1),
    "-2**64": head(1, 2**64 - 1),
    "undefined": b"\xf7",
    "an unassigned simple value": b"\xe0",
    "a simple value in two bytes": b"\xf8\x20",
    "a break": b"\xff",
    "a big number": tag(2, raw(b"\xff" * 1000)),
    "a small big number": tag(2, raw(b"\x05")),
    "a big negative number": tag(3, raw(b"\xff" * 1000)),
    "a date as text": tag(0, text("2025-06-01T00:00:00Z")),
    "a date as a number": tag(1, uint(2**60)),
    "a decimal fraction": tag(4, array(uint(2**62), uint(1))),
    "a big float": tag(5, array(uint(2**62), uint(1))),
    "a ratio by zero": tag(30, array(uint(1), uint(0))),
    "a URI": tag(32, text("https://example.com")),
    "a regular expression": tag(35, text("(" * 5000 + ")" * 5000)),
    "a MIME message": tag(36, text("Subject: x\n\n")),
    "a UUID": tag(37, raw(bytes(16))),
    "an address": tag(260, raw(bytes(4))),
    "a set": tag(258, array(text("x"))),
    "CBOR within CBOR": tag(24, raw(b"\x01")),
    "a tag of its own": tag(2**64 - 1, uint(0)),
    "a link without its zero": tag(42, raw(CID_BYTES)),
    "a link with a letter for its zero": tag(42, raw(b"b" + CID_BYTES)),
    "a link cut short": tag(42, raw(b"\0" + CID_BYTES[:-1])),
    "a link too long": tag(42, raw(b"\0" + CID_BYTES + b"\0")),
    "a link of version 0": tag(42, raw(b"\0" + CID_BYTES[2:])),
    "a link by SHA-512": tag(42, raw(b"\0\x01\x71\x13\x20" + CID_BYTES[4:])),
    "a link to dag-pb": tag(42, raw(b"\0\x01\x70" + CID_BYTES[2:])),
    "an empty link": tag(42, raw(b"")),
    "a link to nothing": tag(42, raw(b"\0")),
    "a link as text": tag(42, text(cid_text(CID_BYTES))),
    "a link as a list": tag(42, array()),
    "a link in a link": tag(42, tag(42, raw(b"\0" + CID_BYTES))),
    "bytes for UTF-8": text(b"\xff"),
    "a surrogate": text(b"\xed\xa0\x80"),
    "an overlong NUL": text(b"\xc0\x80"),
    "half a character": text("é".encode()[:1]),
    "a number for a key": head(5, 1) + uint(1) + uint(1),
    "bytes for a key": head(5, 1) + raw(b"a") + uint(1),
    "null for a key": head(5, 1) + b"\xf6" + uint(1),
    "a list for a key": head(5, 1) + array() + uint(1),
    "a map for a key": head(5, 1) + head(5, 0) + uint(1),
    "a link for a key": head(5, 1) + tag(42, raw(b"\0" + CID_BYTES)) + uint(1),
    "a key twice": head(5, 2) + (text("b") + uint(1)) * 2,
    "a map that poses as a link": encode({"$link": cid_text(CID_BYTES)}),
    "a map that poses as bytes": encode({"$bytes": "AAAA"}),
    "a map that poses as bytes and more": encode({"$bytes": "AAAA", "more": 1}),
}


@pytest.mark.parametrize("name", NOT_OF_THE_MODEL)
def test_what_the_data_model_lacks_is_refused(name: str) -> None:
    assert rule(record(NOT_OF_THE_MODEL[name])) in {"cbor", "data-model"}
    assert rule(record(array(NOT_OF_THE_MODEL[name]))) in {"cbor", "data-model"}


@pytest.mark.parametrize("number", [*range(42), *range(43, 300), 1004, 43000, 43001, 55799])
def test_no_tag_but_that_of_a_link_is_acted_on(number: int) -> None:
    for item in (uint(0), text("x"), raw(b"x"), array(), head(5, 0), b"\xf6"):
        assert rule(record(tag(number, item))) == "cbor"
    assert rule(tag(number, record(uint(0)))) == "cbor"


NOT_CANONICAL = {
    "a number in more bytes than it needs": record(b"\x18\x01"),
    "a number in eight bytes": record(b"\x1b" + bytes(7) + b"\x01"),
    "a length in more bytes than it needs": record(b"\x78\x01x"),
    "a list's length in more bytes": record(b"\x98\x01\x00"),
    "a map's length in more bytes": b"\xb8\x01" + text("a") + uint(1),
    "a tag in more bytes than it needs": record(b"\xd9\x00\x2a" + raw(b"\0" + CID_BYTES)),
    "a negative number in more bytes": record(b"\x38\x00"),
    "keys out of order": head(5, 2) + text("b") + uint(1) + text("a") + uint(1),
    "a longer key first": head(5, 2) + text("aa") + uint(1) + text("b") + uint(1),
    "keys out of order further in": record(head(5, 2) + text("b") + uint(1) + text("a") + uint(1)),
    "something behind the record": record(uint(1)) + b"\0",
    "a second record behind it": record(uint(1)) * 2,
    "an indefinite map": b"\xbf" + text("a") + uint(1) + b"\xff",
    "an indefinite list": record(b"\x9f\xff"),
    "an indefinite text": record(b"\x7f" + text("x") + b"\xff"),
    "indefinite bytes": record(b"\x5f" + raw(b"x") + b"\xff"),
}


@pytest.mark.parametrize("name", NOT_CANONICAL)
def test_a_record_written_in_any_but_the_one_canonical_way_is_refused(name: str) -> None:
    assert rule(NOT_CANONICAL[name]) in {"cbor", "canonical"}


@pytest.mark.parametrize(
    "value", [[], [{}], None, True, 5, "text", b"bytes", link(CID_BYTES)], ids=repr
)
def test_what_is_not_a_map_is_no_record(value: object) -> None:
    assert rule(encode(value)) == "data-model"


@pytest.mark.parametrize("block", [b"", b"\xa1", b"\x1c", b"hello", b"\xff" * 100])
def test_what_is_not_cbor_is_no_record(block: bytes) -> None:
    assert rule(block) == "cbor"


@pytest.mark.parametrize("cut", range(len(block_of(lens()))))
def test_a_record_cut_off_anywhere_is_refused(cut: int) -> None:
    assert rule(block_of(lens())[:cut]) == "cbor"


# --- bombs ------------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    """A record that is so many containers deep."""
    return record(b"\x81" * (depth - 1) + b"\0") if depth > 1 else record(b"\0")


def test_a_record_is_nested_up_to_the_limit_and_no_deeper() -> None:
    assert json.dumps(read_record(nested(MAX_DEPTH))).count("[") == MAX_DEPTH - 1
    assert rule(nested(MAX_DEPTH + 1)) == "cbor"


@pytest.mark.parametrize(
    "block",
    [
        nested(100_000),
        nested(MAX_RECORD_BYTES - 3),
        (head(5, 1) + text("a")) * 300_000 + b"\0",
        record(tag(42, b"") * 300_000),
        record(b"\xc1" * 300_000),
        record(b"\x9f" * 300_000),
    ],
)
def test_a_record_nested_without_end_is_refused(block: bytes) -> None:
    assert rule(block) == "cbor"


@pytest.mark.parametrize("major", [2, 3, 4, 5])
@pytest.mark.parametrize("length", [2**31, 2**32, 2**62, 2**63 - 1, 2**64 - 1])
def test_a_length_beyond_the_block_reserves_no_memory(major: int, length: int) -> None:
    assert rule(record(head(major, length))) == "cbor"
    assert rule(record(array(head(major, length), b"\0"))) == "cbor"


def test_a_list_within_itself_is_refused() -> None:
    inside_itself = tag(28, array(tag(29, uint(0))))
    assert rule(record(inside_itself)) == "cbor"
    assert rule(tag(28, record(tag(29, uint(0))))) == "cbor"


def test_a_list_that_doubles_sixty_times_is_refused_at_once() -> None:
    doubled = [tag(28, array(tag(29, uint(n)), tag(29, uint(n)))) for n in range(60)]
    assert rule(record(array(tag(28, array(text("x"))), *doubled))) == "cbor"


def test_a_text_that_is_referred_to_a_thousand_times_is_refused() -> None:
    repeated = array(text("x" * 500_000), *[tag(25, uint(0))] * 1000)
    assert rule(tag(256, record(repeated))) == "cbor"


def test_a_record_is_as_large_as_the_protocol_lets_it_be_and_no_larger() -> None:
    spare = MAX_RECORD_BYTES - len(record(text("x" * 100_000))) + 100_000
    assert len(record(text("x" * spare))) == MAX_RECORD_BYTES
    assert len(read_record(record(text("x" * spare)))["a"]) == spare
    assert rule(record(text("x" * (spare + 1)))) == "size"


# --- two decoders -----------------------------------------------------------------------------

DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=30)
    | st.binary(max_size=40)
    | st.binary(min_size=32, max_size=32).map(lambda digest: link(b"\x01\x71\x12\x20" + digest)),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.text(st.characters(codec="utf-8"), max_size=30).filter(
                lambda name: name not in {"$bytes", "$link"}
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)
RECORDS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=10).filter(
        lambda name: name not in {"$bytes", "$link"}
    ),
    DATA,
    max_size=6,
)


def as_other(value: Any) -> Any:
    """A JSON form as libipld decodes the same block: bytes, and links as their bytes."""
    match value:
        case {"$bytes": str() as encoded}:
            return b64decode(encoded + "=" * (-len(encoded) % 4))
        case {"$link": str()}:
            return cbor2.loads(block_of({"a": value}))["a"].value[1:]
        case dict():
            return {name: as_other(item) for name, item in value.items()}
        case list():
            return [as_other(item) for item in value]
        case _:
            return value


@given(RECORDS)
@settings(max_examples=300, deadline=None)
def test_any_record_of_the_data_model_is_read_and_writes_the_same_block_again(
    value: dict[str, Any],
) -> None:
    block = encode(value)
    found = read_record(block)
    assert block_of(found) == block
    assert as_other(found) == libipld.decode_dag_cbor(block)
    assert json.loads(json.dumps(found, ensure_ascii=False)) == found


@given(RECORDS, st.data())
@settings(max_examples=400, deadline=None)
def test_a_changed_block_is_refused_or_read_as_the_other_decoder_reads_it(
    value: dict[str, Any], data: st.DataObject
) -> None:
    block = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(block)))
        if data.draw(st.booleans()):
            block[at : at + 1] = data.draw(st.binary(min_size=1, max_size=3))
        else:
            del block[at : at + 1]
    agree(bytes(block))


@given(st.binary(max_size=40))
@settings(max_examples=500, deadline=None)
def test_a_random_block_is_refused_or_read_as_the_other_decoder_reads_it(block: bytes) -> None:
    agree(block)
    agree(record(block))


def agree(block: bytes) -> None:
    try:
        found = read_record(block)
    except RecordError:
        return
    assert as_other(found) == libipld.decode_dag_cbor(block)
    assert block_of(found) == block
