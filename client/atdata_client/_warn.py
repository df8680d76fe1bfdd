"""Warnings for users, which name the line of theirs that led to them."""

from __future__ import annotations

import os
import warnings

_HERE = os.path.dirname(__file__)


def warn(words: str) -> None:
    """Warn (UserWarning) of what a caller of this package should know."""
    warnings.warn(words, UserWarning, skip_file_prefixes=(_HERE,))
