"""What the index answers, as tables for people. Other people's words are shown as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atdata_client._index.frames import CONTROL
from atdata_client._index.views import DatasetView, LensView, SchemaLink, SchemaView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.table import Table
    from rich.text import Text

    from atdata_client._index.links import LensPaths
    from atdata_client._index.views import RecordStatus, View


def plain(text: str) -> Text:
    """`text` with no markup read in it and no control characters left."""
    from rich.text import Text

    return Text(CONTROL.sub("\N{REPLACEMENT CHARACTER}", text))


def dataset_table(views: Iterable[DatasetView], *, title: str | None = None) -> Table:
    """Datasets, one a row: name over AT-URI, author, schema, tags."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=None if title is None else plain(title), title_justify="left", show_lines=True
    )
    table.add_column("dataset", overflow="fold", ratio=5)
    for heading, ratio in (("author", 2), ("schema", 2), ("tags", 3)):
        table.add_column(heading, overflow="fold", ratio=ratio)
    for view in views:
        dataset = Text("\n").join((plain(view.name), Text.assemble((plain(view.uri).plain, "dim"))))
        cells = (view.author.handle, link(view.schema), ", ".join(view.tags))
        table.add_row(dataset, *map(plain, cells))
    return table


def view_table(view: View) -> Table:
    """One dataset, schema or lens, one line for each thing there is to say."""
    rows: list[tuple[str, str]] = [("name", view.name), ("description", view.description or "")]
    match view:
        case DatasetView():
            rows += [
                ("schema", f"{link(view.schema)}\n{view.schema.uri}"),
                ("tags", ", ".join(view.tags)),
                ("license", view.license or ""),
                ("urls", "\n".join(view.urls)),
                ("size", _size(view.record.get("size") or {})),
            ]
        case SchemaView():
            rows += [("version", view.version), ("fields", "\n".join(_fields(view.record)))]
        case LensView():
            rows += [
                ("source", f"{link(view.source)}\n{view.source.uri}"),
                ("target", f"{link(view.target)}\n{view.target.uri}"),
                ("getter", code(view.record.get("getterCode"))),
                ("putter", code(view.record.get("putterCode"))),
            ]
    rows += [
        ("author", f"{view.author.handle} ({view.author.did})"),
        ("created", str(view.record.get("createdAt", ""))),
        ("indexed", view.indexed_at.isoformat(sep=" ", timespec="seconds")),
        ("uri", view.uri),
        ("cid", view.cid),
    ]
    return pairs_table(rows)


def status_table(status: RecordStatus) -> Table:
    """Why a record is, or is not, in the index."""
    return pairs_table(
        [
            ("uri", status.uri),
            ("status", status.status),
            ("reason", status.reason or ""),
            ("rule", status.rule or ""),
            ("where", status.path or ""),
            ("account", status.account_status or ""),
            ("cid", status.cid or ""),
            ("rev", status.rev or ""),
            ("indexed", status.indexed_at.isoformat(sep=" ") if status.indexed_at else ""),
        ]
    )


def pairs_table(rows: Iterable[tuple[str, str]]) -> Table:
    """Names, and what there is to say of each."""
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for heading, text in rows:
        if text:
            table.add_row(heading, plain(text))
    return table


def paths_table(found: LensPaths) -> Table | str:
    """Ways through lenses, one a row: the schemas over the lenses between them."""
    from rich.table import Table

    if not found.paths:
        return "no way found"
    table = Table(title_justify="left", show_lines=True)
    table.add_column("lenses", justify="right")
    table.add_column("way", overflow="fold")
    for path in found.paths:
        steps = [
            f"{link(lens.source)} → {link(lens.target)}: {lens.name} {lens.uri}"
            for lens in path.lenses
        ]
        table.add_row(str(path.length), plain("\n".join(steps) or "the same schema"))
    if found.cut:
        table.caption = "there may be more"
    return table


def own_table(records: Iterable[Mapping[str, Any]]) -> Table:
    """Records of one's own, one a row; with their status in the index where it is known."""
    from rich.table import Table

    from atdata_schemas.records import KINDS

    rows = list(records)
    table = Table()
    table.add_column("kind")
    for heading in ("name", "uri"):
        table.add_column(heading, overflow="fold")
    with_status = any("status" in record for record in rows)
    if with_status:
        table.add_column("status")
    for record in rows:
        version = f" {record['version']}" if "version" in record else ""
        name = f"{record.get('name', '')}{version}"
        cells = [KINDS.get(record["$type"], "?"), name, record["uri"]]
        table.add_row(*map(plain, cells + [str(record.get("status"))] * with_status))
    return table


def link(schema: SchemaLink) -> str:
    """A schema in a few words: its name and version, or that it is missing."""
    return f"{schema.name} {schema.version}" if schema.status == "indexed" else "missing"


def code(said: Any) -> str:
    """Where the code of a lens can be read."""
    if not isinstance(said, dict):
        return ""
    if said.get("kind") == "reference":
        return f"{said.get('path')}\n{said.get('repository')} at {said.get('commit')}"
    return str(said.get("source", ""))


def field_type(declared: Any) -> str:
    """A field's type in a few words: `float32[3, *]`, `str`, the URI of a nested schema."""
    if not isinstance(declared, dict):
        return "?"
    if declared.get("kind") != "ndarray":
        return str(declared.get("primitive") or declared.get("schemaRef") or "?")
    shape = declared.get("shape")
    if not isinstance(shape, list):
        return f"{declared.get('dtype')}[…]"
    sizes = ("*" if size is None else str(size) for size in shape)
    return f"{declared.get('dtype')}[{', '.join(sizes)}]"


def _fields(record: dict[str, Any]) -> Iterable[str]:
    for field in record.get("fields") or ():
        if isinstance(field, dict):
            mark = "?" if field.get("optional") else ""
            yield f"{field.get('name')}{mark}: {field_type(field.get('type'))}"


def _size(size: dict[str, Any]) -> str:
    return ", ".join(f"{size[unit]:,} {unit}" for unit in ("samples", "bytes") if unit in size)
