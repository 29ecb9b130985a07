"""asc_sweeps: a Ray Tune study system for low-complexity acoustic scene classification."""

__version__ = "0.1.0"
