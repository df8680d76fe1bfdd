"""What a language model can ask of the index: the tools of the MCP server.

Their docstrings and the descriptions of their parameters are what the model reads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from anyio import to_thread
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from atdata_client._index.views import as_json
from atdata_client._loader import schema_fetch
from atdata_client._schemas.linked import linked_schemas
from atdata_client._schemas.module import module_source
from atdata_client.errors import AtdataClientError, XrpcError
from atdata_client.index import IndexClient
from atdata_client.mcp.excerpt import Excerpt
from atdata_schemas.records import COLLECTIONS
from atdata_schemas.syntax import AtUri

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atdata_client._index.views import DatasetView, RecordStatus
    from atdata_client._net.xrpc import AsyncXrpcReader
    from atdata_client.async_index import AsyncIndexClient

SOURCE = 40_000
"""Characters of generated source at most."""
BRIEF = 300
"""Characters of each text in a list of datasets."""

_Limit = Annotated[int, Field(ge=1, le=50, description="At most so many, 1 to 50.")]
_Record = Annotated[str, Field(description="The record's AT-URI: at://did/collection/rkey.")]


class Tools:
    """What a model can ask of one index."""

    def __init__(self, index: AsyncIndexClient, records: AsyncXrpcReader) -> None:
        self._index = index
        self._records = records

    async def search_datasets(
        self,
        query: Annotated[
            str | None,
            Field(
                description='Words the dataset has, all of them. Also: "a phrase", -without, '
                "tag:x, author:handle, license:MIT, field:name, schema:Name."
            ),
        ] = None,
        tags: Annotated[list[str] | None, Field(description="Tags it carries.")] = None,
        match: Annotated[
            Literal["all", "any"], Field(description="Whether it carries all of the tags or any.")
        ] = "all",
        schema: Annotated[
            str | None,
            Field(description="Its schema: an AT-URI, or a name, also as in Photo@^1.0."),
        ] = None,
        fields: Annotated[
            list[str] | None,
            Field(
                description="Fields its samples have, all of them, each as "
                "name[:kind[:dtype[:ndim]]] with parts that may be empty: image, "
                "image:ndarray:uint8:3, :ndarray:float32."
            ),
        ] = None,
        viewable_as: Annotated[
            str | None,
            Field(
                description="AT-URI of a schema: datasets of it, and those that lenses lead to "
                "it (their lensPath)."
            ),
        ] = None,
        author: Annotated[str | None, Field(description="Its author: a handle or a DID.")] = None,
        limit: _Limit = 10,
    ) -> dict[str, Any]:
        """Find datasets by words and by what they are; every condition given must hold.

        The best matches come first, without words the newest. Each is a summary with its AT-URI;
        show_record has the whole. "total" is how many there are ("total_is_bound": or more),
        "did_you_mean" the words as they may have been meant; "datasets_missing": too many schemas
        lead to viewable_as to look at all.
        """
        async with self._refusals():
            found = self._index.search_datasets(
                query or None,
                tags=tags or (),
                match=match,
                schema=schema or None,
                field=fields or (),
                viewable_as=viewable_as or None,
                author=author or None,
                limit=limit,
            )
            views = [view async for view in found]
        excerpt = Excerpt()
        answer = {
            "datasets": _briefly(views, excerpt),
            "total": found.total,
            "total_is_bound": found.total_is_bound,
            "did_you_mean": found.did_you_mean,
            "datasets_missing": found.viewable_as_cut or None,
        }
        return _answer(answer, excerpt)

    async def show_record(self, uri: _Record) -> dict[str, Any]:
        """Show one record whole: a dataset, schema, lens, label or lens verification.

        "record" is what its author wrote; beside it stands what the index knows: author, CID, the
        schemas it refers to. For a record that is not in the index the error says why, with the
        rule it breaks.
        """
        async with self._refusals(uri):
            at = AtUri.parse(uri)
            kind = COLLECTIONS.get(at.collection)
            if kind is None:
                raise ToolError(f"uri: not a record of {', '.join(COLLECTIONS)}")
            view = await self._view(kind, at)
        excerpt = Excerpt()
        # The record last: however long it is, what the index knows has room.
        in_order = sorted(view.items(), key=lambda pair: pair[0] == "record")
        shown = {name: excerpt.of(value, name) for name, value in in_order}
        return _answer({"kind": kind, **shown}, excerpt)

    async def find_lens_paths(
        self,
        source: Annotated[str, Field(description="AT-URI of the schema the data has.")],
        target: Annotated[str, Field(description="AT-URI of the schema that is wanted.")],
        max_hops: Annotated[
            int, Field(ge=1, le=8, description="Lenses on a way at most, 1 to 8.")
        ] = 4,
        limit: _Limit = 10,
    ) -> dict[str, Any]:
        """Find the ways through lenses from one schema to another, the shortest first.

        Each path is the lenses in the order of their use; none at all in a path: both are the same
        schema. No paths: nothing leads there. "more": there may be others. show_record shows a
        lens with the place of its code.
        """
        async with self._refusals():
            found = await self._index.find_lens_paths(
                source, target, max_hops=max_hops, limit=limit
            )
        excerpt = Excerpt()
        paths = [
            [
                excerpt.of(
                    {
                        "uri": lens.uri,
                        "name": lens.name,
                        "author": lens.author.handle,
                        "source": as_json(lens.source),
                        "target": as_json(lens.target),
                    },
                    f"paths[{number}][{step}]",
                    text=BRIEF,
                )
                for step, lens in enumerate(path.lenses)
            ]
            for number, path in enumerate(found.paths)
        ]
        return _answer({"paths": paths, "more": found.cut}, excerpt)

    async def schema_to_python(
        self, uri: Annotated[str, Field(description="The schema's AT-URI.")]
    ) -> str:
        """Write the Python source of a schema's sample class, and of those nested in it.

        For the `atdata` library, to load or make samples with. Source text only: it was not run.
        """
        async with self._refusals(uri):
            source = await to_thread.run_sync(_source, self._index.url, uri)
        if len(source) <= SOURCE:
            return source
        cut = f"# [cut: the first {SOURCE} of {len(source)} characters; the rest is not shown]"
        return f"{source[:SOURCE]}\n{cut}\n"

    async def similar_datasets(
        self,
        uri: Annotated[str, Field(description="The AT-URI of a dataset.")],
        limit: _Limit = 10,
    ) -> dict[str, Any]:
        """Find datasets like one, by words, tags, schema and author, the most similar first."""
        async with self._refusals(uri):
            found = await self._index.similar_datasets(uri, limit=limit)
        excerpt = Excerpt()
        return _answer({"datasets": _briefly(found, excerpt)}, excerpt)

    async def _view(self, kind: str, at: AtUri) -> dict[str, Any]:
        """What the index knows of a record. Raises IndexClientError."""
        uri = str(at)
        match kind:
            case "dataset":
                view: object = await self._index.get_dataset(uri)
            case "schema":
                view = await self._index.get_schema(uri)
            case "lens":
                view = await self._index.get_lens(uri)
            case _:  # kinds that have no query of their own
                pairs = [("repo", at.authority), ("collection", at.collection), ("rkey", at.rkey)]
                found = await self._records.query("com.atproto.repo.getRecord", pairs)
                return {"uri": found["uri"], "cid": found["cid"], "record": found["value"]}
        told: dict[str, Any] = as_json(view)
        return told

    @asynccontextmanager
    async def _refusals(self, uri: str | None = None) -> AsyncIterator[None]:
        """Tells the model what is wrong with its question, or with the record at `uri`, and what
        stands in the way of an answer. Raises ToolError.
        """
        try:
            yield
        except XrpcError as error:
            if uri is not None and error.error in ("NotFound", "RecordNotFound"):
                async with self._refusals():
                    status = await self._index.record_status(uri)
                if status.status != "indexed":  # else it is one that this one links to
                    raise ToolError(_why_not(status)) from error
            raise ToolError(f"{error.error}: {error.message}") from error
        except (AtdataClientError, ValueError) as error:
            raise ToolError(str(error)) from error


def _why_not(status: RecordStatus) -> str:
    said: dict[str, Any] = as_json(status)
    of = "; ".join(f"{name}: {said[name]}" for name in ("rule", "path", "reason") if name in said)
    account = f" (account: {status.account_status})" if status.account_status else ""
    return f"NotFound: {status.uri} is {status.status}{account}{'; ' if of else ''}{of}"


def _source(url: str, uri: str) -> str:
    # Not async: it walks from schema to schema, and is the same code that writes files.
    with IndexClient(url) as index:
        return module_source(linked_schemas(uri, schema_fetch(None, index)))


def _briefly(views: Iterable[DatasetView], excerpt: Excerpt) -> list[dict[str, Any]]:
    """What one chooses a dataset by."""
    return [
        excerpt.of(
            {name: value for name, value in _summary(view).items() if value is not None},
            f"datasets[{number}]",
            text=BRIEF,
        )
        for number, view in enumerate(views)
    ]


def _summary(view: DatasetView) -> dict[str, Any]:
    return {
        "uri": view.uri,
        "name": view.name,
        "description": view.description,
        "author": view.author.handle,
        "schema": as_json(view.schema),
        "tags": view.tags,
        "license": view.license,
        "samples": view.samples,
        "bytes": view.bytes,
        "createdAt": as_json(view.created_at),
        "lensPath": view.lens_path,
    }


def _answer(said: dict[str, Any], excerpt: Excerpt) -> dict[str, Any]:
    known = {name: value for name, value in said.items() if value is not None}
    return known | ({"cut": excerpt.notes} if excerpt.notes else {})
