"""What a check of this machine finds: a state, a sentence with its values, and advice."""

from __future__ import annotations

from typing import NamedTuple

from labkit.core.errors import N_

OK, WARN, FAIL = "ok", "warn", "fail"


class Sentence(NamedTuple):
    """A sentence in English and its values; ``str()`` joins them."""

    template: str
    params: dict[str, object]

    def __str__(self) -> str:
        return self.template.format(**self.params)


class Finding(NamedTuple):
    """What one check found: ``state`` is ok, warn or fail; ``advice`` is what to do, or empty."""

    topic: str
    state: str
    found: Sentence
    advice: Sentence


def sentence(template: str, **params: object) -> Sentence:
    """Return a sentence; ``template`` has been marked with N_."""
    return Sentence(template, params)


NOTHING = sentence("")
TOPICS = {
    "python": N_("Python"),
    "environment": N_("environment"),
    "packages": N_("packages"),
    "ports": N_("ports"),
    "redis": N_("Redis"),
    "docker": N_("Docker"),
    "cores": N_("cores"),
    "memory": N_("memory"),
    "disk": N_("disk"),
    "cluster": N_("cluster"),
}
