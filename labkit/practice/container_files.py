"""Reads a Dockerfile and a compose file without starting anything.

A compose file can reach everything on the machine: its folders, its network, Docker itself. So only what is
on the lists here may be in one that is started.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any, Final, NamedTuple

import yaml

from labkit.core.errors import N_
from labkit.practice.verdict import Finding

INSTRUCTIONS: Final = frozenset(
    {
        "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL",
        "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
    }
)  # fmt: skip
FILE_KEYS: Final = frozenset({"name", "version", "services"})
SERVICE_KEYS: Final = frozenset(
    {
        "image", "build", "command", "entrypoint", "environment", "depends_on", "healthcheck", "restart",
        "deploy", "scale", "init", "user", "working_dir", "stop_grace_period", "stop_signal", "expose",
        "labels",
    }
)  # fmt: skip
BUILD_KEYS: Final = frozenset({"context", "dockerfile"})
DEPLOY_KEYS: Final = frozenset({"replicas", "resources"})


MOST_ALIASES: Final = 20


class Instruction(NamedTuple):
    """One instruction of a Dockerfile: ``COPY`` and ``worker.py .``."""

    name: str
    rest: str


def instructions(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile, each on one line. Raises Finding if the text is none."""
    joined = re.sub(r"\\[ \t]*\n", " ", re.sub(r"^[ \t]*#.*\n?", "", text, flags=re.MULTILINE))
    found = []
    for line in joined.splitlines():
        name, _, rest = line.strip().partition(" ")
        if not name:
            continue
        if name.upper() not in INSTRUCTIONS:
            raise Finding(
                "not-a-dockerfile",
                N_("the Dockerfile has the line: {line}"),
                expected=N_("each line of a Dockerfile begins with an instruction: FROM, COPY, USER, CMD …"),
                advice=N_("Correct this line; a longer instruction goes on after a backslash."),
                line=line.strip()[:80],
            )
        found.append(Instruction(name.upper(), rest.strip()))
    return found


def last_stage(found: list[Instruction]) -> list[Instruction]:
    """Return the instructions of the image that is made at the end, without its FROM."""
    starts = [number for number, one in enumerate(found) if one.name == "FROM"]
    return found[starts[-1] + 1 :] if starts else []


def bases(found: list[Instruction]) -> Iterator[str]:
    """Yield the images that a Dockerfile begins with; earlier stages of its own do not count."""
    stages: set[str] = set()
    for one in found:
        if one.name == "FROM":
            words = [word for word in one.rest.split() if not word.startswith("--")] or [""]
            if words[0] not in stages:
                yield words[0]
            if len(words) == 3 and words[1].upper() == "AS":
                stages.add(words[2])


def copies(stage: list[Instruction], name: str) -> bool:
    """Return whether a file of the folder, beside the Dockerfile, gets into the image."""
    for one in stage:
        if one.name in ("COPY", "ADD"):
            if "--from=" in one.rest:
                return True  # from an earlier stage: only starting it shows what was there
            words = one.rest.strip("[]").replace('"', " ").replace(",", " ").split()
            sources = [word.removeprefix("./") or "." for word in words[:-1] if not word.startswith("--")]
            if any(source in (".", "/") or fnmatch(name, source) for source in sources):
                return True
    return False


def environment_of(stage: list[Instruction]) -> dict[str, str]:
    """Return the variables that a Dockerfile sets: ``ENV NAME=value`` and ``ENV NAME value``."""
    variables: dict[str, str] = {}
    for one in stage:
        if one.name == "ENV":
            pairs = re.findall(r'(\w+)=("[^"]*"|\S*)', one.rest)
            if pairs:
                variables |= {name: value.strip('"') for name, value in pairs}
            else:
                name, _, value = one.rest.partition(" ")
                variables[name] = value.strip()
    return variables


def read_compose(text: str) -> dict[str, dict[str, Any]]:
    """Return the services of a compose file by their names. Raises Finding if it is none, or not allowed."""
    try:
        aliases = sum(isinstance(one, yaml.AliasEvent) for one in yaml.parse(text, yaml.SafeLoader))
        # Each alias of a mapping of aliases doubles it; a few dozen would fill the memory.
        content = (
            json.loads(json.dumps(yaml.safe_load(text), default=str)) if aliases <= MOST_ALIASES else None
        )
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]
        raise _no_compose(N_("the compose file is not YAML: {error}"), error=why) from None
    services = content.get("services") if isinstance(content, dict) else None
    if not isinstance(services, dict) or not all(isinstance(one, dict) for one in services.values()):
        raise _no_compose(N_("the compose file has no services"))
    _allow(N_("the compose file has {key}"), content, FILE_KEYS)
    for name, service in services.items():
        _allow(N_("the service {name} has {key}"), service, SERVICE_KEYS, name=name)
        for part, keys in (("build", BUILD_KEYS), ("deploy", DEPLOY_KEYS)):
            if isinstance(inner := service.get(part), dict):
                _allow(N_("the service {name} has {part}.{key}"), inner, keys, name=name, part=part)
    return services


def environment(service: dict[str, Any]) -> dict[str, str]:
    """Return the variables that a service sets, as a mapping or as a list of NAME=value."""
    given = service.get("environment") or {}
    if isinstance(given, list):
        pairs = [str(one).partition("=") for one in given]
        return {name: value for name, _, value in pairs}
    return {str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {}


def how_many(service: dict[str, Any]) -> int:
    """Return how many containers a service has; 0 if that is no number."""
    deploy = service.get("deploy")
    wanted = deploy.get("replicas") if isinstance(deploy, dict) else None
    wanted = service.get("scale", 1) if wanted is None else wanted
    try:
        return int(wanted)
    except (TypeError, ValueError):
        return 0


def _allow(template: str, content: Any, keys: frozenset[str], **params: object) -> None:
    for key in content:
        if key not in keys and not str(key).startswith("x-"):
            raise Finding(
                "not-allowed",
                template,
                expected=N_("only what a worker and Redis need: {keys}"),
                advice=N_("Leave it out. Containers of one file reach each other by the service's name."),
                key=key,
                keys=", ".join(sorted(keys)),
                **params,
            )


def _no_compose(template: str, **params: object) -> Finding:
    return Finding(
        "not-compose",
        template,
        expected=N_("a mapping services:, with the name of each service and, below it, what it is"),
        advice=N_("Indent with spaces: two for a service's name, four for what belongs to it."),
        **params,
    )
