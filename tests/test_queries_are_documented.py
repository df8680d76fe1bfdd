"""docs/queries.md is what the lexicons say; `make reference` writes it."""

from pathlib import Path

from atdata_api.reference import reference
from atdata_schemas.lexicon import lexicons

PAGE = (Path(__file__).parents[1] / "docs" / "queries.md").read_text("utf-8")


def test_the_page_is_made_from_the_lexicons_as_they_are_now() -> None:
    assert reference() == PAGE


def test_every_query_and_every_parameter_stands_on_the_page() -> None:
    for nsid in lexicons().queries():
        section = PAGE.partition(f"## {nsid}\n")[2].partition("\n## ")[0]
        parameters = lexicons().document(nsid)["defs"]["main"].get("parameters", {})
        for name in parameters.get("properties", {}):
            assert f"| `{name}`" in section, f"{nsid} {name}"
