"""Licenses against the SPDX list: which are on it, and what was probably meant by the others."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from atdata_client._warn import warn

if TYPE_CHECKING:
    from collections.abc import Mapping

_USUAL = (
    *("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MPL-2.0", "ISC", "Unlicense"),
    *("GPL-2.0-only", "GPL-3.0-only", "LGPL-3.0-only", "AGPL-3.0-only"),
    *("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0"),
    *("CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0", "CC-BY-3.0", "CC-BY-SA-3.0"),
    *("ODbL-1.0", "ODC-By-1.0", "PDDL-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0"),
)
_SPOKEN: Mapping[str, str] = MappingProxyType(
    {
        "apache": "Apache-2.0",
        "bsd": "BSD-3-Clause",
        "gpl": "GPL-3.0-only",
        "lgpl": "LGPL-3.0-only",
        "agpl": "AGPL-3.0-only",
        "mpl": "MPL-2.0",
        "cc0": "CC0-1.0",
        "cczero": "CC0-1.0",
        "publicdomain": "CC0-1.0",
        "creativecommonsattribution": "CC-BY-4.0",
        "odbl": "ODbL-1.0",
        "odcby": "ODC-By-1.0",
        "pddl": "PDDL-1.0",
    }
)


def is_spdx(license: str) -> bool:
    """Whether `license` is an SPDX expression as SPDX writes it: `MIT`, `MIT OR Apache-2.0`."""
    return _canonical(license) == license


def spdx_hint(license: str) -> str | None:
    """The SPDX identifier that was probably meant by `license`; None when nothing comes close."""
    from difflib import get_close_matches

    spelled = re.sub(r"[\s_]+", "-", license.strip())
    for attempt in (license, spelled):
        if (known := _canonical(attempt)) is not None:
            return known
    plain = re.sub(r"licen[cs]e|version|the|[\W_]|(?<=[a-z])v(?=\d)", "", license.lower())
    known_by = {re.sub(r"[\W_]|only", "", one.lower()): one for one in _USUAL}
    # Without its version, in the newest of it.
    newest = {re.sub(r"\d+$", "", key): one for key, one in reversed(known_by.items())}
    for table in (known_by, _SPOKEN, newest):
        for key in (plain, f"{plain}0"):
            if key in table:
                return table[key]
    close = get_close_matches(plain, known_by, n=1, cutoff=0.75)
    return known_by[close[0]] if close else None


def warn_unless_spdx(license: str | None) -> None:
    """Warn (UserWarning) of a license that is not on the SPDX list, with what was probably meant.

    SPDX is preferred, not required: the record says what its author says.
    """
    if not license or is_spdx(license):
        return
    hint = spdx_hint(license)
    meant = f"did you mean {hint!r}?" if hint else "one of your own is 'LicenseRef-…'"
    warn(
        f"license {license[:100]!r} is not an SPDX identifier: {meant} "
        "The list: https://spdx.org/licenses",
    )


def _canonical(license: str) -> str | None:
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(license))
    except InvalidLicenseExpression:
        return None
