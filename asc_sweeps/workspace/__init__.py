"""Where things are: a workspace is a folder or an object store with all records of trials and studies.

paths             `Workspace`: location, accelerator, threads; the names of its folders and files
storage           `Storage`, the interface to its files, and `LocalStorage`, for a folder that all processes see
mirrored_storage  `MirroredStorage`, for an `object_store` of which each machine keeps a copy
lease             mutual exclusion between processes, on one machine or several
records           what is stored of trials and studies; record_store: loads, saves and lists it
status            the state of studies, from the files alone
environment       versions and git state of the code, for results
atomic_files, file_lock   atomic writes; locks on one machine
"""
