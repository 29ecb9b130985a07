"""`python -m asc_sweeps` is `asc-sweeps`."""

from asc_sweeps.cli import main

main()
