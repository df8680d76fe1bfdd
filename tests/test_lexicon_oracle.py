"""A second opinion on every verdict: lexrpc's validator, over the recording and made-up records.

The two read the same lexicon files. Where they cannot agree, the reason is one of these:

- the members of our unions are told apart by `kind`; the language knows only `$type`, so `$type`
  is put in for lexrpc. A `kind` of no member then names an unknown `$type`, which an open union
  lets pass;
- null inside `shape` cannot be said of the items of an array, so 0 is put in for lexrpc;
- rules of ours that are not in the lexicon: `semver`, `identifier`, `reference`, and `key`, which
  lexrpc does not look at;
- lexrpc takes anything but null for an `unknown`, which the language wants to be an object, and
  takes text in place of a union for the name of a type it does not know.
"""

import copy
import json
import logging
import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lexrpc.base import Base
from lexrpc.base import ValidationError as OtherError
from multiformats import CID

from atdata_schemas.errors import ValidationError
from atdata_schemas.lexicon import decode_bytes, lexicons
from atdata_schemas.records import KINDS, parse_record
from tests.builders import DATASET, DID, LENS, RKEY, SCHEMA, Recorded, recorded_records
from tests.fixtures.catalogue import as_bytes
from tests.fixtures.faults import put_at

OURS_ALONE = {"semver", "identifier", "reference", "key", "union"}
UNKNOWNS = {(SCHEMA, "metadata"), (LENS, "metadata")}
UNIONS = re.compile(r"getterCode|putterCode|fields\[[0-9]+\]\.type")


def documents(folder: Traversable) -> Iterator[dict[str, Any]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from documents(entry)
        elif entry.name.endswith(".json"):
            yield json.loads(entry.read_text("utf-8"))


@pytest.fixture(scope="module")
def other() -> Iterator[Base]:
    """lexrpc with the very files that ship; it logs each refusal, which nobody needs here."""
    logging.getLogger("lexrpc.base").setLevel(logging.CRITICAL)
    yield Base(lexicons=list(documents(files("atdata_schemas"))))
    logging.getLogger("lexrpc.base").setLevel(logging.NOTSET)


def for_other(nsid: str, record: Any) -> Any:
    """The record as lexrpc wants it: bytes and links as such, unions with `$type`, no null item."""
    record = copy.deepcopy(record)
    fields = record.get("fields") if isinstance(record, dict) else None
    for field in fields if isinstance(fields, list) else []:
        declared = field.get("type") if isinstance(field, dict) else None
        if isinstance(declared, dict):
            declared["$type"] = f"{SCHEMA}#{declared.get('kind')}"
            if isinstance(declared.get("shape"), list):
                declared["shape"] = [0 if item is None else item for item in declared["shape"]]
    for name in ("getterCode", "putterCode"):
        code = record.get(name) if nsid == LENS else None
        if isinstance(code, dict):
            kind = {"reference": "codeReference", "python": "codeText"}.get(str(code.get("kind")))
            code["$type"] = f"{LENS}#{kind}"
    return native(record)


def native(value: Any) -> Any:
    match value:
        case {"$bytes": str()}:
            return decode_bytes(value)
        case {"$link": str() as text}:
            return CID.decode(text)
        case dict():
            return {name: native(item) for name, item in value.items()}
        case list():
            return [native(item) for item in value]
        case _:
            return value


def other_refuses(other: Base, nsid: str, record: Any) -> bool:
    try:
        other.validate(nsid, "record", for_other(nsid, record))
    except OtherError:
        return True
    return False


def we_refuse(nsid: str, record: Any) -> str | None:
    """The rule we refuse a record by; None when the lexicon has nothing against it."""
    try:
        lexicons().check_record(nsid, RKEY, record)
    except ValidationError as error:
        return error.rule
    return None


def test_the_other_validator_loads_every_lexicon_that_ships(other: Base) -> None:
    shared = {nsid for nsid in lexicons().nsids if nsid.endswith(".defs")}
    assert set(lexicons().nsids) - shared <= set(other.defs)
    assert f"{SCHEMA}#ndarray" in other.defs


def rule(version: Recorded) -> str:
    assert version.fault is not None
    return f"{KINDS[version.collection]}-{version.fault[0]}-{version.fault[1]}"


LAST = [version for version in recorded_records() if version.last]


@pytest.mark.parametrize("version", [v for v in LAST if v.fault], ids=rule)
def test_both_refuse_a_recorded_fault_the_language_can_speak_of(
    other: Base, version: Recorded
) -> None:
    assert version.fault is not None
    rule, path = version.fault
    lets_pass = (version.collection, path) in UNKNOWNS or UNIONS.fullmatch(path)
    can_say = rule not in OURS_ALONE and not (rule == "type" and lets_pass)
    assert other_refuses(other, version.collection, version.record) == can_say


def test_both_accept_every_recorded_record_without_a_fault(other: Base) -> None:
    sound = [version for version in LAST if version.fault is None]
    assert len(sound) > 350
    for version in sound:
        assert parse_record(version.collection, version.rkey, version.record)
        assert not other_refuses(other, version.collection, version.record), version.uri


def test_without_what_is_put_in_for_it_the_other_could_not_read_our_unions(other: Base) -> None:
    version = next(v for v in LAST if v.collection == SCHEMA and v.fault is None)
    with pytest.raises(OtherError, match="missing \\$type"):
        other.validate(SCHEMA, "record", version.record)


# --- made-up records --------------------------------------------------------------------------


def text(most: int) -> st.SearchStrategy[str]:
    """Text of at most so many bytes."""
    return st.text(st.characters(codec="utf-8"), max_size=most).map(
        lambda words: words.encode()[:most].decode("utf-8", "ignore")
    )


def record_of(
    required: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=optional)


TIDS = st.from_regex(r"[234567a-j][234567a-z]{12}", fullmatch=True)
AUTHORITIES = st.one_of(
    st.just(DID),
    st.from_regex(r"did:web:[a-z]{1,10}(\.[a-z]{2,5}){1,3}", fullmatch=True),
    st.from_regex(r"([a-z0-9]{1,8}\.){1,3}[a-z]{2,6}", fullmatch=True),
)
SCHEMA_URIS = st.builds(
    "at://{}/{}/{}".format,
    AUTHORITIES,
    st.sampled_from([SCHEMA, "science.alt.dataset.schema"]),
    TIDS,
)
TIMES = st.from_regex(
    r"20[0-9]{2}-0[1-9]-[012][1-8]T(0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,12})?"
    r"(Z|\+0[0-9]:[03]0)",
    fullmatch=True,
)
COUNTS = st.integers(0, 2**53 - 1)
ANYTHING = st.dictionaries(st.text(max_size=5).filter(lambda n: not n.startswith("$")), COUNTS)

FIELD_TYPES = st.one_of(
    record_of(
        {
            "kind": st.just("primitive"),
            "primitive": st.sampled_from(["str", "int", "float", "bool", "bytes"]),
        },
        {},
    ),
    record_of(
        {"kind": st.just("ndarray"), "dtype": text(20)},
        {"shape": st.none() | st.lists(st.none() | COUNTS, max_size=5)},
    ),
    record_of({"kind": st.just("nested"), "schemaRef": SCHEMA_URIS}, {}),
)
FIELDS = record_of(
    {"name": st.from_regex(r"[a-z_][a-z0-9_]{0,99}", fullmatch=True), "type": FIELD_TYPES},
    {"optional": st.booleans(), "description": text(500)},
)
CODE = st.one_of(
    record_of(
        {
            "kind": st.just("reference"),
            "repository": text(500),
            "commit": text(40),
            "path": text(500),
        },
        {},
    ),
    record_of({"kind": st.just("python"), "source": text(2000)}, {}),
)
VALID = st.one_of(
    record_of(
        {
            "$type": st.just(SCHEMA),
            "name": text(100),
            "version": st.from_regex(r"[1-9]\.[0-9]\.0(-rc\.[1-9])?", fullmatch=True),
            "fields": st.lists(FIELDS, max_size=4),
            "createdAt": TIMES,
        },
        {"description": text(1000), "metadata": ANYTHING},
    ),
    record_of(
        {
            "$type": st.just(DATASET),
            "name": text(200),
            "schemaRef": SCHEMA_URIS,
            "urls": st.lists(text(1000), min_size=1, max_size=4),
            "createdAt": TIMES,
        },
        {
            "description": text(5000),
            "metadata": st.binary(max_size=200).map(as_bytes),
            "tags": st.lists(text(50), max_size=20),
            "size": record_of({}, {"samples": COUNTS, "bytes": COUNTS}),
            "license": text(100),
        },
    ),
    record_of(
        {
            "$type": st.just(LENS),
            "name": text(100),
            "sourceSchema": SCHEMA_URIS,
            "targetSchema": SCHEMA_URIS,
            "createdAt": TIMES,
        },
        {"description": text(1000), "getterCode": CODE, "putterCode": CODE, "metadata": ANYTHING},
    ),
)


@given(record=VALID)
@settings(max_examples=150, deadline=None)
def test_both_accept_every_record_made_by_the_rules(other: Base, record: dict[str, Any]) -> None:
    nsid = record["$type"]
    assert parse_record(nsid, RKEY, record).name == record["name"]
    assert not other_refuses(other, nsid, record)


def paths(value: Any, path: str = "") -> Iterator[str]:
    """The path of every property and item inside a value."""
    match value:
        case {"$bytes": _}:
            return
        case dict():
            inner = [(f"{path}.{name}" if path else name, item) for name, item in value.items()]
        case list():
            inner = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
        case _:
            return
    for place, item in inner:
        yield place
        yield from paths(item, place)


WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.sampled_from(["", "x", "é" * 26, "x" * 101, "x" * 501, "y" * 5001]),
    st.lists(st.sampled_from(["", "z" * 60, 5, None]), max_size=22),
    st.just({}),
    st.just(as_bytes(bytes(100_001))),
    st.just(as_bytes(b"abc")),
)


@given(record=VALID, wrong=WRONG, data=st.data())
@settings(max_examples=300, deadline=None)
def test_both_say_the_same_of_a_record_with_anything_put_into_one_place(
    other: Base, record: dict[str, Any], wrong: Any, data: st.DataObject
) -> None:
    nsid = record["$type"]
    # Names an author chose (`metadata`) may hold what a path is written with.
    places = [p for p in paths(record) if p != "$type" and not p.startswith("metadata.")]
    place = data.draw(st.sampled_from(places))
    changed = put_at(record, place, wrong)
    rule = we_refuse(nsid, changed)
    if rule == "union" or (wrong is None and ".shape[" in place):
        assert rule in {"union", None}
    elif (nsid, place) in UNKNOWNS and wrong is not None:
        assert rule == (None if wrong == {} else "type")
    elif UNIONS.fullmatch(place) and isinstance(wrong, str):
        assert rule == "type"
    else:
        assert other_refuses(other, nsid, changed) == (rule is not None), (place, wrong, rule)


@given(record=VALID, data=st.data())
@settings(max_examples=60, deadline=None)
def test_both_miss_whatever_must_be_there(
    other: Base, record: dict[str, Any], data: st.DataObject
) -> None:
    nsid = record["$type"]
    required = lexicons().document(nsid)["defs"]["main"]["record"]["required"]
    name = data.draw(st.sampled_from(sorted(required)))
    changed = {key: value for key, value in record.items() if key != name}
    assert we_refuse(nsid, changed) == "required"
    assert other_refuses(other, nsid, changed)
