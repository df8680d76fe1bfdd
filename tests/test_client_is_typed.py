"""The client tells type checkers what it takes and what it gives."""

import inspect
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any, get_overloads, get_type_hints

import pytest

import atdata_client
from atdata_client import (
    AsyncChangeStream,
    AsyncIndexClient,
    AsyncPages,
    Change,
    ChangeStream,
    DatasetView,
    IndexClient,
    LensPaths,
    LensView,
    Pages,
    RecordStatus,
    Results,
    SchemaView,
    TagCount,
)

ROOT = Path(__file__).parents[1]


def public() -> list[object]:
    """Every public class and function, and every public method of these classes."""
    found: list[object] = []
    for name in atdata_client.__all__:
        value = getattr(atdata_client, name)
        found.append(value)
        if inspect.isclass(value):
            members = {**vars(value)}
            found += [one for key, one in members.items() if not key.startswith("_")]
    return [one.fget if isinstance(one, property) else one for one in found]


def functions() -> list[object]:
    return [
        one.__func__ if isinstance(one, classmethod | staticmethod) else one
        for one in public()
        if inspect.isroutine(one)
    ]


def test_what_type_checkers_see_is_what_the_names_promise() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "tests/typed_client.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    code = (ROOT / "tests" / "typed_client.py").read_text("utf-8")
    assert code.count("assert_type(") > 50
    assert (files("atdata_client") / "py.typed").is_file()


def test_every_parameter_and_answer_of_the_public_names_has_a_type() -> None:
    assert len(functions()) > 60
    for function in functions():
        assert callable(function)
        signature = inspect.signature(function)
        bare = [
            name
            for name, one in signature.parameters.items()
            if one.annotation is one.empty and name not in ("self", "cls")
        ]
        assert bare == [], f"{function}: {bare}"
        assert signature.return_annotation is not signature.empty, function


@pytest.mark.parametrize("client", [IndexClient, AsyncIndexClient])
def test_the_types_of_an_index_client_can_be_read_as_it_runs(client: Any) -> None:
    """As frameworks do that make tools or commands of functions."""
    waiting = client is IndexClient
    pages: Any = Pages if waiting else AsyncPages
    gives = {
        "search_datasets": pages[DatasetView],
        "get_datasets": Results[DatasetView],
        "list_tags": Results[TagCount],
        "find_lens_paths": LensPaths,
        "changes": ChangeStream if waiting else AsyncChangeStream,
        "close": type(None),
    }
    assert get_type_hints(client.__init__)["timeout"] is float
    methods = [name for name in vars(client) if not name.startswith("_")]
    assert len(methods) >= 20
    assert gives.keys() <= set(methods)
    for name in methods:
        method = getattr(client, name)
        hints = get_type_hints(method)
        parameters = inspect.signature(method).parameters
        assert hints.keys() == {*parameters, "return"} - {"self"}, name
        assert not any(isinstance(hint, str) for hint in hints.values()), name
        assert hints["return"] == gives.get(name, hints["return"]), name


@pytest.mark.parametrize("value", [DatasetView, SchemaView, LensView, RecordStatus, Change])
def test_the_types_of_what_an_index_answers_can_be_read_as_it_runs(value: Any) -> None:
    assert get_type_hints(value)["uri"] is str
    assert get_type_hints(value.from_json)["return"]


def test_every_public_name_has_a_docstring_of_its_own() -> None:
    for name in atdata_client.__all__:
        value = getattr(atdata_client, name)
        assert value.__doc__, name
        assert not value.__doc__.startswith(f"{name}("), f"{name} has the one dataclasses make"
    for function in functions():
        assert callable(function)
        assert inspect.getdoc(function) or get_overloads(function), function


@pytest.mark.parametrize("name", ["nothing", "_MODULES_", "index_error"])
def test_what_is_not_public_is_no_attribute(name: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute {name!r}"):
        getattr(atdata_client, name)
    assert name not in dir(atdata_client)
