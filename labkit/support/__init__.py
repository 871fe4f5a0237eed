"""Helpers that every room may use: settings, translation, text, colours, files, signals, timing. No
network."""
