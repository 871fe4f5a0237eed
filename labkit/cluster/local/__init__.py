"""Backend: a cluster of local processes."""
