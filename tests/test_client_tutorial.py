"""docs/tutorial.ipynb: executed as it stands, on a real PDS and an index; kept without outputs."""

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from atdata_client import ATProtoClient
from tests.appview import PATIENCE_S
from tests.following import following
from tests.real_pds import RealPds

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


def tutorial() -> Any:
    read: Any = nbformat.read  # untyped
    return read(PAGE, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: Any) -> str:
    """What a cell prints and shows, as text."""
    texts = [out.get("text") or out["data"]["text/plain"] for out in cell.outputs]
    return "".join(texts)


def test_the_tutorial_goes_from_nothing_to_a_loaded_dataset(
    pds: RealPds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = pds.create_account()
    notebook = tutorial()
    with following(pds, tmp_path / "index") as index:
        told = {
            "ATDATA_APPVIEW_HANDLE": account.handle,
            "ATDATA_APPVIEW_PASSWORD": account.password,
            "ATDATA_APPVIEW_PDS": pds.url,
            "ATDATA_APPVIEW_PLC_URL": pds.plc,
            "ATDATA_APPVIEW_URL": index.url,
            # Nothing of this machine's own settings, and nothing left in the reader's folders.
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "JUPYTER_CONFIG_DIR": str(tmp_path / "jupyter"),
            "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        }
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        for name in ("TUTORIAL_FOLDER", "TUTORIAL_SHARDS"):
            monkeypatch.delenv(name, raising=False)
        resources = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, timeout=int(PATIENCE_S), resources=resources).execute()
        *_, find, load, source, lens, tidy = map(printed, code_cells(notebook))
    assert "Six tones" in find
    assert account.handle in find
    assert load == "6 samples of Tone, equal to what was written: True\n"
    assert "class Tone:\n" in source
    assert re.findall(r"\('([A-F])', 0\.\d+\)", lens) == list("ABCDEF")
    assert tidy == "0 datasets of yours are left\n"
    with ATProtoClient(plc_url=pds.plc) as client:
        for kind in ("dataset", "schema"):
            assert client.list_records(f"app.bsky.atdata.{kind}", account.did) == []
    assert len(list((tmp_path / "tutorial-data").glob("tones-*.tar"))) == 2


def test_it_is_kept_without_outputs() -> None:
    notebook = json.loads(PAGE.read_text("utf-8"))
    nbformat.validate(notebook)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 10
    for cell in cells:
        assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_it_explains_every_variable_it_reads_and_no_other() -> None:
    notebook = tutorial()
    code = "".join(cell.source for cell in code_cells(notebook))
    words = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    variables = r"(?:ATDATA_APPVIEW|TUTORIAL)_[A-Z_]+"
    read = set(re.findall(rf'environ\.get\("({variables})"\)', code))
    assert len(read) == 7
    assert read == set(re.findall(variables, words))
