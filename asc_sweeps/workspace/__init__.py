"""Where things are: paths, files in a folder or an object store, leases, result records, status, environment."""
