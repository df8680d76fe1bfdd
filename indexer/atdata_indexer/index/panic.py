"""tantivy reports its own failures as panics, which reach Python as a BaseException."""

from collections.abc import Iterator
from contextlib import contextmanager

from atdata_indexer.errors import StoreError


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn any failure inside tantivy, panics included, into a StoreError that says `what`."""
    try:
        yield
    except Exception as error:
        raise StoreError(f"{what}: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise StoreError(f"{what}: tantivy panicked: {error}") from error
