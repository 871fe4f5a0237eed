"""What the broker shows of itself at one moment: its workers and its queue.

A picture is made by the scheduler for whoever displays the cluster (the Redis mirror, the status command).
It is a copy: nothing that is done to it changes the scheduler, and nothing ever reads it back as the truth.

The core has no wall clock, so a picture says how *long ago* a worker was last heard; whoever shows it to
people turns that age into a time of day.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Picture(NamedTuple):
    """One moment of the broker; both parts are complete, so a later picture replaces an earlier one.

    ``workers``: one dict per worker, with the keys

    ======================  ==========================================================================
    id                      str, the worker's name; no two workers of a picture share one
    capabilities            list of str, sorted: the filters it serves
    last_heartbeat_age_s    float, seconds since anything was last heard from it, 0 or more
    status                  str: ready, busy, suspect, draining, lost or left
    tasks_completed         int, tasks that this epoch of the worker has finished
    in_flight               int, tasks dispatched to it and not yet answered
    slots                   int, tasks that it computes at the same time
    epoch                   str of hex digits, fresh for every hello of the worker
    pid                     int, the number of its process, as it said
    ======================  ==========================================================================

    ``pending``: the ids (32 hex digits) of the tasks that wait for a worker, oldest first.
    """

    workers: tuple[dict[str, Any], ...] = ()
    pending: tuple[str, ...] = ()
