"""Backend: a cluster of containers, driven through ``docker compose``."""
