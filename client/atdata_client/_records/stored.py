"""Records as a PDS holds them, in JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

type JsonObject = Mapping[str, Any]
"""A JSON object of the data model: bytes as `{"$bytes": …}`, links as `{"$link": …}`."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as its PDS holds it: AT-URI, CID, and the value in JSON form."""

    uri: str
    cid: str
    value: dict[str, Any]
