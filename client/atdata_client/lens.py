"""Publishing lenses, that data of one schema can be viewed as another, and reading them.

A record says where the code is, as text for people. Code of others is never imported, run or
fetched; what is imported here is what the caller hands over.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from atdata_client._loader import Loader, flat_lens
from atdata_client._records.lexicon import (
    LENS_NSID,
    build_lens_record,
    check_record,
    code_reference,
    warn_of_handles,
)
from atdata_client.errors import CodeNotPublished

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atdata import Lens

    from atdata_client.client import ATProtoClient

type LensCode = Callable[..., Any] | Lens[Any, Any]
"""A getter, or an `atdata.Lens`, which brings its putter along."""


class LensPublisher:
    """Publishes lenses as records of `app.bsky.atdata.lens` in one's own repository."""

    def __init__(self, client: ATProtoClient) -> None:
        self.client = client

    def publish_lens(
        self,
        lens_getter: LensCode,
        lens_putter: Callable[..., Any] | None = None,
        *,
        name: str,
        source_schema_uri: str,
        target_schema_uri: str,
        description: str | None = None,
        code_repository: str | None = None,
        code_commit: str | None = None,
    ) -> str:
        """Publish a lens; returns the AT-URI of its record.

        The record refers to the code of `lens_getter` (source -> target) and `lens_putter`
        (target, source -> source) as `module:qualname` in `code_repository` at `code_commit`; the
        functions are neither called nor copied. `lens_getter` may be an `atdata.Lens` instead, with
        its putter; a lens without one is published without. Repository and commit that are not
        given are those of the git checkout the functions are in.

        Raises ValueError when the client is not logged in or a function has no name, TypeError for
        a function without a putter, NotImplementedError where there is no repository and commit
        (CodeNotPublished, one of these, says what git has against them: changes that are not
        committed, a commit that is not pushed), ValidationError naming field and rule, PdsError.
        """
        if not self.client.is_authenticated:
            raise ValueError("Client must be authenticated")
        record = lens_record(
            lens_getter,
            lens_putter,
            name=name,
            source_schema_uri=source_schema_uri,
            target_schema_uri=target_schema_uri,
            description=description,
            code_repository=code_repository,
            code_commit=code_commit,
        )
        check_record(record)
        warn_of_handles(record)
        return self.client.create_record(LENS_NSID, record)


class LensLoader(Loader):
    """Reads lens records, and finds them. Their code stays text.

    Records come from their authors' PDSs through `client`, or, without one, from the index, by
    default `IndexClient()`, which is its own to close: as a context manager, or by `close`.
    Searches always ask the index.
    """

    def get_lens(self, uri: str) -> dict[str, Any]:
        """The lens record at `uri`, in JSON form.

        Raises ValueError when the record there is no lens, and what reading records raises:
        RecordNotFound or NotFound, IdentityError, PdsError or IndexClientError.
        """
        record = self._read(uri, self.index.get_lens)
        if record.get("$type") != LENS_NSID:
            raise ValueError(f"Record at {uri} is not a lens record")
        return record

    def list_lenses(self, did: str | None = None) -> list[dict[str, Any]]:
        """All lens records of an account (one's own without `did`), each with `uri` and `cid`.

        Raises ValueError when no `did` is given and there is no client that is logged in.
        """
        known = map(flat_lens, self.index.list_lenses(author=did))
        return self._listed(LENS_NSID, did, known)

    def search_lenses(
        self,
        query: str | None = None,
        *,
        source_schema: str | None = None,
        target_schema: str | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Lens records by words, and by the AT-URIs of the schemas they join; both must hold.

        Each holds the record's fields, and `uri`, `cid`, `author`, `source` and `target`. Raises
        IndexClientError.
        """
        views = self.index.search_lenses(
            query, source_schema=source_schema, target_schema=target_schema, limit=limit
        )
        return [flat_lens(view) for view in views]


def lens_record(
    getter: LensCode,
    putter: Callable[..., Any] | None,
    *,
    name: str,
    source_schema_uri: str,
    target_schema_uri: str,
    description: str | None = None,
    code_repository: str | None = None,
    code_commit: str | None = None,
) -> dict[str, Any]:
    """The record of a lens, not yet checked. Raises what `publish_lens` raises of its code."""
    functions = _functions(getter, putter)
    repository, commit = _location(functions, code_repository, code_commit)
    codes: list[Mapping[str, str]] = [code_reference(one, repository, commit) for one in functions]
    return build_lens_record(
        name=name,
        source_schema_uri=source_schema_uri,
        target_schema_uri=target_schema_uri,
        getter_code=codes[0],
        putter_code=codes[1] if len(codes) > 1 else None,
        description=description,
    )


def _location(
    functions: list[Callable[..., Any]], repository: str | None, commit: str | None
) -> tuple[str, str]:
    if repository and commit:
        return repository, commit
    from atdata_client._records.git import checkout_of

    found = checkout_of(*functions)
    if found is None:
        raise NotImplementedError(CodeNotPublished.ASK)
    return repository or found.repository, commit or found.commit


def _functions(getter: LensCode, putter: Callable[..., Any] | None) -> list[Callable[..., Any]]:
    """The getter, and the putter if there is one."""
    atdata = sys.modules.get("atdata")
    if atdata is None or not isinstance(getter, atdata.Lens):
        if putter is None:
            raise TypeError("publish_lens needs a putter, or an atdata.Lens, which has its own")
        return [getter, putter]
    # A lens takes over the name of its getter; one put together from others has none.
    inner: Callable[..., Any] | None = getattr(getter, "__wrapped__", None)
    if inner is None:
        raise ValueError(f"{getter!r} has no code of its own: publish the lenses it is made of")
    own = putter if putter is not None else getter._putter
    # What atdata puts in place of a putter that nobody gave.
    return [inner] if own.__qualname__ == "Lens.__init__.<locals>._trivial_put" else [inner, own]
