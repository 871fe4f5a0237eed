"""The list of commands: name, module, one line of help. A module is imported only when it is chosen."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Any

from labkit.core.errors import N_, InvalidInput


class UsageError(InvalidInput):
    """The command line contains a mistake."""


GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    N_("the cluster"): {
        "up": ("labkit.cli.up", N_("start a cluster that stays in the background")),
        "status": ("labkit.cli.status", N_("show workers, queue and ports, once or live")),
        "scale": ("labkit.cli.cluster", N_("start or stop workers, to have this many")),
        "api": ("labkit.cli.api", N_("serve the HTTP side: the course's calls and the dashboard")),
        "autoscale": ("labkit.cli.autoscale", N_("adapt the number of workers to the work")),
        "logs": ("labkit.cli.logs", N_("show what the processes printed")),
        "redis": ("labkit.cli.redis", N_("ask Redis, as with redis-cli")),
        "down": ("labkit.cli.cluster", N_("end the cluster")),
    },
    N_("work"): {
        "submit": ("labkit.cli.submit", N_("process pictures")),
        "demo": (
            "labkit.cli.programs",
            N_("see the whole system in a minute: three workers, one is killed, nothing is lost"),
        ),
        "stress": ("labkit.cli.stress", N_("put the cluster under a planned load, and find its limit")),
        "simulate": ("labkit.cli.simulate", N_("play a run with faults on a virtual clock")),
        "bench": ("labkit.cli.programs", N_("measure speed and memory on this machine")),
    },
    N_("the course"): {
        "practice": ("labkit.cli.practice", N_("solve exercises that check themselves")),
        "lab": ("labkit.cli.lab", N_("open the notebooks of the course in JupyterLab")),
    },
    N_("faults"): {
        "kill": ("labkit.cli.process_commands", N_("kill a worker, as a crash would (SIGKILL)")),
        "pause": ("labkit.cli.process_commands", N_("freeze a worker (SIGSTOP)")),
        "resume": ("labkit.cli.process_commands", N_("let a frozen worker continue")),
        "stop": ("labkit.cli.process_commands", N_("stop a worker politely: it first finishes its tasks")),
        "start": ("labkit.cli.process_commands", N_("start a worker that was killed or stopped")),
        "faults": (
            "labkit.cli.faults",
            N_("try every fault on a separate cluster, and check the promised times and counts"),
        ),
    },
    N_("this machine"): {
        "doctor": ("labkit.cli.doctor", N_("check everything that the lab needs, and explain how to fix it")),
        "images": ("labkit.cli.images", N_("build, list, export and import the container images")),
        "keys": ("labkit.cli.keys", N_("choose who may join from other machines (CURVE keys)")),
        "broker": (
            "labkit.cli.broker",
            N_("run a broker (as a cluster does; settings from the environment)"),
        ),
    },
}

COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}

TAKES_WORDS = frozenset({"redis", "bench", "broker"})
"""Commands that receive their arguments unparsed: ``run_words(words, settings)`` instead of ``run``."""

OWN_HELP = frozenset({"bench"})
"""Commands that handle ``--help`` themselves."""


def find(name: str) -> tuple[str, str]:
    """Return module and help of the command called ``name``, or raise UsageError with the nearest name."""
    if name in COMMANDS:
        return COMMANDS[name]
    nearest = difflib.get_close_matches(name, COMMANDS, n=1)
    if nearest:
        raise UsageError(
            N_("there is no command {name!r}; is {nearest} meant?"), name=name, nearest=nearest[0]
        )
    raise UsageError(N_("there is no command {name!r}; python -m labkit --help lists them"), name=name)


def load(name: str) -> Any:
    """Return the module of the command called ``name``."""
    return import_module(find(name)[0])
