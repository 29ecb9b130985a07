"""Much text in little of an HTML page: gzip, then 85 signs that mean nothing to HTML. The page's own script reads it, too."""

from __future__ import annotations

import base64
import gzip
import zlib

_SAFE = str.maketrans("<>&", ",./")
_BACK = str.maketrans(",./", "<>&")
LARGEST = 500_000_000
"""Bytes that a packed text may unpack to."""


def pack(text: str) -> str:
    """Pack a text; the same text gives the same signs.

    >>> unpack(pack("wide < narrow & Größe"))
    'wide < narrow & Größe'
    """
    return base64.b85encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode().translate(_SAFE)


def unpack(signs: str) -> str:
    """The text that was packed. Raises ValueError for anything else, and for what would fill the memory."""
    reader = zlib.decompressobj(wbits=31)
    try:
        content = reader.decompress(base64.b85decode(signs.strip().translate(_BACK)), LARGEST)
        if not reader.eof:
            raise ValueError("cut off, or larger than it may be")
        return content.decode()
    except zlib.error as error:
        raise ValueError(str(error)) from None
