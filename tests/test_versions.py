"""Semantic versions order as the specification says, and ranges hold what npm's ranges hold."""

import json
import os
import subprocess
from contextlib import suppress
from functools import cmp_to_key
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata_schemas.errors import ValidationError
from atdata_schemas.versions import (
    MAX_CONDITIONS,
    MAX_TEXT,
    Range,
    SchemaName,
    Version,
    parse_schema_reference,
)
from tests import real_pds
from tests.conftest import require

NUMBERS = st.integers(0, 3) | st.integers(0, 10**15)
WORDS = st.from_regex(r"[0-9a-z-]{0,4}[a-z-][0-9a-z-]{0,4}", fullmatch=True)
PARTS = st.lists(NUMBERS.map(str) | WORDS, max_size=3).map(".".join)
TEXTS = st.builds(
    lambda a, b, c, pre: f"{a}.{b}.{c}" + (f"-{pre}" if pre else ""),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    PARTS,
)


def compared(one: str, other: str) -> int:
    """Precedence, rule by rule (semver.org 2.0, 11)."""
    (core, _, pre), (other_core, _, other_pre) = one.partition("-"), other.partition("-")
    numbers = [int(n) for n in core.split(".")], [int(n) for n in other_core.split(".")]
    if numbers[0] != numbers[1]:
        return 1 if numbers[0] > numbers[1] else -1
    if not pre or not other_pre:
        return bool(other_pre) - bool(pre)
    for left, right in zip(pre.split("."), other_pre.split("."), strict=False):
        if left == right:
            continue
        if left.isdigit() and right.isdigit():
            return 1 if int(left) > int(right) else -1
        if left.isdigit() or right.isdigit():
            return -1 if left.isdigit() else 1
        return 1 if left > right else -1
    return pre.count(".") - other_pre.count(".")


ORDERED = """
    0.9.0 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11
    1.0.0-rc.1 1.0.0 1.0.1 1.2.0 1.10.0 2.0.0
"""


def test_the_order_of_the_specification() -> None:
    versions = [Version.parse(text) for text in ORDERED.split()]
    shuffled = Random(4).sample(versions, len(versions))
    assert shuffled != versions
    assert sorted(shuffled) == versions


def test_build_metadata_does_not_count() -> None:
    assert Version.parse("1.0.0+one") == Version.parse("1.0.0+two.3") == Version.parse("1.0.0")
    assert Version.parse("1.0.0-rc.1+b") < Version.parse("1.0.0+a")


@given(st.lists(TEXTS, min_size=2, max_size=8))
def test_any_versions_sort_by_precedence(texts: list[str]) -> None:
    expected = sorted(texts, key=cmp_to_key(compared))
    assert sorted(Version.parse(text) for text in texts) == [Version.parse(t) for t in expected]


@given(TEXTS)
def test_a_version_is_written_as_it_was_read(text: str) -> None:
    assert str(Version.parse(text)) == text
    assert Range.parse(text).matches(Version.parse(text))
    assert Range.parse(f"={text}").matches(Version.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2",
        "v1.2.3",
        "01.2.3",
        "1.2.3-",
        "1.2.3-01",
        "1.2.3-a..b",
        "1.2.3+",
        "1.2.x",
        " 1.2.3",
        "1.2.3\n",
        "1.2.٣",
        f"1.2.{'9' * 400}",
    ],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Version.parse(text)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("1.2.3", "1.2.3 1.2.3+build", "1.2.4 1.2.2 1.2.3-rc.1"),
        ("=1.2.3", "1.2.3", "1.2.4"),
        ("1.2.3-rc.1", "1.2.3-rc.1", "1.2.3 1.2.3-rc.2"),
        ("1.2", "1.2.0 1.2.9", "1.3.0 1.1.9 1.2.0-rc.1 1.3.0-rc.1"),
        ("1.x", "1.0.0 1.9.9", "2.0.0 0.9.9 2.0.0-0"),
        ("1.X.*", "1.0.0 1.9.9", "2.0.0"),
        ("1", "1.0.0 1.9.9", "2.0.0"),
        ("*", "0.0.0 9.9.9", "1.0.0-rc.1"),
        ("^1.2", "1.2.0 1.9.0", "2.0.0 1.1.9 2.0.0-0"),
        ("^1.2.3-beta.2", "1.2.3-beta.4 1.2.3 1.9.0", "1.2.4-beta.4 1.2.3-beta.1 2.0.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("^0.0", "0.0.0 0.0.9", "0.1.0"),
        ("^0", "0.0.0 0.9.9", "1.0.0"),
        ("~1.2.3", "1.2.3 1.2.9", "1.3.0 1.2.2"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0"),
        ("~1", "1.0.0 1.9.9", "2.0.0"),
        ("~ 0.2.3-a", "0.2.3-b 0.2.9", "0.3.0 0.2.4-b"),
        (">=1.2 <2", "1.2.0 1.9.9", "2.0.0 1.1.9 2.0.0-alpha"),
        (">= 1.2.0   < 2.0.0", "1.2.0", "2.0.0"),
        (">1.2", "1.3.0 2.0.0", "1.2.0 1.2.9"),
        (">1.2.3 <=1.4", "1.2.4 1.4.9", "1.2.3 1.5.0"),
        ("<1.2.3-rc.2", "1.2.3-rc.1 1.2.2", "1.2.3-rc.2 1.2.3"),
        (">*", "", "0.0.0 1.0.0"),
        (">=*", "0.0.0 1.0.0", "1.0.0-a"),
        (">2 <1", "", "0.5.0 1.5.0 3.0.0"),
    ],
)
def test_a_range_holds_what_it_says(text: str, inside: str, outside: str) -> None:
    parsed = Range.parse(text)
    for version in inside.split():
        assert parsed.matches(Version.parse(version)), version
    for version in outside.split():
        assert not parsed.matches(Version.parse(version)), version


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "^",
        "latest",
        "1.2.3.4",
        "1.x.3",
        "1.2-rc.1",
        "x.x.1-a",
        "1.0 - 2.0",
        "1.0 || 2.0",
        ">=1.2<2",
        "=>1",
        "==1",
        "^^1",
        "~>1",
        "01.2",
        "1.2.3-01",
        "9" * 17,
        " ".join(["*"] * (MAX_CONDITIONS + 1)),
        "1" + " " * MAX_TEXT,
    ],
)
def test_what_is_no_range_is_refused_by_the_parameters_name(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Range.parse(text)
    assert refused.value.path == "schema"
    assert len(str(refused.value)) < 200


@given(st.text(alphabet="0123.x*^~<>= -a|", max_size=30), TEXTS)
def test_any_text_is_a_range_or_refused(text: str, version: str) -> None:
    with suppress(ValidationError):
        assert Range.parse(text).matches(Version.parse(version)) in (True, False)


def test_ranges_hold_what_npm_says_they_hold(tmp_path: Path) -> None:
    reason = real_pds.missing()
    require(reason is None, str(reason))
    random = Random(1)
    cases = [(_range(random), _version(random)) for _ in range(20_000)]
    script = tmp_path / "ask.cjs"
    script.write_text(
        "const semver = require(process.argv[2] + '/semver');"
        "const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        "console.log(JSON.stringify(cases.map(([r, v]) => semver.satisfies(v, r))));"
    )
    modules = Path(os.environ.get("PDS_TEST_MODULES", real_pds.START.parent)) / "node_modules"
    done = subprocess.run(
        ["node", str(script), str(modules)],
        input=json.dumps(cases),
        capture_output=True,
        check=True,
        text=True,
    )
    theirs = json.loads(done.stdout)
    assert 1_000 < sum(theirs) < 19_000
    ours = [Range.parse(text).matches(Version.parse(version)) for text, version in cases]
    wrong = [case for case, one, other in zip(cases, ours, theirs, strict=True) if one != other]
    assert wrong == []


def test_a_schema_is_asked_for_by_uri_or_by_name_and_range() -> None:
    uri = "at://did:plc:alicealicealicealicealic/app.bsky.atdata.schema/3kschemaaaaaa"
    assert parse_schema_reference(uri) == uri
    assert parse_schema_reference(" Photo ") == SchemaName("Photo", None)
    assert parse_schema_reference("Photo@^1.2") == SchemaName("Photo", Range.parse("^1.2"))
    assert parse_schema_reference("Photo @ >=1 <2") == SchemaName("Photo", Range.parse(">=1 <2"))
    assert parse_schema_reference("me@home@1.x") == SchemaName("me@home", Range.parse("1.x"))


@pytest.mark.parametrize(
    "text",
    ["", "  ", "@1.0", "Photo@", "Photo@new", "n" * 101, "at://", "at://alice.test", "at://a/b/c"],
)
def test_what_names_no_schema_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        parse_schema_reference(text)
    assert refused.value.path == "schema"


def _version(random: Random) -> str:
    core = ".".join(str(random.choice((0, 0, 1, 2, 3))) for _ in range(3))
    return core + random.choice(("", "", "-0", "-a", "-a.1", "-1", "-rc.10", "+b", "-a+b"))


def _range(random: Random) -> str:
    return " ".join(_condition(random) for _ in range(random.choice((1, 1, 1, 2, 3))))


def _condition(random: Random) -> str:
    op = random.choice(("", "", "=", "^", "~", ">", ">=", "<", "<=", ">= "))
    numbers = [str(random.choice((0, 0, 1, 2, 3))) for _ in range(random.choice((1, 2, 3, 3, 3)))]
    if len(numbers) == 3 and random.random() < 0.3:
        return op + ".".join(numbers) + random.choice(("-a", "-a.0", "-1", "-rc.2", "+b", "-0"))
    wild = [random.choice("xX*")] * random.choice((0, 0, 0, 1))
    return op + ".".join((numbers + wild)[:3] if random.random() < 0.95 else ["*"])
