"""Damage to a file: one flipped bit."""

from __future__ import annotations

from pathlib import Path


def flip(path: Path, position: int) -> None:
    with open(path, "r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 4]))
