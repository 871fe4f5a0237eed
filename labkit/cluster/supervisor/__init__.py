"""The parent of a local cluster's processes. Imports the standard library and nothing else."""
