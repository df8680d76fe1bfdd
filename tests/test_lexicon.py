"""The validator: what each kind of definition refuses, where it says the fault is, and why."""

from collections.abc import Mapping
from typing import Any

import pytest

from atdata_schemas.errors import LexiconError, ValidationError
from atdata_schemas.lexicon import Lexicons, decode_bytes, lexicons
from atdata_schemas.records import COLLECTIONS
from tests.builders import DATASET, DID, RKEY, SCHEMA, SCHEMA_URI, dataset, lens, schema
from tests.fixtures.catalogue import as_bytes
from tests.fixtures.faults import put_at

A_CID = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
A_BLOB = {
    "$type": "blob",
    "ref": {"$link": "bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity"},
    "mimeType": "image/jpeg",
    "size": 10000,
}


def of(properties: Mapping[str, object], **more: object) -> Lexicons:
    """Lexicons of one record `a.b.c` with these properties, and of the definitions in `more`."""
    record = {"type": "object", "properties": properties}
    main = {"type": "record", "key": "any", "record": record}
    return Lexicons([{"lexicon": 1, "id": "a.b.c", "defs": {"main": main} | more}])


def fault(checks: Lexicons, **values: object) -> tuple[str, str, str] | None:
    """Path, rule and words of the first fault of a record `a.b.c`; None when it is valid."""
    try:
        checks.check_record("a.b.c", "self", {"$type": "a.b.c"} | values)
    except ValidationError as error:
        return error.path, error.rule, error.message
    return None


def verdict(nsid: str, rkey: str, record: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        lexicons().check_record(nsid, rkey, record)
    return str(caught.value)


# --- where the fault is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "path", "value", "words"),
    [
        (schema(), "fields[0].type.dtype", "f" * 21, "fields[0].type.dtype: longer than 20"),
        (schema(), "fields[0].type.shape[2]", -1, "fields[0].type.shape[2]: less than 0"),
        (
            schema(),
            "fields[1].type.primitive",
            "string",
            "fields[1].type.primitive: not one of str, int, float, bool, bytes",
        ),
        (
            schema(),
            "fields[2].type",
            {"kind": "list"},
            "fields[2].type: kind is none of primitive, ndarray, nested",
        ),
        (schema(), "fields[2].type.schemaRef", "x", "fields[2].type.schemaRef: not a valid at-uri"),
        (schema(), "fields[1].optional", "yes", "fields[1].optional: not a boolean"),
        (schema(), "fields[1]", None, "fields[1]: not an object"),
        (schema(), "fields", {}, "fields: not an array"),
        (schema(), "$type", DATASET, f"$type: not '{SCHEMA}'"),
        (dataset(), "urls", [], "urls: shorter than 1"),
        (dataset(), "tags", ["a"] * 21, "tags: longer than 20"),
        (dataset(), "tags", ["ok", "é" * 26], "tags[1]: longer than 50"),
        (dataset(), "size.samples", -1, "size.samples: less than 0"),
        (dataset(), "metadata", "AAAA", 'metadata: not bytes ({"$bytes": base64})'),
        (dataset(), "createdAt", "now", "createdAt: not a valid datetime"),
        (lens(), "getterCode.source", 1, "getterCode.source: not a string"),
        (lens(), "putterCode.path", "p" * 501, "putterCode.path: longer than 500"),
    ],
)
def test_a_fault_is_reported_at_its_path_in_words(
    record: dict[str, Any], path: str, value: object, words: str
) -> None:
    assert verdict(record["$type"], RKEY, put_at(record, path, value)) == words


@pytest.mark.parametrize(
    ("nsid", "rkey", "record", "words"),
    [
        (SCHEMA, "schema-1", schema(), "record key 'schema-1' is not a tid"),
        (SCHEMA, RKEY, [], "not an object"),
        (SCHEMA, RKEY, None, "not an object"),
        (SCHEMA, RKEY, "text", "not an object"),
    ],
)
def test_a_fault_of_the_record_as_a_whole_has_no_path(
    nsid: str, rkey: str, record: Any, words: str
) -> None:
    assert verdict(nsid, rkey, record) == words


def test_a_hostile_record_key_is_not_repeated_at_length() -> None:
    assert len(verdict(SCHEMA, "x" * 100_000, schema())) < 200


# --- each kind of definition ------------------------------------------------------------------


def test_a_missing_property_is_named_and_a_null_one_is_not_missing() -> None:
    checks = of({"n": {"type": "integer"}})
    record = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    strict = of({"inner": record})
    assert fault(strict, inner={}) == ("inner.n", "required", "missing")
    assert fault(strict, inner={"n": None}) == ("inner.n", "type", "not an integer")
    assert fault(checks, n=None) == ("n", "type", "not an integer")
    assert fault(checks) is None


def test_null_is_accepted_only_where_the_lexicon_says_nullable() -> None:
    inner = {
        "type": "object",
        "nullable": ["a"],
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
    }
    checks = of({"inner": inner})
    assert fault(checks, inner={"a": None}) is None
    assert fault(checks, inner={"b": None}) == ("inner.b", "type", "not a string")


def test_properties_the_lexicon_does_not_know_are_left_alone() -> None:
    assert fault(of({"n": {"type": "integer"}}), n=1, more={"anything": [None]}) is None


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, [], {}])
def test_only_an_integer_is_an_integer(value: object) -> None:
    assert fault(of({"n": {"type": "integer"}}), n=value) == ("n", "type", "not an integer")


@pytest.mark.parametrize("value", [0, 1, "true", None, [], {}])
def test_only_true_and_false_are_booleans(value: object) -> None:
    assert fault(of({"b": {"type": "boolean"}}), b=value) == ("b", "type", "not a boolean")


@pytest.mark.parametrize("value", [0, True, b"x", None, [], {}, {"$bytes": "AA"}])
def test_only_text_is_a_string(value: object) -> None:
    assert fault(of({"s": {"type": "string"}}), s=value) == ("s", "type", "not a string")


def test_an_integer_has_bounds_and_choices() -> None:
    checks = of({"n": {"type": "integer", "minimum": 2, "maximum": 9, "enum": [2, 3, 9]}})
    assert fault(checks, n=1) == ("n", "minimum", "less than 2")
    assert fault(checks, n=10) == ("n", "maximum", "greater than 9")
    assert fault(checks, n=4) == ("n", "enum", "not one of [2, 3, 9]")
    assert fault(checks, n=2) is None
    assert fault(checks, n=9) is None


def test_an_integer_without_bounds_still_fits_into_53_bits() -> None:
    checks = of({"n": {"type": "integer"}})
    assert fault(checks, n=2**53 - 1) is None
    assert fault(checks, n=-(2**53) + 1) is None
    assert fault(checks, n=2**53) == ("n", "maximum", "greater than 9007199254740991")
    assert fault(checks, n=-(2**53)) == ("n", "minimum", "less than -9007199254740991")


def test_the_length_of_a_string_is_counted_in_utf8_bytes() -> None:
    checks = of({"s": {"type": "string", "minLength": 2, "maxLength": 4}})
    assert fault(checks, s="é") is None
    assert fault(checks, s="éé") is None
    assert fault(checks, s="😀") is None
    assert fault(checks, s="ééa") == ("s", "maxLength", "longer than 4")
    assert fault(checks, s="a") == ("s", "minLength", "shorter than 2")
    assert fault(checks, s="\ud800\ud800") == ("s", "maxLength", "longer than 4")


def test_a_string_may_be_one_constant_or_one_of_a_few() -> None:
    checks = of(
        {"c": {"type": "string", "const": "red"}, "e": {"type": "string", "enum": ["red", "blue"]}}
    )
    assert fault(checks, c="red", e="blue") is None
    assert fault(checks, c="Red") == ("c", "const", "not 'red'")
    assert fault(checks, e="green") == ("e", "enum", "not one of red, blue")


def test_known_values_are_advice_and_not_a_rule() -> None:
    assert fault(of({"s": {"type": "string", "knownValues": ["red"]}}), s="green") is None


def test_a_string_keeps_its_format() -> None:
    checks = of({"s": {"type": "string", "format": "did"}})
    assert fault(checks, s=DID) is None
    assert fault(checks, s="alice.test") == ("s", "format", "not a valid did")


def test_an_array_has_a_length_and_items() -> None:
    items = {"type": "integer", "minimum": 0}
    checks = of({"a": {"type": "array", "minLength": 1, "maxLength": 2, "items": items}})
    assert fault(checks, a=[1, 2]) is None
    assert fault(checks, a=[]) == ("a", "minLength", "shorter than 1")
    assert fault(checks, a=[1, 2, 3]) == ("a", "maxLength", "longer than 2")
    assert fault(checks, a=[1, -1]) == ("a[1]", "minimum", "less than 0")
    assert fault(checks, a=[None]) == ("a[0]", "type", "not an integer")
    assert fault(checks, a={"0": 1}) == ("a", "type", "not an array")
    assert fault(checks, a=(1,)) == ("a", "type", "not an array")


def test_bytes_have_a_length_of_their_own_and_not_that_of_their_text() -> None:
    checks = of({"b": {"type": "bytes", "minLength": 1, "maxLength": 3}})
    assert fault(checks, b=as_bytes(b"abc")) is None
    assert fault(checks, b=as_bytes(b"abcd")) == ("b", "maxLength", "longer than 3")
    assert fault(checks, b=as_bytes(b"")) == ("b", "minLength", "shorter than 1")


@pytest.mark.parametrize(
    "value",
    [
        "AAAA",
        {},
        {"bytes": "AAAA"},
        {"$bytes": "AAAA", "other": 1},
        {"$bytes": None},
        {"$bytes": [1, 2, 3]},
        {"$bytes": 5},
        {"$bytes": "A"},
        {"$bytes": "AAAAA"},
        {"$bytes": "=AAA"},
        {"$bytes": "AA=A"},
        {"$bytes": "AA==="},
        {"$bytes": "AAAA===="},
        {"$bytes": "AA==AA=="},
        {"$bytes": "AA\n"},
        {"$bytes": "A A A A "},
        {"$bytes": "AA-_"},
        {"$bytes": "ÄÄÄÄ"},
        {"$bytes": "AAAA\0"},
        {"$bytes": "\ud800AAA"},
        None,
        [],
    ],
)
def test_what_is_not_bytes_is_refused_as_such(value: object) -> None:
    found = fault(of({"b": {"type": "bytes"}}), b=value)
    assert found is not None
    assert found[:2] == ("b", "type")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", b""),
        ("AA", b"\0"),
        ("AA==", b"\0"),
        ("AAA", b"\0\0"),
        ("AAA=", b"\0\0"),
        ("+/", b"\xfb"),
    ],
)
def test_bytes_are_read_with_padding_and_without(text: str, value: bytes) -> None:
    assert decode_bytes({"$bytes": text}) == value


@pytest.mark.parametrize(
    "value", [A_CID, {}, {"$link": 1234}, {"$link": "."}, {"$link": A_CID, "other": 1}, None, []]
)
def test_what_is_not_a_link_is_refused_as_such(value: object) -> None:
    checks = of({"l": {"type": "cid-link"}})
    assert fault(checks, l={"$link": A_CID}) is None
    found = fault(checks, l=value)
    assert found is not None
    assert found[:2] == ("l", "type")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("green", "b"),
        ({"type": "blob", "size": 1}, "b"),
        ({"$type": "blob"}, "b.ref"),
        (A_BLOB | {"ref": A_CID}, "b.ref"),
        (A_BLOB | {"ref": {"$link": "."}}, "b.ref"),
    ],
)
def test_a_blob_is_told_by_its_type_and_has_a_link(value: object, path: str) -> None:
    checks = of({"b": {"type": "blob"}})
    assert fault(checks, b=A_BLOB) is None
    found = fault(checks, b=value)
    assert found is not None
    assert found[:2] == (path, "type")


@pytest.mark.parametrize("kind", ["unknown", "object"])
@pytest.mark.parametrize(
    "value", [False, "text", 1, None, [], {"$bytes": "AAAA"}, {"$link": A_CID}, A_BLOB]
)
def test_bytes_links_and_blobs_are_no_objects_though_they_look_like_some(
    kind: str, value: object
) -> None:
    checks = of({"o": {"type": kind}})
    assert fault(checks, o={}) is None
    assert fault(checks, o={"$type": "x.y.z", "deep": {"$bytes": "AAAA"}}) is None
    assert fault(checks, o=value) == ("o", "type", "not an object")


def test_a_reference_reaches_into_its_own_document_and_into_others() -> None:
    inner = {"type": "object", "properties": {"n": {"type": "integer"}}}
    other = {"lexicon": 1, "id": "a.b.other", "defs": {"main": inner, "inner": inner}}
    refs = {
        name: {"type": "ref", "ref": ref}
        for name, ref in {"own": "#inner", "far": "a.b.other#inner", "main": "a.b.other"}.items()
    }
    record = {"type": "record", "key": "any", "record": {"type": "object", "properties": refs}}
    own = {"lexicon": 1, "id": "a.b.c", "defs": {"main": record, "inner": inner}}
    checks = Lexicons([own, other])
    for name in refs:
        assert fault(checks, **{name: {"n": 1}}) is None
        assert fault(checks, **{name: {"n": "1"}}) == (f"{name}.n", "type", "not an integer")


def test_a_definition_may_contain_itself_and_a_fault_is_found_however_deep() -> None:
    branch = {"type": "array", "items": {"type": "array", "items": {"type": "ref", "ref": "#tree"}}}
    tree = {"type": "object", "properties": {"n": {"type": "integer"}, "twigs": branch}}
    checks = of({"tree": {"type": "ref", "ref": "#tree"}}, tree=tree)
    assert fault(checks, tree={"n": 1, "twigs": [[], [{"n": 2}, {"twigs": []}]]}) is None
    found = fault(checks, tree={"twigs": [[], [{"n": 2}, {"twigs": [[{"n": "3"}]]}]]})
    assert found == ("tree.twigs[1][1].twigs[0][0].n", "type", "not an integer")


# --- unions -----------------------------------------------------------------------------------

TOLD_BY_TYPE = {
    "one": {"type": "object", "properties": {"n": {"type": "integer"}}},
    "two": {"type": "object", "properties": {"n": {"type": "string"}}},
}


def test_a_union_is_told_apart_by_type_and_leaves_room_for_others() -> None:
    checks = of({"u": {"type": "union", "refs": ["#one", "#two"]}}, **TOLD_BY_TYPE)
    assert fault(checks, u={"$type": "a.b.c#one", "n": 1}) is None
    assert fault(checks, u={"$type": "a.b.c#two", "n": 1}) == ("u.n", "type", "not a string")
    assert fault(checks, u={"$type": "x.y.z", "n": []}) is None
    for untyped in ({}, {"n": 1}, {"$type": 5}, {"$type": None}, {"$type": ["a.b.c#one"]}):
        found = fault(checks, u=untyped)
        assert found is not None
        assert found[:2] == ("u", "union")
    assert fault(checks, u="a.b.c#one") == ("u", "type", "not an object")


def test_a_closed_union_leaves_no_room() -> None:
    checks = of({"u": {"type": "union", "closed": True, "refs": ["#one"]}}, **TOLD_BY_TYPE)
    words = "$type is none of a.b.c#one"
    assert fault(checks, u={"$type": "a.b.c#one"}) is None
    assert fault(checks, u={"$type": "a.b.c#two"}) == ("u", "union", words)


def test_an_open_union_of_nothing_yet_takes_whatever_has_a_type() -> None:
    checks = of({"u": {"type": "union", "refs": []}})
    assert fault(checks, u={"$type": "x.y.z"}) is None
    found = fault(checks, u={})
    assert found is not None
    assert found[:2] == ("u", "union")


@pytest.mark.parametrize(
    "declared",
    [
        {"kind": "primitive", "primitive": "int"},
        {"kind": "primitive", "primitive": "int", "$type": f"{SCHEMA}#primitive"},
        {"kind": "ndarray", "dtype": "uint8"},
        {"kind": "ndarray", "dtype": "uint8", "shape": None},
        {"kind": "ndarray", "dtype": "uint8", "shape": []},
        {"kind": "ndarray", "dtype": "uint8", "shape": [None, 3, 0, None]},
        {"kind": "nested", "schemaRef": SCHEMA_URI, "more": "left alone"},
    ],
)
def test_a_field_type_is_told_by_its_kind_with_a_type_or_without(declared: object) -> None:
    record = put_at(schema(), "fields[0].type", declared)
    lexicons().check_record(SCHEMA, RKEY, record)


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"kind": None},
        {"kind": 1},
        {"kind": ["primitive"]},
        {"kind": "Primitive", "primitive": "int"},
        {"kind": "codeText", "source": ""},
        {"$type": f"{SCHEMA}#primitive", "primitive": "int"},
        {"$bytes": "AAAA"},
    ],
)
def test_a_field_type_of_no_known_kind_is_refused(declared: object) -> None:
    words = "fields[0].type: kind is none of primitive, ndarray, nested"
    assert verdict(SCHEMA, RKEY, put_at(schema(), "fields[0].type", declared)) == words


def test_null_stands_for_a_free_dimension_and_for_nothing_else() -> None:
    record = put_at(schema(), "fields[0].type.shape", [3, None, "3"])
    assert verdict(SCHEMA, RKEY, record) == "fields[0].type.shape[2]: not an integer"
    assert verdict(DATASET, RKEY, dataset(tags=["a", None])) == "tags[1]: not a string"
    assert verdict(DATASET, RKEY, dataset(urls=[None])) == "urls[0]: not a string"
    assert verdict(SCHEMA, RKEY, schema(fields=[None])) == "fields[0]: not an object"


# --- a lexicon that would not be understood is refused when it is loaded ------------------------


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"type": "float"}, "unknown type 'float'"),
        ({"type": "null"}, "unknown type 'null'"),
        ({"type": "token"}, "unknown type 'token'"),
        ({}, "unknown type None"),
        ({"type": "string", "format": "email"}, "unknown format 'email'"),
        ({"type": "string", "maxGraphemes": 10}, "unknown keyword 'maxGraphemes' of string"),
        ({"type": "string", "pattern": "a*"}, "unknown keyword 'pattern' of string"),
        ({"type": "integer", "const": 42}, "unknown keyword 'const' of integer"),
        ({"type": "boolean", "const": True}, "unknown keyword 'const' of boolean"),
        ({"type": "blob", "maxSize": 20}, "unknown keyword 'maxSize' of blob"),
        ({"type": "object", "additionalProperties": False}, "'additionalProperties' of object"),
        ({"type": "array", "items": {"type": "float"}}, "unknown type 'float'"),
        ({"type": "object", "properties": {"x": {"type": "float"}}}, "unknown type 'float'"),
        ({"type": "ref", "ref": "#nowhere"}, "reference to unknown #nowhere"),
        ({"type": "ref", "ref": "x.y.z"}, "reference to unknown x.y.z"),
        ({"type": "ref", "ref": "a.b.c"}, "a.b.c is a record, not a value"),
        ({"type": "union", "refs": ["#nowhere"]}, "reference to unknown #nowhere"),
        ({"type": "union", "refs": ["a.b.c"]}, "a.b.c is a record, not a value"),
    ],
)
def test_what_the_validator_does_not_understand_is_refused_at_load(
    definition: dict[str, Any], words: str
) -> None:
    with pytest.raises(LexiconError) as caught:
        of({"x": definition})
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["procedure", "params", "permission-set"])
def test_a_kind_of_lexicon_this_project_does_not_serve_is_refused_at_load(kind: str) -> None:
    with pytest.raises(LexiconError, match=f"unknown type '{kind}'"):
        Lexicons([{"lexicon": 1, "id": "a.b.c", "defs": {"main": {"type": kind}}}])


@pytest.mark.parametrize("key", ["literal:self", "nsid", None])
def test_a_record_key_type_that_is_not_checked_is_refused_at_load(key: str | None) -> None:
    main = {"type": "record", "key": key, "record": {"type": "object"}}
    with pytest.raises(LexiconError, match="unknown record key type"):
        Lexicons([{"lexicon": 1, "id": "a.b.c", "defs": {"main": main}}])


def test_a_parameter_or_an_output_that_is_not_understood_is_refused_at_load() -> None:
    good: dict[str, Any] = {"type": "object"}
    bad: dict[str, Any] = {"type": "float"}
    for parameter, output in ((bad, good), (good, bad)):
        query = {
            "type": "query",
            "parameters": {"type": "params", "properties": {"x": parameter}},
            "output": {"encoding": "application/json", "schema": output},
        }
        with pytest.raises(LexiconError, match="unknown type 'float'"):
            Lexicons([{"lexicon": 1, "id": "a.b.c", "defs": {"main": query}}])


def test_what_is_not_a_record_has_no_records() -> None:
    with pytest.raises(LexiconError, match=r"no lexicon app\.bsky\.feed\.post"):
        lexicons().check_record("app.bsky.feed.post", RKEY, {})
    with pytest.raises(LexiconError, match="is not the lexicon of a record"):
        lexicons().check_record("app.bsky.atdata.getDataset", RKEY, {})


def test_every_indexed_collection_has_a_lexicon_and_no_other() -> None:
    shipped = lexicons()
    records = [
        nsid for nsid in shipped.nsids if shipped.document(nsid)["defs"].get("main", {}).get("key")
    ]
    assert records == sorted(COLLECTIONS)


# --- parameters of a query ----------------------------------------------------------------------

SEARCH = "app.bsky.atdata.searchDatasets"


def refused(nsid: str, *pairs: tuple[str, str]) -> tuple[str, str, str]:
    with pytest.raises(ValidationError) as caught:
        lexicons().parse_params(nsid, pairs)
    return caught.value.path, caught.value.rule, caught.value.message


def test_parameters_are_typed_and_defaults_filled_in() -> None:
    pairs = [("q", "frogs"), ("tags", "a"), ("limit", "7"), ("tags", "b"), ("highlight", "true")]
    defaults = {"tagMatch": "all", "facetSize": 10, "highlight": False, "limit": 25}
    given = {"q": "frogs", "tags": ["a", "b"], "limit": 7, "highlight": True}
    assert lexicons().parse_params(SEARCH, pairs) == defaults | given
    assert lexicons().parse_params(SEARCH, []) == defaults


def test_a_default_array_of_one_request_is_not_shared_with_the_next() -> None:
    first = lexicons().parse_params(SEARCH, [("tags", "a")])
    second = lexicons().parse_params(SEARCH, [("tags", "b")])
    assert (first["tags"], second["tags"]) == (["a"], ["b"])


def test_a_parameter_nobody_declared_is_refused_and_the_known_ones_named() -> None:
    path, rule, message = refused(SEARCH, ("query", "frogs"))
    assert (path, rule) == ("query", "unknown")
    assert "known: q, tags, " in message
    assert refused("app.bsky.atdata.describeService", ("x", ""))[2].endswith("known: none")
    assert len(refused(SEARCH, ("x" * 100_000, ""))[0]) == 80


def test_only_an_array_may_be_given_more_than_once() -> None:
    assert refused(SEARCH, ("q", "a"), ("q", "a")) == ("q", "type", "given more than once")
    assert refused(SEARCH, ("limit", "1"), ("limit", "1"))[:2] == ("limit", "type")


def test_a_parameter_that_must_be_there_is_missed() -> None:
    assert refused("app.bsky.atdata.getDataset") == ("uri", "required", "missing")
    assert refused("app.bsky.atdata.getDatasets") == ("uris", "required", "missing")


@pytest.mark.parametrize(
    ("name", "text", "path", "rule"),
    [
        ("limit", "", "limit", "type"),
        ("limit", "ten", "limit", "type"),
        ("limit", "1.0", "limit", "type"),
        ("limit", "1e1", "limit", "type"),
        ("limit", "+1", "limit", "type"),
        ("limit", " 1", "limit", "type"),
        ("limit", "1\n", "limit", "type"),
        ("limit", "1_0", "limit", "type"),
        ("limit", "0x10", "limit", "type"),
        ("limit", "١٠", "limit", "type"),
        ("limit", "9" * 17, "limit", "type"),
        ("limit", "9" * 100_000, "limit", "type"),
        ("limit", "0", "limit", "minimum"),
        ("limit", "-5", "limit", "minimum"),
        ("limit", "101", "limit", "maximum"),
        ("limit", "9" * 16, "limit", "maximum"),
        ("sort", "best", "sort", "enum"),
        ("sort", "", "sort", "enum"),
        ("viewableAs", "BoxImage", "viewableAs", "format"),
        ("viewableAs", "", "viewableAs", "format"),
        ("createdAfter", "yesterday", "createdAfter", "format"),
        ("samplesMin", "-1", "samplesMin", "minimum"),
        ("highlight", "1", "highlight", "type"),
        ("facets", "colour", "facets[0]", "enum"),
        ("author", "not a handle", "author", "format"),
        ("author", "alice.test\n", "author", "format"),
        ("q", "x" * 513, "q", "maxLength"),
        ("q", "é" * 257, "q", "maxLength"),
        ("cursor", "x" * 1001, "cursor", "maxLength"),
        ("tags", "x" * 51, "tags[0]", "maxLength"),
    ],
)
def test_an_ill_formed_parameter_is_refused_by_its_rule(
    name: str, text: str, path: str, rule: str
) -> None:
    assert refused(SEARCH, (name, text))[:2] == (path, rule)


def test_an_array_of_parameters_has_bounds_and_faults_of_its_items_have_their_place() -> None:
    many = [("uris", SCHEMA_URI)] * 26
    assert refused("app.bsky.atdata.getDatasets", *many)[:2] == ("uris", "maxLength")
    pairs = [("uris", SCHEMA_URI), ("uris", "x")]
    assert refused("app.bsky.atdata.getDatasets", *pairs)[:2] == ("uris[1]", "format")


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_a_boolean_parameter_is_true_or_false_in_so_many_letters(text: str, value: bool) -> None:
    query = {
        "type": "query",
        "parameters": {"type": "params", "properties": {"x": {"type": "boolean"}}},
        "output": {"encoding": "application/json", "schema": {"type": "object"}},
    }
    checks = Lexicons([{"lexicon": 1, "id": "a.b.c", "defs": {"main": query}}])
    assert checks.parse_params("a.b.c", [("x", text)]) == {"x": value}
    for wrong in ("True", "1", "", "yes", "true ", "TRUE"):
        with pytest.raises(ValidationError, match="x: not true or false"):
            checks.parse_params("a.b.c", [("x", wrong)])
