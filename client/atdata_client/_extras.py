"""Parts that the thin install leaves out, imported by the call that needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def part(module: str, *, of: str, for_: str) -> Any:
    """The module, which the extra `of` brings. Raises ModuleNotFoundError that says so."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name != top:
            raise  # it is there, and lacks something itself
        raise missing(top, of=of, for_=for_) from error


def missing(module: str, *, of: str, for_: str) -> ModuleNotFoundError:
    """The error of a part that is not installed, with how to install it."""
    return ModuleNotFoundError(
        f"{for_} needs {module}: pip install 'atdata-appview[{of}]'", name=module
    )
