"""tantivy reports its own failures as panics, which reach Python as a BaseException."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atdata_indexer.errors import StoreError
from atdata_indexer.index import files
from atdata_indexer.index.cursor import InvalidCursor
from atdata_schemas.errors import ValidationError


@contextmanager
def guarded(what: str, folder: Path | None = None) -> Iterator[None]:
    """Turn any failure inside tantivy, panics included, into a StoreError that says `what`.

    What is wrong with a question passes: InvalidCursor and ValidationError.
    tantivy keeps to itself why it could not write: a full disk of `folder` is named here.
    """
    try:
        yield
    except (InvalidCursor, ValidationError):
        raise
    except Exception as error:
        raise StoreError(f"{what}: {error}{_full(folder)}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise StoreError(f"{what}: tantivy panicked: {error}{_full(folder)}") from error


def _full(folder: Path | None) -> str:
    return f" (the disk of {folder} is full)" if folder and files.is_full(folder) else ""
