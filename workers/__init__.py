"""The worker process: one DEALER round a WorkerSession, and threads that compute. ``python -m workers``."""

from __future__ import annotations
