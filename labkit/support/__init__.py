"""Helpers for every room: settings, translation, text, colours, files, signals, timing. No network."""
