"""The errors that explain why a client gives no answer: refused, failed, closed, or the broker is silent."""

from __future__ import annotations

from labkit.core import exception_text
from labkit.core.errors import (
    N_,
    AccessDenied,
    BrokerUnreachable,
    ClientFailed,
    ClientGone,
    ClusterReplaced,
    LabkitError,
)
from labkit.support.refusals import refusal


class Ending:
    """Why a client's I/O loop has ended, or is about to; the thread that leads sets it."""

    def __init__(self) -> None:
        self.denied: AccessDenied | None = None
        """Why the broker refuses us: from the start, or for long after it had admitted us."""
        self.failure: LabkitError | None = None
        """What has ended the loop, if it was not ``close``."""

    def fail(self, error: BaseException) -> None:
        """Note what has ended the loop; the first failure counts."""
        if self.failure is not None:
            return
        if isinstance(error, LabkitError):
            self.failure = error
            return
        why = refusal(error) or exception_text.summary(error)
        self.failure = ClientFailed(N_("this client has failed ({why}); open a new one"), why=why)
        self.failure.__cause__ = error

    @property
    def cause(self) -> LabkitError | None:
        """The error that has ended the client, if there was one."""
        return self.denied or self.failure

    def closed(self) -> LabkitError:
        """Return the error for a call of a client that is no longer open."""
        return self.cause or BrokerUnreachable(N_("this client is closed; open a new one"))

    def of_task(self, task: str, worker: str | None = None) -> LabkitError:
        """Return the error for a task without another outcome; ``worker``: where it was running, if known."""
        if self.denied:
            return ClusterReplaced(
                N_(
                    "task {task}: the broker no longer admits this client, "
                    "so its outcome stays unknown: {why}"
                ),
                task=task,
                why=self.denied,
            )
        if self.failure:
            error = ClientGone(
                N_("task {task}: its outcome stays unknown: {why}"), task=task, why=self.failure
            )
            error.__cause__ = self.failure
            return error
        if worker:
            return ClientGone(
                N_("task {task}: this client was closed first; it was running on {worker}"),
                task=task,
                worker=worker,
            )
        return ClientGone(N_("task {task}: this client was closed first"), task=task)


def no_answer(address: str, timeout_s: float) -> LabkitError:
    """Return the error for a broker that is silent."""
    return BrokerUnreachable(
        N_("the broker at {address} did not answer within {seconds} s; is it up? python -m labkit up"),
        address=address,
        seconds=round(timeout_s, 1),
    )
