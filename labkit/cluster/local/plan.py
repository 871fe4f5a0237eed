"""Works out what the supervisor of a local cluster runs: commands, environments, ports.

Everything that needs decisions or imports happens here, in the process that starts the cluster. The
supervisor gets plain JSON and carries it out.

* All processes run the Python that runs now, with the folder that holds labkit on their path
  (``PYTHONPATH``), and with ``-P``: a learner's ``random.py`` in the current folder must not take the place
  of Python's own.
* They start in the current folder, so that a task finds ``photos/cat.jpg`` as its author does.
* Each process gets the settings that it needs as variables, and no others: a worker does not learn where
  Redis is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.calls import policy_loader
from labkit.cluster.options import Capabilities, ClusterOptions
from labkit.cluster.processes import API, python
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import BackendMissing
from labkit.mirror.server import server_command, url_of
from labkit.security.credentials import check_host, is_loopback
from labkit.security.key_store import LOCAL, ROLES, KeyFolder
from labkit.support import utf8
from labkit.support.parent_watch import dying_with_parent
from labkit.support.paths import ROOT
from labkit.support.settings import Settings, rule_variables

if TYPE_CHECKING:
    from labkit.cluster.supervisor.plan import Part, Plan

KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_TOP_PAD_": str(4 << 20),
}
"""For glibc; others ignore it: keep up to 64 MiB of freed memory, instead of having the kernel take back and
clear the pages of every picture. With pictures of 512 x 512 that saves a sixth of a task's processor time."""


def make_plan(
    folder: RunFolder,
    name: str,
    settings: Settings,
    ports: Mapping[str, int],
    options: ClusterOptions,
    *,
    private: bool,
) -> Plan:
    """Return the supervisor's plan, ready for JSON. With a port for it, the cluster has an HTTP side.

    Raises what ``policy_loader.load`` raises.
    """
    policy = options.policy or settings.policy
    # Load it here, where an error reaches the user; a broker could only refuse to start.
    policy_loader.load(policy, settings.work)
    capabilities = options.capabilities
    keys = _keys(settings)
    own_redis = None
    redis_url = settings.redis_url if options.redis else None
    if redis_url is None and options.redis:
        own_redis = _redis(folder, ports["redis"], private)
        redis_url = url_of(ports["redis"]) if own_redis is not None else None
    reachable = "127.0.0.1" if settings.host in ("0.0.0.0", "*") else settings.host
    address = {kind: f"tcp://{reachable}:{ports[kind]}" for kind in ("client", "worker", "event")}
    rules = rule_variables(settings.rules)
    broker = {
        "LABKIT_HOST": settings.host,
        **{f"LABKIT_{kind.upper()}_PORT": str(ports[kind]) for kind in ("client", "worker", "event")},
        **_credentials(folder, keys),
        "LABKIT_FOLDER": str(folder.path),
        "LABKIT_POLICY": policy,
        "LABKIT_WORK": str(settings.work or Path.cwd()),
        "REDIS_URL": redis_url or "",
        **KEEP_FREED_MEMORY,
        **rules,
    }
    worker = {
        "LABKIT_BROKER": address["worker"],
        **_credentials(folder, keys),
        "LABKIT_SLOTS": str(settings.worker_slots if options.slots is None else options.slots),
        "LABKIT_JOB_MODULES": ",".join(settings.job_modules),
        "LABKIT_WORK": str(settings.work or Path.cwd()),
        # One computing thread per worker: libraries that each use all cores slow each other down.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        **KEEP_FREED_MEMORY,
        **_capabilities(settings.worker_capabilities if capabilities is None else capabilities),
        **rules,
    }
    api: Part = {
        "command": python("labkit.gateway"),
        "environment": {
            "LABKIT_CLUSTER": name,
            "LABKIT_BACKEND": "local",
            "LABKIT_API_PORT": str(ports.get(API, "")),
            "LABKIT_API_HOST": settings.api_host,
            # A background cluster is found under its name, a private one has no name to be found under.
            **({"LABKIT_FOLDER": str(folder.path)} if private else {}),
            # Its engines compute with many threads and processes of their own; see the workers.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
        },
    }
    drain_s = settings.rules.drain_s + 1.0  # the worker's own limit comes first
    by_worker = capabilities.items() if isinstance(capabilities, Mapping) else ()
    plan: Plan = {
        "folder": str(folder.path),
        "private": private,
        "workers": options.workers,
        "drain_s": drain_s,
        "broker": {"command": python("labkit", "broker"), "environment": broker},
        "redis": own_redis,
        "worker": {
            "command": python("workers"),
            "environment": worker,
            "own": {name: _capabilities(listed) for name, listed in by_worker},
        },
        "about": {
            "name": name,
            "backend": "local",
            "ports": dict(ports),
            "address": address["client"],
            "event_address": address["event"],
            "redis_url": redis_url,
            "keys": None if keys is None else str(keys),
            "policy": policy,
            "started": time.time(),
            "private": private,
            "drain_s": drain_s,
            "api_host": settings.api_host,
        },
    }
    if API in ports:
        plan["api"] = api
    return plan


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of every process of the cluster, before its own settings are added."""
    ours = ("WORKER_ID", "WORKER_CAPABILITIES", "REDIS_URL")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LABKIT_") and k not in ours}
    path = kept.get("PYTHONPATH")
    return {
        **kept,
        "LABKIT_HOME": str(settings.home),
        **({"LABKIT_LANG": settings.lang} if settings.lang is not None else {}),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{path}" if path else str(ROOT),
        "PYTHONUNBUFFERED": "1",  # the output of a task is in the log at once
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        **utf8.variables(),
    }


def _keys(settings: Settings) -> Path | None:
    """Return the folder of keys that the cluster uses; None on loopback, where its own secret is used.

    A secret is faster than keys, and LABKIT_KEYS may be set because this machine joins another cluster.
    Raises SettingsError if other machines can reach the cluster and the keys are not complete.
    """
    if is_loopback(settings.host):
        return None
    check_host(settings.host, None if settings.keys is None else KeyFolder(settings.keys))
    assert settings.keys is not None
    keys = KeyFolder(settings.keys)
    # Check here, where an error reaches the user; the processes could only refuse to start.
    keys.broker_secret()
    for role in ROLES:
        keys.own(role, LOCAL)
    return settings.keys.resolve()


def _credentials(folder: RunFolder, keys: Path | None) -> dict[str, str]:
    """Return the variables with which the cluster's own processes authenticate."""
    if keys is None:
        return {"LABKIT_TOKEN_FILE": str(folder.token_file)}
    return {"LABKIT_KEYS": str(keys), "LABKIT_KEY": LOCAL}


def _redis(folder: RunFolder, port: int, private: bool) -> Part | None:
    try:
        command = server_command(port, folder.path)
    except BackendMissing:
        return None  # the cluster runs without; its status shows that there is no Redis
    return {"command": dying_with_parent(command) if private else command, "environment": {}}


def _capabilities(listed: Capabilities) -> dict[str, str]:
    if not listed or isinstance(listed, Mapping):
        return {}
    return {"WORKER_CAPABILITIES": ",".join(listed)}
