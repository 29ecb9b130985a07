"""Locks between processes of one machine, which the system releases when their owner dies. The only door to filelock."""

from filelock import FileLock

__all__ = ["FileLock"]
