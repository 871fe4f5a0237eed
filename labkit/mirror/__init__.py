"""Redis: a copy of the broker's state for people to read, and the server that holds it."""
