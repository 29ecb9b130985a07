"""The studies that come with asc_sweeps, one YAML file each; a package, so that an installation includes them."""
