"""Other people's JSON cut to a length that a language model can take, saying what was cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atdata_client._schemas.generate import readable

TEXT = 2_000
"""Characters of one text at most."""
ITEMS = 50
"""Items of one list or object at most."""
DEPTH = 12
"""Lists and objects in one another at most."""
ROOM = 24_000
"""Characters of a whole answer at most, or little more."""
NOTES = 20
"""Places named at most that were cut."""

_LEAST = 8  # what the smallest value takes, its quotes and commas included


class Excerpt:
    """Cuts values of one answer, which share its room. `notes` say what was cut, and where."""

    def __init__(self, *, room: int = ROOM) -> None:
        self.notes: list[str] = []
        self._left = room

    def of(self, value: object, path: str, *, text: int = TEXT, depth: int = DEPTH) -> Any:
        """The value in JSON form, as much of it as there is room for; `path` is where it stands."""
        self._left -= _LEAST
        if isinstance(value, str):
            return self._text(value, path, text)
        if not isinstance(value, Mapping | list | tuple):
            return value
        named = isinstance(value, Mapping)
        pairs: list[tuple[Any, object]] = list(
            value.items() if isinstance(value, Mapping) else enumerate(value)
        )
        shown: list[tuple[Any, Any]] = []
        for key, item in pairs:
            if len(shown) == ITEMS or self._left <= 0 or depth == 0:
                self._note(path, len(pairs), len(shown), "items")
                break
            where = f"{path}.{key[:40]}" if named else f"{path}[{key}]"
            name = self._text(key, where, TEXT) if named else key
            shown.append((name, self.of(item, where, text=text, depth=depth - 1)))
        return dict(shown) if named else [item for _, item in shown]

    def _text(self, value: str, path: str, most: int) -> str:
        kept = min(len(value), most, max(self._left, 0))
        self._left -= kept
        if kept == len(value):
            return readable(value)
        self._note(path, len(value), kept, "characters")
        return f"{readable(value[:kept])}…"

    def _note(self, path: str, there: int, shown: int, unit: str) -> None:
        if len(self.notes) < NOTES:
            self.notes.append(readable(f"{path}: the first {shown} of {there} {unit}"))
        elif len(self.notes) == NOTES:
            self.notes.append("and more places")
