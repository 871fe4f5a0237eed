"""``python -m labkit faults``: harm done to a live cluster on purpose, each promise measured.

Reading order::

    verdict     what was measured, and which word follows: pass, fail, inconclusive
    machine     how much time the machine took from the cluster: what tells "too slow" from "wrong"
    judge       collects what is claimed, and excuses what only a faster machine could have met
    network     a network that can be cut, reset and slow, between a process and its broker
    work        tasks whose results are known beforehand, and how often each future was resolved
    stand       one live cluster, with all that a case needs to harm it and to wait
    case        what a case is: its name, its fault, its promise, the cluster that it wants
    workers_die, tasks_misbehave, brokers_die, redis_fails, links_fail, clients_misbehave, clusters_end
                the cases, by who is struck
    suite       all of them in order, and one carried out
    table       what is printed of it

Who may import it: the command line and the tests. Nothing below imports this package: no part of the lab
knows that it is being tested.

How a case judges: from the history's events and counts, and from what its clients have got. A fault is done
when the history shows that a task has *started*, never after a time that one hopes is long enough.
"""

from __future__ import annotations
