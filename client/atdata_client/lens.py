"""Publishing lenses: that data of one schema can be viewed as another, and where the code is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atdata_client._lexicon import LENS_NSID, build_lens_record, check_record, code_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from atdata_client.client import ATProtoClient


class LensPublisher:
    """Publishes lenses as records of `app.bsky.atdata.lens` in one's own repository."""

    def __init__(self, client: ATProtoClient) -> None:
        self.client = client

    def publish_lens(
        self,
        lens_getter: Callable[..., Any],
        lens_putter: Callable[..., Any],
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
        functions are neither called nor copied.

        Raises ValueError when the client is not logged in or a function has no name,
        NotImplementedError without repository and commit, ValidationError naming field and rule,
        PdsError.
        """
        if not self.client.is_authenticated:
            raise ValueError("Client must be authenticated")
        if not (code_repository and code_commit):
            raise NotImplementedError(
                "Inline code storage not yet supported. "
                "Please provide code_repository and code_commit."
            )
        record = build_lens_record(
            name=name,
            source_schema_uri=source_schema_uri,
            target_schema_uri=target_schema_uri,
            getter_code=code_reference(lens_getter, code_repository, code_commit),
            putter_code=code_reference(lens_putter, code_repository, code_commit),
            description=description,
        )
        check_record(record)
        return self.client.create_record(LENS_NSID, record)
