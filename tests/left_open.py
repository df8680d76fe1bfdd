"""What the code of a document leaves open, closed by the test that ran it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from atdata_client import ATProtoClient, DatasetLoader, IndexClient


@contextmanager
def closed_at_the_end(names: Mapping[str, Any]) -> Iterator[None]:
    """Close the clients and loaders among `names`, also where the code stopped half way.

    Otherwise their connections would be found open later, in the middle of some other test.
    """
    try:
        yield
    finally:
        for value in names.values():
            if isinstance(value, ATProtoClient | DatasetLoader | IndexClient):
                value.close()
