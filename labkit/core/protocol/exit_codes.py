"""The exit codes of labkit's processes and commands: what a parent process can rely on.

A supervisor, a test or a container reads the code to know why a process ended; it is part of what the
processes agree on, so every code stands here once.
"""

from __future__ import annotations

DONE = 0
"""Stopped on request, or the command did what was asked."""
FAILED = 1
"""A command failed."""
NOT_UNDERSTOOD = 2
"""Wrong options or settings; nothing was done."""

CRASHED = 70
"""``labkit.jobs.crash`` ended its worker on purpose."""
PORT_IN_USE = 73
"""A broker did not start because a port is taken."""
REFUSED = 75
"""The broker refused a worker: its id is taken, or its key is for another id."""
DENIED = 77
"""The broker did not admit a worker: wrong secret or key."""
HUNG = 86
"""A worker left because a task outran its lease."""

INTERRUPTED = 130
"""Ctrl-C (128 + SIGINT, as shells report it)."""
READER_LEFT = 141
"""The reader of the output closed the pipe (128 + SIGPIPE)."""
