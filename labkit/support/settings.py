"""The settings of one process: the environment, read once at an entry point into one frozen record.

Rules:

* Only an entry point (command line, broker, worker, notebook) calls ``Settings.from_environment``. Everything
  below it receives the values that it needs.
* The names of the course stay as they are (``REDIS_URL``, ``WORKER_ID``, ``WORKER_CAPABILITIES``). All others
  begin with ``LABKIT_``. An unknown name of that kind is an error, so a misspelt setting is never ignored in
  silence.
* Each number of ``labkit.core.protocol.rules.Rules`` has a variable too: ``heartbeat_s`` is
  ``LABKIT_HEARTBEAT_S``.
* An empty variable counts as not set, because docker compose passes missing values that way.

``labkit.support.setting_values`` reads and checks the text of each variable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from labkit.core.errors import N_, SettingsError
from labkit.core.protocol.rules import Rules
from labkit.support import setting_values as v


@dataclass(frozen=True, slots=True)
class Settings:
    """One process's settings. ``_VARIABLES`` below maps each variable to the field that it sets."""

    host: str = "127.0.0.1"
    """Where the broker listens. Anything but a loopback address needs ``keys``."""
    client_port: int = 5555
    worker_port: int = 5556
    event_port: int = 5557
    redis_port: int = 6379
    redis_url: str | None = field(default=None, repr=False)
    """The user's own Redis server; None: the cluster starts one. It may hold a password."""
    home: Path = field(default_factory=lambda: v.expanded("~/.labkit"))
    """The folder where clusters keep their run folders."""
    cluster: str = "default"
    """The name by which commands find a background cluster."""
    lang: str | None = None
    """"es" or "en"; None: the locale decides (labkit.support.i18n)."""
    policy: str = "least_busy"
    """One of the lab's policies, or a learner's own as module:function (labkit.calls.policy_loader)."""
    rules: Rules = Rules()
    job_modules: tuple[str, ...] = ("labkit.jobs", "work")
    """The modules whose functions a worker may run, each with its submodules."""

    broker: tuple[str, ...] = ()
    """Addresses at which a worker looks for its broker; empty: ``host`` and ``worker_port``."""
    worker_id: str | None = None
    worker_capabilities: tuple[str, ...] = ()
    """Filters that this worker serves; empty: all."""
    worker_slots: int = 1
    """How many tasks this worker computes at a time."""
    work: Path | None = None
    """Folder that holds the learner's ``work`` package; None: where the workers were started."""
    token_file: Path | None = None
    """File that holds the cluster's secret."""
    keys: Path | None = None
    """Folder of CURVE keys (labkit.security.key_store). It replaces the secret and allows any address."""
    key: str | None = None
    """The name of our secret key in that folder; None: the worker's id, or the only one."""
    lifeline: int | None = None
    """Descriptor of a pipe to the program that opened the cluster. This process ends when the pipe ends
    (labkit.support.parent_watch)."""
    folder: Path | None = None
    """The cluster's own folder, in which the broker records its history; None: nothing is recorded. A worker
    touches the file ``serving`` in it."""

    backend: str | None = None
    """How a cluster's processes run: local or compose; None: local, or the choice given to ``up``."""
    api_port: int | None = None
    """Where the HTTP side listens; None: 8000 if it is free, otherwise another port."""
    api_host: str = "127.0.0.1"
    """The address on which the HTTP side listens: 0.0.0.0 lets other machines reach it, with the token."""
    spool: Path | None = None
    """Where the HTTP side keeps pictures; None: in the cluster's folder."""
    lab_port: int = 8888
    """Where the compose backend publishes JupyterLab."""
    control: Path | None = None
    """In a container: the folder of the sockets for injecting faults (cluster/compose/agent.py)."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Return the settings in ``environ`` (default: this process's environment).

        Raises SettingsError, naming the variable, its value and what is expected.
        """
        environ = os.environ if environ is None else environ
        _refuse_unknown_names(environ)
        values: dict[str, Any] = {}
        for name, (target, read) in _VARIABLES.items():
            if text := environ.get(name, "").strip():
                values[target] = read(name, text)
        _refuse_equal_ports(environ, values)
        rules: dict[str, Any] = {}
        for name, (target, read) in _RULE_VARIABLES.items():
            if text := environ.get(name, "").strip():
                rules[target] = read(name, text)
        return cls(**values, rules=_in_order(Rules(**rules)))

    def broker_addresses(self) -> tuple[str, ...]:
        """Return the addresses at which a worker looks for its broker, in this order."""
        return self.broker or (f"tcp://{self.host}:{self.worker_port}",)

    def token(self) -> str | None:
        """Return the cluster's secret, or None if no file is named; SettingsError if it cannot be read."""
        if self.token_file is None:
            return None
        try:
            secret = self.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                N_("LABKIT_TOKEN_FILE: cannot read the cluster's secret in {path}: {error}"),
                path=self.token_file,
                error=error,
            ) from error
        if not secret:
            raise SettingsError(
                N_("LABKIT_TOKEN_FILE: {path} is empty; it should hold the cluster's secret"),
                path=self.token_file,
            )
        return secret


Reader = Callable[[str, str], Any]

_VARIABLES: dict[str, tuple[str, Reader]] = {
    "LABKIT_HOST": ("host", v.read_host),
    "LABKIT_CLIENT_PORT": ("client_port", v.read_port),
    "LABKIT_WORKER_PORT": ("worker_port", v.read_port),
    "LABKIT_EVENT_PORT": ("event_port", v.read_port),
    "LABKIT_REDIS_PORT": ("redis_port", v.read_port),
    "REDIS_URL": ("redis_url", v.read_redis_url),
    "LABKIT_HOME": ("home", v.read_path),
    "LABKIT_CLUSTER": ("cluster", v.read_name),
    "LABKIT_LANG": ("lang", v.read_language),
    "LABKIT_POLICY": ("policy", v.read_policy),
    "LABKIT_JOB_MODULES": ("job_modules", v.read_modules),
    "LABKIT_BROKER": ("broker", v.read_addresses),
    "WORKER_ID": ("worker_id", v.read_name),
    "WORKER_CAPABILITIES": ("worker_capabilities", v.read_capabilities),
    "LABKIT_SLOTS": ("worker_slots", v.read_slots),
    "LABKIT_WORK": ("work", v.read_path),
    "LABKIT_TOKEN_FILE": ("token_file", v.read_path),
    "LABKIT_KEYS": ("keys", v.read_path),
    "LABKIT_KEY": ("key", v.read_name),
    "LABKIT_LIFELINE": ("lifeline", v.read_whole_number),
    "LABKIT_FOLDER": ("folder", v.read_path),
    "LABKIT_BACKEND": ("backend", v.read_backend),
    "LABKIT_API_PORT": ("api_port", v.read_port),
    "LABKIT_API_HOST": ("api_host", v.read_api_host),
    "LABKIT_SPOOL": ("spool", v.read_path),
    "LABKIT_LAB_PORT": ("lab_port", v.read_port),
    "LABKIT_CONTROL": ("control", v.read_path),
}

_OF_THE_COMPOSE_FILE = ("LABKIT_TAG",)
"""Variables that only docker-compose.yml reads: the tag of the images."""

_RULE_VARIABLES: dict[str, tuple[str, Reader]] = {
    f"LABKIT_{rule.name.upper()}": (
        rule.name,
        v.read_whole_number if isinstance(rule.default, int) else v.read_positive_number,
    )
    for rule in fields(Rules)
}


def rule_variables(rules: Rules) -> dict[str, str]:
    """Return the variables that give another process these rules; rules with their usual value need none."""
    usual = Rules()
    changed = {rule.name: getattr(rules, rule.name) for rule in fields(Rules)}
    return {f"LABKIT_{k.upper()}": repr(v) for k, v in changed.items() if v != getattr(usual, k)}


def _refuse_unknown_names(environ: Mapping[str, str]) -> None:
    known = [*_VARIABLES, *_RULE_VARIABLES, *_OF_THE_COMPOSE_FILE]
    for name in sorted(environ):
        if name.startswith("LABKIT_") and name not in known:
            import difflib

            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise SettingsError(
                N_("{name} is not a setting of labkit; is {nearest} meant? Correct it or unset it"),
                name=name,
                nearest=nearest,
            )


def _refuse_equal_ports(environ: Mapping[str, str], values: Mapping[str, Any]) -> None:
    named: dict[int, str] = {}
    for name, (target, read) in _VARIABLES.items():
        if read is not v.read_port or not environ.get(name, "").strip():
            continue
        port = values[target]
        if (other := named.setdefault(port, name)) != name:
            raise SettingsError(
                N_("{one} and {other} are both {port}; each needs a port of its own"),
                one=other,
                other=name,
                port=port,
            )


def _in_order(rules: Rules) -> Rules:
    if not rules.heartbeat_s < rules.suspect_s < rules.dead_s:
        raise SettingsError(
            N_(
                "LABKIT_HEARTBEAT_S={heartbeat}, LABKIT_SUSPECT_S={suspect}, LABKIT_DEAD_S={dead}: "
                "each must be less than the next, because a worker beats before it is suspected, "
                "and is suspected before it is lost"
            ),
            heartbeat=rules.heartbeat_s,
            suspect=rules.suspect_s,
            dead=rules.dead_s,
        )
    return rules
