"""Exercises that check themselves: the course's autonomous hour, ``python -m labkit practice``.

A learner edits one file in ``work/`` and has it checked. A check judges what happened, never what the code
looks like: results, recorded events, counts. It runs twice, in the simulator and on real processes.

Reading order:

* what an exercise is: ``exercise`` (metadata, catalogue), ``source`` (stub and solution from one file),
  ``texts`` (text and hints in two languages)
* what a check returns: ``verdict``
* how the learner's code runs: ``player`` (its own process), ``learner`` (our side of that process)
* ``check`` (both stages, within their time limits), ``workspace`` (the learner's files), ``progress`` (what
  was passed), ``screen`` (all of it as text)
* ``redis_server`` (a Redis of the check's own), ``redis_peer`` (its client on the learner's side), ``crew``
  (several processes of the learner's code; a check kills one of them)
* what some exercises judge with: ``clusters``, ``policies``, ``piece``, ``load`` (a stress test's step),
  ``container_files`` and ``containers`` (a learner's Dockerfile and compose file, read and started)
* ``slow_server``: a web server that is slow on purpose, for exercises and lessons about waiting
* ``exercises/``: one folder each

Rule: the learner's code never runs in the process that judges it. A loop without end, ``os._exit`` or a
flood of output therefore becomes a verdict like any other.
"""
