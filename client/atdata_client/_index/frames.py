"""Results as tables: for pandas, for Arrow, and as HTML for notebooks.

Neither pandas nor pyarrow is part of the thin install; each is imported by the call that needs it.
Other people's words stay words: HTML shows them escaped, and never as links.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from atdata_client._extras import missing
from atdata_client._records.stored import JsonObject

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


type Kind = Literal["text", "texts", "uris", "integer", "truth", "moment"]
"""`uris` are the AT-URIs of several records; a `moment` is in UTC, to the microsecond."""

type Columns = Mapping[str, Kind]
"""What a row has: the path of the attribute, as in `author.did`, which is column `author_did`."""

SHOWN_ROWS = 20
SHOWN_LETTERS = 160

# Escape sequences, and the marks that turn the direction of text around (Trojan Source).
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_PANDAS: Mapping[Kind, str] = {
    "text": "string",
    "texts": "object",
    "uris": "object",
    "integer": "Int64",
    "truth": "boolean",
    "moment": "datetime64[us, UTC]",
}


class Row:
    """A result that is a row of a table; a column is empty where nothing is known."""

    __slots__ = ()

    COLUMNS: ClassVar[Columns]
    SHOWN: ClassVar[tuple[str, ...]]
    """The columns that a notebook shows where there are many rows."""

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From what the index answers with."""
        raise NotImplementedError

    def to_pandas(self) -> pd.DataFrame:
        """A DataFrame of one row. Raises ModuleNotFoundError where pandas is not installed."""
        return pandas_of(type(self), (self,))

    def to_arrow(self) -> pa.Table:
        """An Arrow table of one row. Raises ModuleNotFoundError where pyarrow is not installed."""
        return arrow_of(type(self), (self,))

    def _repr_html_(self) -> str:
        pairs = [(_named(path), _cell(value)) for path, value in _cells(type(self), self)]
        rows = (f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in pairs if text)
        return f"<table>{''.join(rows)}</table>"


class Results[R: Row](tuple[R, ...]):
    """All that a query answered, in its order: a tuple that can be a table."""

    item: type[R]

    def __new__(cls, rows: Iterable[R], item: type[R]) -> Self:
        """The rows; `item` is what they are, which matters where there are none."""
        made = super().__new__(cls, rows)
        made.item = item
        return made

    def __getnewargs__(self) -> tuple[tuple[R, ...], type[R]]:
        return tuple(self), self.item

    def to_pandas(self) -> pd.DataFrame:
        """A DataFrame, one row a result. Raises ModuleNotFoundError without pandas."""
        return pandas_of(self.item, self)

    def to_arrow(self) -> pa.Table:
        """An Arrow table, one row a result. Raises ModuleNotFoundError without pyarrow."""
        return arrow_of(self.item, self)

    def _repr_html_(self) -> str:
        return html_of(self.item, self, f"{len(self)} in all" if len(self) > SHOWN_ROWS else "")


def pandas_of(item: type[Row], rows: Sequence[Row]) -> pd.DataFrame:
    """The rows as a DataFrame. Raises ModuleNotFoundError."""
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise missing("pandas", of="frames", for_="to_pandas") from error
    return pd.DataFrame(
        {
            _named(path): pd.Series(values, dtype=_PANDAS[kind])
            for path, kind, values in _columns(item, rows)
        }
    )


def arrow_of(item: type[Row], rows: Sequence[Row]) -> pa.Table:
    """The rows as an Arrow table. Raises ModuleNotFoundError."""
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        raise missing("pyarrow", of="frames", for_="to_arrow") from error
    kinds: Mapping[Kind, pa.DataType] = {
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "uris": pa.list_(pa.string()),
        "integer": pa.int64(),
        "truth": pa.bool_(),
        "moment": pa.timestamp("us", "UTC"),
    }
    columns = list(_columns(item, rows))
    return pa.table(
        [pa.array(values, type=kinds[kind]) for _, kind, values in columns],
        schema=pa.schema([(_named(path), kinds[kind]) for path, kind, _ in columns]),
    )


def html_of(item: type[Row], rows: Sequence[Row], said: str) -> str:
    """The first rows as an HTML table, with something `said` about them below."""
    head = "".join(f"<th>{_named(path)}</th>" for path in item.SHOWN)
    getters = [attrgetter(path) for path in item.SHOWN]
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(get(row))}</td>' for get in getters)}</tr>"
        for row in rows[:SHOWN_ROWS]
    )
    below = f"<p>{_cell(said)}</p>" if said else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def _columns(item: type[Row], rows: Sequence[Row]) -> Iterable[tuple[str, Kind, list[Any]]]:
    for path, kind in item.COLUMNS.items():
        get = attrgetter(path)
        yield path, kind, [_plain(get(row)) for row in rows]


def _cells(item: type[Row], row: Row) -> Iterable[tuple[str, Any]]:
    return ((path, attrgetter(path)(row)) for path in item.COLUMNS)


def _named(path: str) -> str:
    return path.replace(".", "_")


def _plain(value: Any) -> Any:
    """A value as a cell holds it: of several records their AT-URIs."""
    if isinstance(value, tuple):
        return [getattr(item, "uri", item) for item in value]
    return value


def _cell(value: Any) -> str:
    """What a cell says to people, as HTML."""
    from html import escape

    match _plain(value):
        case None:
            return ""
        case list(items):
            text = ", ".join(map(str, items))
        case datetime() as moment:
            text = moment.isoformat(sep=" ", timespec="seconds")
        case other:
            text = str(other)
    if len(text) > SHOWN_LETTERS:
        text = text[: SHOWN_LETTERS - 1] + "…"
    return escape(CONTROL.sub("\N{REPLACEMENT CHARACTER}", text))
