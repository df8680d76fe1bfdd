"""The checks of values by the lexicon types that contain no other definition.

A definition becomes one function when it is loaded; `atdata_schemas.lexicon` puts them together.
"""

import re
import sys
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

from atdata_schemas.errors import ValidationError
from atdata_schemas.syntax import FORMATS, is_cid

type Json = Any
"""A value of the AT Protocol data model in its JSON form."""

type Definition = Mapping[str, Any]

type Check = Callable[[Json], None]
"""Raises ValidationError for a value that breaks its definition; paths begin at that value."""

MAX_INTEGER = 2**53 - 1
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?")


def is_object(value: Json) -> bool:
    """Whether a value is an object of the data model: bytes, links and blobs look like one."""
    return (
        isinstance(value, dict)
        and "$bytes" not in value
        and "$link" not in value
        and value.get("$type") != "blob"
    )


def _string(definition: Definition) -> Check:
    const, choices, form = (definition.get(keyword) for keyword in ("const", "enum", "format"))
    has_format = FORMATS[form] if form else None
    check_length = length_check(definition)
    has_length = bool(definition.keys() & {"maxLength", "minLength"})

    def check(value: Json) -> None:
        if not isinstance(value, str):
            raise ValidationError("", "type", "not a string")
        if const is not None and value != const:
            raise ValidationError("", "const", f"not {const!r}")
        if choices is not None and value not in choices:
            raise ValidationError("", "enum", f"not one of {', '.join(choices)}")
        if has_length:
            # What is all ASCII need not be encoded to be counted.
            text = value if value.isascii() else value.encode("utf-8", "surrogatepass")
            check_length(len(text))
        if has_format and not has_format(value):
            raise ValidationError("", "format", f"not a valid {form}")

    return check


def _integer(definition: Definition) -> Check:
    least = definition.get("minimum", -MAX_INTEGER)
    most = definition.get("maximum", MAX_INTEGER)
    choices = definition.get("enum")

    def check(value: Json) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValidationError("", "type", "not an integer")
        if value < least:
            raise ValidationError("", "minimum", f"less than {least}")
        if value > most:
            raise ValidationError("", "maximum", f"greater than {most}")
        if choices is not None and value not in choices:
            raise ValidationError("", "enum", f"not one of {choices}")

    return check


def _bytes(definition: Definition) -> Check:
    check_length = length_check(definition)

    def check(value: Json) -> None:
        if not isinstance(value, dict) or value.keys() != {"$bytes"}:
            raise ValidationError("", "type", 'not bytes ({"$bytes": base64})')
        check_length(len(decode_bytes(value)))

    return check


def _check_boolean(value: Json) -> None:
    if not isinstance(value, bool):
        raise ValidationError("", "type", "not a boolean")


def _check_link(value: Json, path: str = "") -> None:
    link = value.get("$link") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(link, str) or not is_cid(link):
        raise ValidationError(path, "type", 'not a CID link ({"$link": cid})')


def _check_blob(value: Json) -> None:
    if not isinstance(value, dict) or value.get("$type") != "blob":
        raise ValidationError("", "type", "not a blob")
    _check_link(value.get("ref"), "ref")


def _check_unknown(value: Json) -> None:
    if not is_object(value):
        raise ValidationError("", "type", "not an object")


PLAIN: Mapping[str, Callable[[Definition], Check]] = {
    "blob": lambda _: _check_blob,
    "boolean": lambda _: _check_boolean,
    "bytes": _bytes,
    "cid-link": lambda _: _check_link,
    "integer": _integer,
    "string": _string,
    "unknown": lambda _: _check_unknown,
}
"""The types that contain no other definition."""


def length_check(definition: Definition) -> Callable[[int], None]:
    """The check of a length against `maxLength` and `minLength`."""
    most, least = definition.get("maxLength", sys.maxsize), definition.get("minLength", 0)

    def check(length: int) -> None:
        if length > most:
            raise ValidationError("", "maxLength", f"longer than {most}")
        if length < least:
            raise ValidationError("", "minLength", f"shorter than {least}")

    return check


def decode_bytes(value: Mapping[str, str], path: str = "") -> bytes:
    """The bytes behind `{"$bytes": base64}` (unpadded, as the data model has it; padding is taken).

    Raises ValidationError when the text is not base64.
    """
    text = value["$bytes"]
    if not isinstance(text, str) or not _BASE64.fullmatch(text):
        raise ValidationError(path, "type", "$bytes is not base64")
    return b64decode(text + "=" * (-len(text) % 4))
