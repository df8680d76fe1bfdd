"""What labelers say of a record or its author."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from atdata_client._records.stored import JsonObject


@dataclass(frozen=True, slots=True)
class Label:
    """What the labeler `src` says of a record or its author (`uri`), and when."""

    src: str
    uri: str
    val: str
    cts: datetime

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """From `app.bsky.atdata.defs#label`."""
        return cls(value["src"], value["uri"], value["val"], datetime.fromisoformat(value["cts"]))
