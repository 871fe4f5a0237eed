"""What the environment says, read once at an entry point into one frozen record.

Rules:

* Only an entry point (command line, broker, worker, notebook) calls ``Settings.from_environment``; everything
  below is handed the values it needs.
* The names of the course stay as they are (``REDIS_URL``, ``WORKER_ID``, ``WORKER_CAPABILITIES``). All others
  begin with ``LABKIT_``, and an unknown one of these is an error: no misspelt setting is ignored in silence.
* Each number of ``labkit.core.protocol.rules.Rules`` has a variable too: ``heartbeat_s`` is
  ``LABKIT_HEARTBEAT_S``.
* An empty variable counts as not set (that is how docker compose passes on what is missing).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from labkit.core.broker.policies import POLICIES
from labkit.core.broker.worker_table import MAX_SLOTS
from labkit.core.errors import N_, SettingsError
from labkit.core.protocol.rules import Rules
from labkit.support.text import parse_float, parse_int

BACKENDS = ("local", "compose")


@dataclass(frozen=True, slots=True)
class Settings:
    """One process's settings. The variable that sets a field stands in ``_VARIABLES`` below."""

    host: str = "127.0.0.1"
    """Where the broker listens. Anything but a loopback address needs ``keys``."""
    client_port: int = 5555
    worker_port: int = 5556
    event_port: int = 5557
    redis_port: int = 6379
    redis_url: str | None = None
    """A Redis server of the user's own; None: the cluster starts one."""
    home: Path = field(default_factory=lambda: _home("~/.labkit"))
    """The folder where clusters keep their run folders."""
    cluster: str = "default"
    """The name under which commands find a background cluster."""
    lang: str | None = None
    """"es" or "en"; None: the locale decides (labkit.support.i18n)."""
    policy: str = "least_busy"
    """One of the lab's, or a learner's own as module:function (labkit.calls.policy_loader)."""
    rules: Rules = Rules()
    job_modules: tuple[str, ...] = ("labkit.jobs", "work")
    """The modules whose functions a worker may run, each with what lies below it."""

    broker: tuple[str, ...] = ()
    """Addresses at which a worker looks for its broker; empty: ``host`` and ``worker_port``."""
    worker_id: str | None = None
    worker_capabilities: tuple[str, ...] = ()
    """Filters that this worker serves; empty: all."""
    worker_slots: int = 1
    """How many tasks this worker computes at once."""
    work: Path | None = None
    """Folder in which workers find the learner's ``work`` package; None: where they were started."""
    token_file: Path | None = None
    """File that holds the cluster's secret."""
    keys: Path | None = None
    """Folder of CURVE keys (labkit.security.key_store); it takes the secret's place, and any address may be
    used."""
    key: str | None = None
    """Which secret key of that folder is ours; None: the worker's own, or the only one."""
    lifeline: int | None = None
    """A pipe of the program that opened the cluster: when it ends, so does this process
    (labkit.support.parent_watch)."""
    folder: Path | None = None
    """The cluster's own folder, where the broker records its history; None: nothing is recorded. A worker
    touches the file ``serving`` in it."""

    backend: str | None = None
    """What a cluster's processes run in: local or compose; None: local, or what ``up`` was told."""
    lab_port: int = 8888
    """Where the compose backend publishes JupyterLab."""
    control: Path | None = None
    """In a container: the folder of the sockets through which the lab does faults (cluster/agent.py)."""

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
        rules: dict[str, Any] = {}
        for name, (target, read) in _RULE_VARIABLES.items():
            if text := environ.get(name, "").strip():
                rules[target] = read(name, text)
        return cls(**values, rules=_in_order(Rules(**rules)))

    def broker_addresses(self) -> tuple[str, ...]:
        """Return where a worker looks for its broker, in this order."""
        return self.broker or (f"tcp://{self.host}:{self.worker_port}",)

    def token(self) -> str | None:
        """Return the cluster's secret, or None where no file is named; SettingsError if it cannot be read."""
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


# --- readers: (name of the variable, its text) -> value, or SettingsError ---


def _text(name: str, text: str) -> str:
    return text


def _whole(name: str, text: str, low: int = 1, high: int = 1 << 62) -> int:
    try:
        number = parse_int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        template = (
            N_("{name}={value!r}: a whole number from {low} to {high} is expected")
            if high < 1 << 62
            else N_("{name}={value!r}: a whole number, {low} or more, is expected")
        )
        raise SettingsError(template, name=name, value=text, low=low, high=high)
    return number


def _port(name: str, text: str) -> int:
    return _whole(name, text, 1, 65535)


def _slots(name: str, text: str) -> int:
    return _whole(name, text, 1, MAX_SLOTS)


def _positive(name: str, text: str) -> float:
    try:
        number = parse_float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise SettingsError(
            N_("{name}={value!r}: a number greater than 0 is expected, like 0.5"), name=name, value=text
        )
    return number


def _name(name: str, text: str) -> str:
    """A name that may become a file's name or part of a log line."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
        raise SettingsError(
            N_("{name}={value!r}: a name is expected, like worker-1: letters, digits, - _ . and at most 64"),
            name=name,
            value=text,
        )
    return text


def _language(name: str, text: str) -> str:
    if text not in ("es", "en"):
        raise SettingsError(N_("{name}={value!r}: es or en is expected"), name=name, value=text)
    return text


def _backend(name: str, text: str) -> str:
    if text not in BACKENDS:
        raise SettingsError(
            N_("{name}={value!r}: one of these backends is expected: {known}"),
            name=name, value=text, known=", ".join(BACKENDS),
        )  # fmt: skip
    return text


def _policy(name: str, text: str) -> str:
    if text not in POLICIES and not re.fullmatch(r"[\w.]+:\w+", text):  # see labkit.calls.policy_loader
        raise SettingsError(
            N_("{name}={value!r}: one of these policies is expected: {known}"),
            name=name,
            value=text,
            known=", ".join(POLICIES),
        )
    return text


def words(text: str) -> tuple[str, ...]:
    """Return the comma-separated words of ``text``, each once, in the order given."""
    return tuple(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))


def _list(name: str, text: str) -> tuple[str, ...]:
    return words(text)


def _modules(name: str, text: str) -> tuple[str, ...]:
    modules = _list(name, text)
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise SettingsError(
                N_("{name}={value!r}: names of Python modules are expected, like labkit.jobs,work"),
                name=name,
                value=text,
            )
    return modules


def _addresses(name: str, text: str) -> tuple[str, ...]:
    addresses = _list(name, text)
    for address in addresses:
        if not is_address(address):
            raise SettingsError(
                N_("{name}={value!r}: addresses like tcp://127.0.0.1:5556 are expected"),
                name=name,
                value=text,
            )
    return addresses


def is_address(text: str) -> bool:
    """Return whether ``text`` looks like tcp://127.0.0.1:5556: a name or number, and a port."""
    found = re.fullmatch(r"tcp://[^\s/:]+:([0-9]{1,5})", text)
    return found is not None and 1 <= int(found[1]) <= 65535


def _redis_url(name: str, text: str) -> str:
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise SettingsError(
            N_("{name}={value!r}: an address like redis://127.0.0.1:6379/0 is expected"),
            name=name,
            value=text,
        )
    return text


def _path(name: str, text: str) -> Path:
    return _home(text)


def _home(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # a user without a home folder, as in some containers
        raise SettingsError(
            N_("the home folder of this user is unknown; set LABKIT_HOME to a folder that you may write to")
        ) from error


Reader = Callable[[str, str], Any]

_VARIABLES: dict[str, tuple[str, Reader]] = {
    "LABKIT_HOST": ("host", _text),
    "LABKIT_CLIENT_PORT": ("client_port", _port),
    "LABKIT_WORKER_PORT": ("worker_port", _port),
    "LABKIT_EVENT_PORT": ("event_port", _port),
    "LABKIT_REDIS_PORT": ("redis_port", _port),
    "REDIS_URL": ("redis_url", _redis_url),
    "LABKIT_HOME": ("home", _path),
    "LABKIT_CLUSTER": ("cluster", _name),
    "LABKIT_LANG": ("lang", _language),
    "LABKIT_POLICY": ("policy", _policy),
    "LABKIT_JOB_MODULES": ("job_modules", _modules),
    "LABKIT_BROKER": ("broker", _addresses),
    "WORKER_ID": ("worker_id", _name),
    "WORKER_CAPABILITIES": ("worker_capabilities", _list),
    "LABKIT_SLOTS": ("worker_slots", _slots),
    "LABKIT_WORK": ("work", _path),
    "LABKIT_TOKEN_FILE": ("token_file", _path),
    "LABKIT_KEYS": ("keys", _path),
    "LABKIT_KEY": ("key", _name),
    "LABKIT_LIFELINE": ("lifeline", _whole),
    "LABKIT_FOLDER": ("folder", _path),
    "LABKIT_BACKEND": ("backend", _backend),
    "LABKIT_LAB_PORT": ("lab_port", _port),
    "LABKIT_CONTROL": ("control", _path),
}

_OF_THE_COMPOSE_FILE = ("LABKIT_TAG",)
"""What docker-compose.yml alone reads: the tag of the images."""

_RULE_VARIABLES: dict[str, tuple[str, Reader]] = {
    f"LABKIT_{rule.name.upper()}": (rule.name, _whole if isinstance(rule.default, int) else _positive)
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
