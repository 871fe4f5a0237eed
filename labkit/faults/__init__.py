"""``python -m labkit faults``: faults injected into a live cluster, each promise measured.

Reading order::

    verdict     a claim with its measurement, and the verdict: pass, fail, inconclusive
    machine     how much time the machine took from the cluster; it tells "too slow" from "wrong"
    judge       collects claims, and excuses those that only a faster machine could have met
    network     a network that can be cut, reset and slow, between a process and its broker
    work        tasks whose results are known beforehand, and how often each future was resolved
    test_bed    one live cluster, ways to harm it, and waiting for what its history shows
    case        what a case is: its name, its fault, its promise, the cluster that it wants
    workers_die, tasks_misbehave, brokers_die, redis_fails, links_fail, clients_misbehave, clusters_end
                the cases, by what the fault hits
    suite       all of them in order, and one carried out
    table       what is printed of it

Only the command line and the tests import this package. No part of the lab knows that it is being tested.

A case judges by the history's events and counts, and by the results that its clients received. It injects a
fault when the history shows that a task has *started*, never after a guessed time.
"""

from __future__ import annotations
