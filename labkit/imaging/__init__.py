"""Pictures: the filters, reading and writing image files, the bundled photos."""
