"""The client tells type checkers what it takes and what it gives."""

import inspect
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import get_overloads

import pytest

import atdata_client

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
