"""Locks between processes of one machine; released by the system when their owner dies. The only door to filelock."""

from filelock import FileLock

__all__ = ["FileLock"]
