"""The document that says how far an index has come, committed with what it speaks of. Pure."""

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from atdata_indexer.errors import StoreError
from atdata_indexer.index.packing import pack, unpack


@dataclass(frozen=True, slots=True)
class Sentinel:
    """How far an index has come in the outbox of the database that `epoch` names.

    `lenses` is the seq of the last change that may have touched a lens: the version of their graph.
    `written` is how many documents were written since the index was made, old versions too.
    """

    KIND: ClassVar = "sentinel"

    epoch: str
    seq: int
    lenses: int
    written: int = 0

    def document(self) -> dict[str, Any]:
        """The fields of its document."""
        return {"kind": self.KIND, "uri": self.KIND, "view": pack(json.dumps(asdict(self)))}

    @classmethod
    def read(cls, view: bytes) -> Self:
        """The sentinel in a stored view. Raises StoreError when there is none."""
        if not view:
            raise StoreError("the index holds no sentinel")
        return cls(**json.loads(unpack(view)))
