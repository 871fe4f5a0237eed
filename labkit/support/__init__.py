"""Helpers that every room may use: settings, translation, text, files, signals, timing. No network."""
