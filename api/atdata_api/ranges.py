"""Which parts of a file a request asks for (RFC 9110, section 14). Pure."""

import re
from collections.abc import Sequence

MOST = 100
"""Whoever asks for more parts at once gets the whole."""

_PART = re.compile(r"([0-9]{0,20})-([0-9]{0,20})")


class InvalidRange(Exception):
    """What is asked for is no part of any file."""


class NoSuchRange(Exception):
    """The file has none of the parts that are asked for."""


def parts_of(asked: str, size: int) -> Sequence[range] | None:
    """The parts of a file of `size` bytes that a Range header asks for; None: the whole.

    They come in the order of the file, and what overlaps as one. A unit that is not known here is
    ignored, as section 14.2 wants it. Raises InvalidRange and NoSuchRange.
    """
    unit, _, listed = asked.partition("=")
    if unit.strip().lower() != "bytes":
        return None
    said = [one.strip() for one in listed.split(",") if one.strip()]
    if len(said) > MOST:
        return None
    parts = [_part(one, size) for one in said]
    if not parts:
        raise InvalidRange
    found = sorted((part for part in parts if part), key=lambda part: part.start)
    if not found:
        raise NoSuchRange
    joined = found[:1]
    for part in found[1:]:
        if part.start > joined[-1].stop:
            joined.append(part)
        else:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, part.stop))
    return joined


def _part(said: str, size: int) -> range:
    """One part, empty where the file has it not."""
    match = _PART.fullmatch(said)
    if match is None or said == "-":
        raise InvalidRange
    first, last = match.groups()
    if not first:
        return range(max(size - int(last), 0), size)
    if not last:
        return range(int(first), size)
    if int(last) < int(first):
        raise InvalidRange
    return range(int(first), min(int(last) + 1, size))
