"""The worker process: one DEALER round a WorkerSession, with the computing beside it. ``python -m
workers``."""

from __future__ import annotations
