"""Tab-separated text: the lists of a data set, and the tables that the program writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from asc_sweeps.data.findings import printable
from asc_sweeps.errors import DataError


def read_text(path: Path) -> str:
    """A UTF-8 text with or without a byte-order mark, its lines ended by LF. Raises DataError for any other encoding."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(path)}: not UTF-8 text (invalid byte at position {error.start})") from None


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a list by column name; missing cells are left out. Raises DataError unless the first column is `filename`."""
    header, *lines = read_text(path).split("\n")
    columns = header.split("\t")
    if columns[0] != "filename":
        raise DataError(f"{printable(path)}:1: the first column of the header must be 'filename'")
    return [dict(zip(columns, line.split("\t"), strict=False)) for line in lines if line.strip()]


def as_tsv(rows: Iterable[Sequence[str]]) -> str:
    """Rows, the header first, as text."""
    return "".join("\t".join(row) + "\n" for row in rows)
