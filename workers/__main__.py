"""``python -m workers``: start one worker. Its environment names the broker and the worker.

``LABKIT_BROKER`` (tcp://127.0.0.1:5556), ``LABKIT_TOKEN_FILE`` or ``LABKIT_KEYS`` (and ``LABKIT_KEY``),
``WORKER_ID``, ``WORKER_CAPABILITIES`` (resize,blur; default all), ``LABKIT_SLOTS``, ``LABKIT_JOB_MODULES``,
``LABKIT_WORK``. SIGTERM drains. If ``LABKIT_FOLDER`` names a folder, the worker touches the file ``serving``
in it while the broker answers.

Exit codes: 0 stopped, 2 wrong settings, 75 refused by the broker (its id is taken, or its key does not allow
it), 77 not authenticated (wrong secret or key), 86 a task outran its lease. SIGPROF: a task outran its lease
and held the interpreter lock all the time (``workers.watchdog``).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys


def main() -> int:
    """Run a worker in this process and return its exit code."""
    # Native libraries read these when they are loaded, at the first picture.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    from labkit.support import utf8

    utf8.start_again_if_needed()
    from labkit.core.errors import LabkitError
    from labkit.core.protocol import exit_codes
    from labkit.security import credentials
    from labkit.support.log_output import log_to_standard_error, tolerate_a_full_disk
    from labkit.support.settings import Settings

    tolerate_a_full_disk()
    log_to_standard_error()
    try:
        settings = Settings.from_environment()
        proof = credentials.of_worker(settings)
    except LabkitError as error:
        print(error, file=sys.stderr)
        return exit_codes.NOT_UNDERSTOOD
    if settings.work is not None:
        sys.path.append(str(settings.work))  # last: a learner's json.py must not replace Python's
    from labkit.calls import registry
    from labkit.support import parent_watch
    from workers.worker import Worker

    if settings.worker_capabilities:  # otherwise the filters are imported with the first picture
        from labkit.imaging.filters import warning_of_unknown

        if warning := warning_of_unknown("WORKER_CAPABILITIES", settings.worker_capabilities):
            logging.getLogger("workers").warning("%s", warning)
    registry.allow(settings.job_modules)
    try:
        worker = Worker(
            address=settings.broker_addresses()[0],
            credentials=proof,
            name=settings.worker_id or f"worker-{os.getpid()}",
            capabilities=frozenset(settings.worker_capabilities),
            slots=settings.worker_slots,
            rules=settings.rules,
            job_modules=settings.job_modules,
            serving_file=None if settings.folder is None else settings.folder / "serving",
        )
        worker.stop_on_signals()
        parent_watch.end_with(settings.lifeline)
        return worker.run()
    except LabkitError as error:  # this process cannot connect at all
        print(error, file=sys.stderr)
        return exit_codes.FAILED


if __name__ == "__main__":
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # full, or closed by the parent
            stream.flush()
    # Not sys.exit: a thread that hangs in a task would prevent the interpreter from ending.
    os._exit(code)
