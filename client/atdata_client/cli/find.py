"""Commands that ask the index."""

from collections.abc import Callable
from typing import Annotated, Literal

import typer

from atdata_client._index.views import View
from atdata_client.cli.shared import AsJson, Index, answer, checked_uri, complete_tag
from atdata_client.index import IndexClient
from atdata_client.tables import dataset_table, paths_table, view_table


def search(
    words: Annotated[list[str] | None, typer.Argument(help="Words the dataset has.")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="A tag it carries; repeatable.", autocompletion=complete_tag),
    ] = None,
    match: Annotated[
        Literal["all", "any"], typer.Option(help="Whether it carries all tags or any.")
    ] = "all",
    schema: Annotated[
        str | None,
        typer.Option(metavar="AT-URI|NAME", help="Of this schema, also as in Photo@^1.0."),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:KIND[:DTYPE[:NDIM]]]",
            help="A field of its samples, as in image:ndarray:uint8:3; repeatable.",
        ),
    ] = None,
    viewable_as: Annotated[
        str | None,
        typer.Option(metavar="AT-URI", help="Of this schema, or lenses lead there from its own."),
    ] = None,
    author: Annotated[str | None, typer.Option(help="By this handle or DID.")] = None,
    license: Annotated[
        list[str] | None, typer.Option(help="Under this license; repeatable for any of them.")
    ] = None,
    sort: Annotated[
        Literal["relevance", "newest", "oldest", "name", "samples"] | None,
        typer.Option(help="Order.  [default: relevance when there are words, else newest]"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 25,
    as_json: AsJson = None,
    index: Index = None,
) -> None:
    """Find datasets that have all these words, and that every option holds for."""
    with IndexClient(index) as client:
        found = client.search_datasets(
            " ".join(words or ()) or None,
            tags=tag or (),
            match=match,
            schema=schema,
            field=field or (),
            viewable_as=viewable_as,
            author=author,
            license=license or (),
            sort=sort,
            limit=limit,
        )
        views = list(found)
    more = "+" if found.total_is_bound else ""
    title = f"{len(views)} of {found.total}{more} datasets" if views else "no dataset found"
    if found.did_you_mean:
        title += f" (did you mean: {found.did_you_mean})"
    answer(views, as_json, lambda: dataset_table(views, title=title) if views else title)


def show(
    uri: Annotated[str, typer.Argument(metavar="AT-URI", help="A dataset, schema or lens.")],
    as_json: AsJson = None,
    index: Index = None,
) -> None:
    """Show one dataset, schema or lens of the index."""
    kind = checked_uri(uri)
    with IndexClient(index) as client:
        getters: dict[str, Callable[[str], View]] = {
            "dataset": client.get_dataset,
            "schema": client.get_schema,
            "lens": client.get_lens,
        }
        view = getters[kind](uri)
    answer([view], as_json, lambda: view_table(view))


def path(
    source: Annotated[str, typer.Argument(metavar="A", help="AT-URI of the schema you have.")],
    target: Annotated[str, typer.Argument(metavar="B", help="AT-URI of the one you want.")],
    max_hops: Annotated[int, typer.Option(min=1, max=8, help="Lenses on a way at most.")] = 4,
    limit: Annotated[int, typer.Option(min=1, max=50, help="Ways at most.")] = 10,
    as_json: AsJson = None,
    index: Index = None,
) -> None:
    """Show the ways through lenses from one schema to another, the shortest first.

    Exit code 1 when there is none.
    """
    for uri in (source, target):
        checked_uri(uri, "schema")
    with IndexClient(index) as client:
        found = client.find_lens_paths(source, target, max_hops=max_hops, limit=limit)
    answer(found.paths, as_json, lambda: paths_table(found))
    if not found.paths:
        raise typer.Exit(1)
