"""Semantic versions (https://semver.org 2.0) and ranges of them, as npm writes ranges. Pure.

A range is one or more conditions that must all hold: `1.2.3`, `=1.2.3`, `1.x`, `*`, `^1.2`, `~1.2`,
`>=1.2 <2`. Alternatives (`||`) and spans (`1.0 - 2.0`) are not understood, and said to be so.
"""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple, Self

from atdata_schemas.errors import ValidationError
from atdata_schemas.syntax import is_at_uri

MAX_TEXT = 256
MAX_CONDITIONS = 16
MAX_NAME = 100

_NUMBER = r"(?:0|[1-9][0-9]{0,15})"
_PART = r"(?:0|[1-9][0-9]{0,15}|[xX*])"
_PRE = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_TAIL = rf"(?:-(?P<pre>{_PRE}(?:\.{_PRE})*))?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
_VERSION = re.compile(rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER}){_TAIL}")
_CONDITION = re.compile(
    r"\s*(?P<op>[<>]=?|[=^~]?)\s*"
    rf"(?P<major>{_PART})(?:\.(?P<minor>{_PART})(?:\.(?P<patch>{_PART}){_TAIL})?)?(?=\s|$)"
)
_WILD = ("x", "X", "*", None)

_COMPARE: dict[str, Callable[["Version", "Version"], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
}

type _Part = tuple[int, int, str]
type _Bound = tuple[str, Version]

_RELEASE: tuple[_Part, ...] = ((2, 0, ""),)
_FIRST: tuple[_Part, ...] = ((0, 0, ""),)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A semantic version, in the order of precedence; build metadata is left out.

    `pre` orders as pre-releases do: numbers before words, and all of them before the release.
    """

    major: int
    minor: int
    patch: int
    pre: tuple[_Part, ...] = _RELEASE

    @classmethod
    def parse(cls, text: str) -> Self:
        """The version in `text`. Raises ValidationError when it is none."""
        match = _VERSION.fullmatch(text) if len(text) <= MAX_TEXT else None
        if match is None:
            raise ValidationError("version", "semver", "not a semantic version (1.2.3)")
        major, minor, patch = match.group(1, 2, 3)
        return cls(int(major), int(minor), int(patch), _pre(match["pre"]))

    @property
    def is_release(self) -> bool:
        """Whether this is no pre-release."""
        return self.pre == _RELEASE

    @property
    def triple(self) -> tuple[int, int, int]:
        """Major, minor and patch."""
        return self.major, self.minor, self.patch

    def __str__(self) -> str:
        number = f"{self.major}.{self.minor}.{self.patch}"
        if self.is_release:
            return number
        return f"{number}-{'.'.join(word if is_word else str(n) for is_word, n, word in self.pre)}"


@dataclass(frozen=True, slots=True)
class Range:
    """The versions that hold to all of `bounds`.

    A pre-release is only in a range that names a pre-release of the same major, minor and patch:
    who asks for `^1.2` does not want `1.3.0-rc.1`.
    """

    bounds: tuple[_Bound, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """The range in `text`. Raises ValidationError that names the parameter `schema`."""
        if len(text) > MAX_TEXT:
            raise _fault(f"a range of versions is longer than {MAX_TEXT} characters")
        if not text.strip():
            raise _fault("no version after the @")
        if "||" in text:
            raise _fault("alternatives (||) of versions are not understood; ask once for each")
        bounds: list[_Bound] = []
        at = conditions = 0
        while text[at:].strip():
            match = _CONDITION.match(text, at)
            if match is None:
                raise _fault(f"not a range of versions (^1.2, >=1.2 <2): {text[at:].strip()[:50]}")
            conditions += 1
            if conditions > MAX_CONDITIONS:
                raise _fault(f"a range of versions has more than {MAX_CONDITIONS} conditions")
            bounds += _bounds(match)
            at = match.end()
        return cls(tuple(bounds))

    def matches(self, version: Version) -> bool:
        """Whether `version` is in this range."""
        if not all(_COMPARE[op](version, bound) for op, bound in self.bounds):
            return False
        return version.is_release or any(
            not bound.is_release and bound.triple == version.triple for _, bound in self.bounds
        )


class SchemaName(NamedTuple):
    """Schemas by name: those in `range`, or with None all versions, pre-releases too."""

    name: str
    range: Range | None


def parse_schema_reference(text: str) -> str | SchemaName:
    """What `schema=` asks for: an AT-URI, as it is, or `Name`, or `Name@range`.

    Raises ValidationError that names the parameter `schema`.
    """
    if text.startswith("at://"):
        if not is_at_uri(text) or text.count("/") != 4:
            raise _fault("not the AT-URI of a record", "format")
        return text
    name, at, versions = text.rpartition("@") if "@" in text else (text, "", "")
    name = name.strip()
    if not name:
        raise _fault("names no schema", "format")
    if len(name) > MAX_NAME:
        raise _fault(f"a name is longer than {MAX_NAME} characters", "maxLength")
    return SchemaName(name, Range.parse(versions) if at else None)


def _pre(text: str | None) -> tuple[_Part, ...]:
    if text is None:
        return _RELEASE
    parts = text.split(".")
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


def _bounds(match: re.Match[str]) -> Iterator[_Bound]:
    """One condition as comparisons. An upper bound that was not named leaves out pre-releases."""
    op = match["op"]
    named = match.group("major", "minor", "patch")
    known = [int(part) for part in takewhile(lambda part: part not in _WILD, named)]
    if any(part not in _WILD for part in named[len(known) :]) or (match["pre"] and len(known) < 3):
        raise _fault(f"a number stands after a wildcard: {match[0].strip()[:50]}")
    if not known:
        if op in ("<", ">"):  # nothing is before or after all versions
            yield "<", Version(0, 0, 0, _FIRST)
        return
    major, minor, patch = [*known, 0, 0][:3]
    low = Version(major, minor, patch, _pre(match["pre"]))
    whole = len(known) == 3
    match op:
        case "^":
            steps = next((i for i, part in enumerate(known) if part), len(known) - 1)
            yield ">=", low
            yield "<", _next(known, steps)
        case "~":
            yield ">=", low
            yield "<", _next(known, min(1, len(known) - 1))
        case "" | "=" if not whole:
            yield ">=", low
            yield "<", _next(known, len(known) - 1)
        case "" | "=":
            yield "=", low
        case ">" if not whole:
            yield ">=", Version(*_next(known, len(known) - 1).triple)
        case "<=" if not whole:
            yield "<", _next(known, len(known) - 1)
        case "<" if not whole:
            yield "<", Version(*low.triple, _FIRST)
        case _:
            yield op, low


def _next(known: list[int], place: int) -> Version:
    """The very first version beyond all that share `known` up to `place`."""
    numbers = [*known[:place], known[place] + 1, 0, 0]
    return Version(numbers[0], numbers[1], numbers[2], _FIRST)


def _fault(message: str, rule: str = "semver") -> ValidationError:
    return ValidationError("schema", rule, message)
