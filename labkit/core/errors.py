"""Every error that labkit raises on purpose, in one tree.

Each error states what happened, where, and what to do next, and is *definite* or not:

* definite: the action certainly did not happen (the port is taken, the filter is unknown), or the task has
  certainly failed and has no result;
* indefinite: the action may have happened, and only the answer is missing (a timeout, a lost connection).

An error about a task names the task, and the worker, the attempt and the reason as far as they are known.

An error keeps its English template and its parameters apart, so that the command line or a notebook can print
the sentence in the reader's language; the core knows nothing about languages. ``N_`` marks a template for the
message catalogue and returns it unchanged.

Source of definite/indefinite: the error classes of Maelstrom's protocol.
"""

from __future__ import annotations

from typing import Any


def N_(template: str) -> str:
    """Return ``template`` itself; marks it for extraction into the message catalogue."""
    return template


class LabkitError(Exception):
    """Base of all of labkit's errors: ``str(error)`` is the English sentence.

    ``template`` is a ``str.format`` template and ``params`` its named values.
    """

    definite: bool = True

    def __init__(self, template: str, **params: Any) -> None:
        super().__init__(template, params)
        self.template = template
        self.params = params

    def __str__(self) -> str:
        return self.template.format(**self.params)

    def __repr__(self) -> str:
        # A notebook displays `future.exception()` with it: the sentence, not the template and its parameters.
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own pickling would lose the keyword parameters (process pools pickle errors).
        return _rebuild, (type(self), self.template, self.params)


def _rebuild(cls: type[LabkitError], template: str, params: dict[str, Any]) -> LabkitError:
    return cls(template, **params)


# --- wrong input: the caller must change something ---


class InvalidInput(LabkitError, ValueError):
    """A value from the user is outside what labkit accepts; nothing was done."""


class FilterError(InvalidInput):
    """A filter or one of its parameters is unknown or out of range."""


class ImageError(InvalidInput):
    """A file or byte string is not an image that labkit reads, or is too large."""


class SettingsError(InvalidInput):
    """An environment variable or option has a value that labkit does not understand."""


class CannotTravel(LabkitError, TypeError):
    """A function or argument cannot be sent to a worker; the message states what to do instead."""


class JobRefused(LabkitError):
    """The requested function is outside the modules that the worker may run."""


class ProtocolError(LabkitError):
    """A peer sent bytes that are not this protocol. ``guilty`` is the side that broke the rules."""

    def __init__(self, template: str, guilty: str = "peer", **params: Any) -> None:
        super().__init__(template, **params)
        self.guilty = guilty


# --- how a task may fail ---


class TaskError(LabkitError):
    """A task ended without a result. ``params`` holds task, worker and attempt where they are known.

    If it is definite, there is no result; side effects before the failure are possible.
    """


class TaskFailed(TaskError):
    """The task's own code raised. ``remote_traceback`` is the worker's traceback as text (capped)."""

    @property
    def remote_traceback(self) -> str:
        return str(self.params.get("traceback", ""))


class TaskPoisoned(TaskError):
    """The task crashed its worker too often and is not tried again."""


class TaskHung(TaskError):
    """The task ran past its lease on every attempt."""


class TaskDeadlock(TaskError):
    """Running tasks occupy all slots and wait for tasks of the same cluster, this one among them."""


class NoWorker(TaskError):
    """No living worker could do this task before its deadline. Indefinite if it had been dispatched."""

    def __init__(self, template: str, **params: Any) -> None:
        super().__init__(template, **params)
        self.definite = not params.get("attempt")


class DeadlineExceeded(TaskError):
    """The task was not done before its deadline; it may still have run."""

    definite = False


class ResultUnreadable(TaskError):
    """The task was done, but its result cannot be decoded; the message states why."""

    definite = False


class ClientGone(TaskError):
    """The client was closed while the task was open; it may still have run."""

    definite = False


# --- the cluster around the task ---


class ClusterError(LabkitError):
    """Something about the cluster, not about one task."""


class ClusterNotRunning(ClusterError):
    """No cluster answers to that name."""


class PortInUse(ClusterError):
    """A port that the cluster was to use is taken by another program."""


class BrokerUnreachable(ClusterError):
    """The broker did not answer in time; requests that it received may have happened."""

    definite = False


class ClientFailed(ClusterError):
    """A client ended by itself; its connection failed. Requests that it had sent may have happened."""

    definite = False


class TooManyOpenFiles(ClusterError):
    """This process may open no further file or connection."""


class AccessDenied(ClusterError):
    """The broker does not admit this peer: wrong secret, a key that is not on its list, or another broker."""


class ClusterReplaced(AccessDenied):
    """The broker no longer admits this peer; earlier requests may have happened."""

    definite = False


class BackendMissing(ClusterError):
    """A program that this backend needs (Docker, a Redis server) is not on this machine."""


class InvariantBroken(LabkitError):
    """A bug in labkit: it reached a state that its own rules exclude. Please report it."""
