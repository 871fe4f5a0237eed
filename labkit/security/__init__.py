"""Secrets, CURVE keys and the files that hold them."""
