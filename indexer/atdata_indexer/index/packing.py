"""Views as they lie in the index: each compressed by itself, against what all views share.

tantivy compresses documents by the block, and to read one unpacks a dozen. Packed one by one, with
what they have in common known beforehand, they take less room and are read in a quarter of the
time. What is known beforehand is part of the LAYOUT: without it nothing can be unpacked. It is
`views.zdict`, which `python -m tests.relevance.make_dictionary` trains on realistic views.
"""

from pathlib import Path
from threading import local

import zstandard

from atdata_indexer.errors import StoreError

DICTIONARY = Path(__file__).with_name("views.zdict")


class _Own(local):
    """What one thread packs and unpacks with: zstandard's objects are for one thread each."""

    def __init__(self) -> None:
        shared = zstandard.ZstdCompressionDict(DICTIONARY.read_bytes())
        bare = zstandard.ZstdCompressionParameters.from_level(
            3,
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
            write_content_size=True,
            write_checksum=False,
            write_dict_id=False,
        )
        self.packer = zstandard.ZstdCompressor(dict_data=shared, compression_params=bare)
        self.unpacker = zstandard.ZstdDecompressor(
            dict_data=shared, format=zstandard.FORMAT_ZSTD1_MAGICLESS
        )


_own = _Own()


def pack(view: str) -> bytes:
    """A view, which is JSON text, as it is stored."""
    return _own.packer.compress(view.encode())


def unpack(stored: bytes) -> str:
    """The view that `pack` made this of. Raises StoreError for anything else."""
    try:
        return _own.unpacker.decompress(stored).decode()
    except (zstandard.ZstdError, UnicodeDecodeError, MemoryError) as error:
        raise StoreError(f"a stored view is damaged: {error}") from error
