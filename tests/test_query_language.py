"""What may be typed into the search box is cut into parts; nothing is an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata_indexer.index.language import MAX_PARTS, MAX_TEXT, Kind, Part, parse

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"

# Text of the pieces that mean something, so that they meet in every order.
SIGNS = ('"', "-", "*", ":", "\u201c", "\u201d", " ", "  ", "\0", "\ud800", "\ufb01", "\uff1a")
KEYS = ("tag:", "TAG:", "author:", "license:", "field:", "schema:")
VALUES = ("x", "image-net", "a b", "@a.test", "ndarray", "漢字")
SYNTAX = st.lists(st.sampled_from(SIGNS + KEYS + VALUES), max_size=60).map("".join)


def shown(q: str) -> list[str]:
    return [str(part) for part in parse(q).parts]


def word(value: str, **more: bool) -> Part:
    return Part(Kind.WORD, value, **more)


# --- what is understood -----------------------------------------------------------------------


def test_words_phrases_exclusions_and_filters_are_told_apart() -> None:
    question = parse('chest x-ray "lung nodule" -adult -"to be" tag:ct -license:MIT imag*')
    assert question.words == (word("chest"), word("x-ray"), word("imag", prefix=True))
    assert question.phrases == (Part(Kind.PHRASE, "lung nodule"),)
    words = question.of(Kind.WORD, excluded=True)
    assert words + question.of(Kind.PHRASE, excluded=True) == (
        word("adult", excluded=True),
        Part(Kind.PHRASE, "to be", excluded=True),
    )
    assert question.of(Kind.TAG) == (Part(Kind.TAG, "ct"),)
    assert question.of(Kind.LICENSE) == ()
    assert question.of(Kind.LICENSE, excluded=True) == (Part(Kind.LICENSE, "MIT", excluded=True),)


@pytest.mark.parametrize(
    ("q", "kind", "value"),
    [
        ("tag:speech", Kind.TAG, "speech"),
        ("Tag:speech", Kind.TAG, "speech"),
        ('tag:"machine translation"', Kind.TAG, "machine translation"),
        ("tag：語音", Kind.TAG, "語音"),
        ("author:alice.test", Kind.AUTHOR, "alice.test"),
        ("author:@alice.test", Kind.AUTHOR, "alice.test"),
        (f"author:{DID}", Kind.AUTHOR, DID),
        ("license:CC-BY-4.0", Kind.LICENSE, "CC-BY-4.0"),
        ("field:image", Kind.FIELD, "image"),
        ("field:image:ndarray:uint8:3", Kind.FIELD, "image:ndarray:uint8:3"),
        ("field:*:ndarray", Kind.FIELD, "*:ndarray"),
        ("field:::float32", Kind.FIELD, "::float32"),
        ('schema:"Image@>=1.2 <2"', Kind.SCHEMA, "Image@>=1.2 <2"),
        (f"schema:at://{DID}/a.b.c/3k", Kind.SCHEMA, f"at://{DID}/a.b.c/3k"),
    ],
)
def test_a_filter_keeps_its_value(q: str, kind: Kind, value: str) -> None:
    assert parse(q).parts == (Part(kind, value),)
    assert parse(f"-{q}").parts == (Part(kind, value, excluded=True),)


def test_a_filter_given_twice_is_kept_twice() -> None:
    assert [part.value for part in parse("tag:a tag:b tag:a").of(Kind.TAG)] == ["a", "b", "a"]


# --- what is searched as words ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("q", "parts"),
    [
        ("foo:bar", ["foo", "bar"]),
        ("https://example.org/x", ["https", "example.org", "x"]),
        ("author:bob", ["author", "bob"]),
        ('author:"two words"', ["author", "two", "words"]),
        ("field:a:b:c:d:e", ["field", "a", "b", "c", "d", "e"]),
        ("field:image:tensor", ["field", "image", "tensor"]),
        ("field:image:ndarray:uint8:many", ["field", "image", "ndarray", "uint8", "many"]),
        ("field:::", ["field"]),
        ("field:*", ["field"]),
        ("tag: x", ["tag", "x"]),
        ('tag:""', ["tag"]),
        ('"never closed', ["never", "closed"]),
        ('a "b c" "d', ["a", '"b c"', "d"]),
        ("“curly quotes”", ['"curly quotes"']),
        ("-foo:bar", ['-"foo:bar"']),
        ("--flag", ["flag"]),
        ("a-b", ["a-b"]),
        ('x"y z"', ["x", '"y z"']),
        ("fo*o ba*", ["fo", "o", "ba*"]),
        ("NOT (a OR b)", ["NOT", "a", "OR", "b"]),
        ("a/b,c", ["a", "b", "c"]),
        ("bert深度学习", ["bert", "深度学习"]),
        ("a\0b", ["a", "b"]),
    ],
)
def test_what_is_no_syntax_is_searched_as_words(q: str, parts: list[str]) -> None:
    assert shown(q) == parts


@pytest.mark.parametrize(
    "q", ["", "-", "*", '""', '-""', ":", "::", "- - *", '"', '"-"', "()", "🧬"]
)
def test_lone_signs_vanish(q: str) -> None:
    assert parse(q).parts == ()


# --- bounds -----------------------------------------------------------------------------------


@given(SYNTAX | st.text(st.characters()))
def test_every_text_is_cut_into_few_parts_of_what_was_typed(q: str) -> None:
    question = parse(q)
    assert len(question.parts) <= MAX_PARTS
    assert len(question.typed) <= MAX_TEXT
    question.typed.encode()  # what tantivy and JSON take
    for part in question.parts:
        assert part.value
        assert part.value in question.typed[part.start : part.end].replace('"', "")


@given(SYNTAX | st.text(st.characters(), max_size=80))
def test_the_written_form_means_the_same(q: str) -> None:
    question = parse(q)
    written = str(question)
    if len(written) <= MAX_TEXT:
        assert parse(written) == question
        assert str(parse(written)) == written


def test_what_is_beyond_the_bounds_is_left_out() -> None:
    assert len(parse("a " * 200).parts) == MAX_PARTS
    assert len(parse("a/" * 200).parts) == MAX_PARTS
    assert parse("x" * 600).parts == (word("x" * MAX_TEXT),)
    assert parse(" " * MAX_TEXT + "late").parts == ()
    assert len(parse("\ufdfa" * MAX_TEXT).typed) == MAX_TEXT


# --- did you mean -----------------------------------------------------------------------------


def test_a_correction_keeps_the_rest_as_typed() -> None:
    meant = {"imgae": "image", "sppech": "speech", "tset": "test"}
    question = parse('Imgae  imgae-net, (sppech*) "tset imgae" -tset tag:tset author:tset.test')
    assert question.corrected(lambda run: meant.get(run)) == (
        'Imgae  image-net, (speech*) "test image" -tset tag:tset author:tset.test'
    )


@given(SYNTAX)
def test_a_correction_of_nothing_changes_nothing(q: str) -> None:
    question = parse(q)
    assert question.corrected(lambda run: None) == question.typed
