"""What is taken down is gone from every tool of the MCP server at once, in an open session."""

from pathlib import Path
from typing import Any

from atdata_client import IndexClient
from atdata_indexer.playback import recorded
from tests.appview import serving
from tests.test_mcp import Model, asked_by, in_this_process


def uris_in(value: Any) -> set[str]:
    """Every text in an answer that is an AT-URI."""
    if isinstance(value, dict):
        return {one for member in value.values() for one in uris_in(member)}
    if isinstance(value, list):
        return {one for member in value for one in uris_in(member)}
    return {value} if isinstance(value, str) and value.startswith("at://") else set()


def found(model: Model, tool: str, **arguments: Any) -> set[str]:
    return uris_in(model.ask(tool, **arguments))


def test_a_taken_down_record_is_gone_from_every_tool_at_once(tmp_path: Path) -> None:
    with (
        serving(recorded(), tmp_path) as view,
        IndexClient(view.url) as index,
        asked_by(in_this_process(view.url)) as model,
    ):
        hide = view.indexer.upkeep.take_down
        chest = next(index.search_datasets("chest"))
        like, *_ = index.similar_datasets(chest.uri, limit=5)
        assert chest.uri in found(model, "search_datasets", query="chest", limit=50)
        assert found(model, "show_record", uri=chest.uri) >= {chest.uri}
        assert like.uri in found(model, "similar_datasets", uri=chest.uri)
        hide(like.uri, "spam")
        assert like.uri not in found(model, "similar_datasets", uri=chest.uri)
        hide(chest.uri, "spam")
        assert chest.uri not in found(model, "search_datasets", query="chest", limit=50)
        for tool in ("show_record", "similar_datasets"):
            assert "is hidden" in model.refused(tool, uri=chest.uri)

        lens = next(one for one in index.list_lenses() if one.source.uri != one.target.uri)
        ends = {"source": lens.source.uri, "target": lens.target.uri}
        assert lens.uri in found(model, "find_lens_paths", **ends)
        hide(lens.uri, "spam")
        assert lens.uri not in found(model, "find_lens_paths", **ends)
        assert "is hidden" in model.refused("show_record", uri=lens.uri)

        schema = next(index.list_schemas())
        assert not model.call("schema_to_python", uri=schema.uri).is_error
        hide(schema.uri, "spam")
        assert "is hidden" in model.refused("schema_to_python", uri=schema.uri)

        author = next(index.list_datasets()).author.did
        theirs = {one.uri for one in index.list_datasets(author=author)}
        assert theirs & found(model, "search_datasets", author=author, limit=50)
        hide(author, "spam")
        assert not theirs & found(model, "search_datasets", author=author, limit=50)
        for uri in theirs:
            assert "is hidden" in model.refused("show_record", uri=uri)
