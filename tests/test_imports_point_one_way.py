"""schemas ← client; schemas ← indexer ← api. Nothing imports against the arrows."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "schemas": {"atdata_schemas"},
    "client": {"atdata_schemas", "atdata_client"},
    "indexer": {"atdata_schemas", "atdata_indexer"},
    # The demo is a program of its own: it asks through the client, as a user would.
    "api": {"atdata_schemas", "atdata_indexer", "atdata_api", "atdata_client"},
}
OURS = set().union(*ALLOWED.values())


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_package_imports_only_what_it_may(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    for file in files:
        ours = imports(file) & OURS
        if file.name != "demo.py" and folder == "api":
            assert "atdata_client" not in ours, file
        assert ours <= ALLOWED[folder], file


def test_schemas_need_nothing_but_the_standard_library() -> None:
    import sys

    for file in (ROOT / "schemas").rglob("*.py"):
        assert imports(file) <= sys.stdlib_module_names | {"atdata_schemas"}, file
