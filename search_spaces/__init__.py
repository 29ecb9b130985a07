"""The studies that come with asc_sweeps: one YAML file each, no code. A package only so that they are found where installed."""
