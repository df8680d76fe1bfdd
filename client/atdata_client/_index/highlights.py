"""Which parts of a text were searched for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from atdata_client._records.stored import JsonObject


@dataclass(frozen=True, slots=True)
class ByteSlice:
    """A part of a text, counted in bytes of UTF-8; its end is not included."""

    byte_start: int
    byte_end: int

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#byteSlice`."""
        return cls(value["byteStart"], value["byteEnd"])


@dataclass(frozen=True, slots=True)
class Highlight:
    """The name of a dataset (`field` is `name`) or an excerpt of its description, and what of it
    was searched for.
    """

    field: str
    text: str
    slices: tuple[ByteSlice, ...]

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#highlight`."""
        slices = tuple(ByteSlice.from_json(one) for one in value["slices"])
        return cls(value["field"], value["text"], slices)

    @property
    def parts(self) -> tuple[tuple[str, bool], ...]:
        """The text in parts, each with whether it was searched for."""
        whole, at, parts = self.text.encode(), 0, []
        for one in self.slices:
            parts.append((whole[at : one.byte_start], False))
            parts.append((whole[one.byte_start : one.byte_end], True))
            at = one.byte_end
        parts.append((whole[at:], False))
        return tuple((part.decode(errors="replace"), found) for part, found in parts if part)
