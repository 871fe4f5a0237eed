"""The exercises, one folder each: what is in a folder is described in ``labkit.practice.exercise``."""
