"""What the HTTP side answers when it cannot do what was asked: one shape everywhere, problem+json (RFC 9457).

Every problem says what is wrong, which field it is about, what that field may be and what to do next, in the
language of the request. ``of_error`` gives labkit's own errors their status. Anything else is a fault of
labkit's: ``labkit.gateway.app`` logs it and answers 500.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.core.errors import (
    N_,
    AccessDenied,
    BackendMissing,
    BrokerUnreachable,
    CannotTravel,
    ClientGone,
    ClusterNotRunning,
    DeadlineExceeded,
    FilterError,
    ImageError,
    InvalidInput,
    JobRefused,
    LabkitError,
    NoWorker,
    TaskDeadlock,
    TaskFailed,
    TaskHung,
    TaskPoisoned,
    TooManyOpenFiles,
)
from labkit.imaging import header
from labkit.support.i18n import _, translate_error

MEDIA_TYPE = "application/problem+json"

TITLES = {
    400: N_("Bad request"),
    401: N_("A token is needed"),
    403: N_("Not allowed"),
    404: N_("Not found"),
    405: N_("This address does not take this method"),
    406: N_("No such format"),
    408: N_("The request came too slowly"),
    409: N_("Not possible now"),
    410: N_("No longer there"),
    411: N_("The length of the body is needed"),
    413: N_("Too large"),
    415: N_("Not a format that is taken"),
    422: N_("A value is not allowed"),
    429: N_("Too much at once"),
    500: N_("A fault of labkit"),
    502: N_("A worker could not do it"),
    503: N_("The cluster does not answer"),
    504: N_("Not ready in time"),
}
"""Titles by status, in English; ``body`` translates them."""


class Problem(LabkitError):
    """A request that is not answered as asked. The sentence says what is wrong.

    ``code`` names the kind of problem for programs. ``field`` is the value that the problem is about, such as
    ``filter_params.sharpen.intensity``. ``allowed`` (what may stand there) and ``next_step`` (what to do) are
    templates for the same parameters as the sentence.
    """

    def __init__(
        self,
        status: int,
        code: str,
        template: str,
        *,
        field: str = "",
        allowed: str = "",
        next_step: str = "",
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> None:
        super().__init__(template, **params)
        self.status = status
        self.code = code
        self.field = field
        self.allowed = allowed
        self.next_step = next_step
        self.headers = dict(headers or {})

    def body(self, instance: str = "") -> dict[str, Any]:
        """Return the problem as RFC 9457 wants it, in the language of the request. ``instance``: its path."""
        body: dict[str, Any] = {
            "type": f"urn:labkit:problem:{self.code}",
            "title": _(TITLES[self.status]),
            "status": self.status,
            "detail": translate_error(self),
        }
        if instance:
            body["instance"] = instance
        if self.field:
            body["field"] = self.field
        for name, template in (("allowed", self.allowed), ("next", self.next_step)):
            if template:
                body[name] = _(template).format(**self.params)
        return body


BY_ERROR: tuple[tuple[type[LabkitError], int, str, str], ...] = (
    (FilterError, 422, "filter", N_("GET /docs lists the filters with their parameters and ranges")),
    (ImageError, 422, "image", N_("send a PNG, JPEG or WebP of at most 25 megapixels")),
    (CannotTravel, 413, "too-large", N_("send fewer or smaller pictures")),
    (JobRefused, 403, "job-refused", ""),
    (InvalidInput, 422, "value", ""),
    (AccessDenied, 503, "cluster-replaced", N_("start the API again: python -m labkit api")),
    (BrokerUnreachable, 503, "broker-unreachable", N_("python -m labkit status shows which process is down")),
    (ClusterNotRunning, 503, "no-cluster", N_("python -m labkit up starts one")),
    (BackendMissing, 503, "no-backend", ""),
    (TooManyOpenFiles, 503, "too-many-files", N_("wait for other requests to end, or raise 'ulimit -n'")),
    (NoWorker, 503, "no-worker", N_("start a worker that serves these filters, or choose other filters")),
    (TaskPoisoned, 502, "poisoned", N_("the picture or the filter ends workers: leave it out")),
    (TaskHung, 502, "hung", N_("choose a smaller picture or a faster filter")),
    (TaskDeadlock, 502, "deadlock", ""),
    (TaskFailed, 502, "failed", ""),
    (DeadlineExceeded, 504, "deadline", N_("send fewer pictures, or start more workers")),
    (ClientGone, 503, "gateway-closed", N_("send it again")),
)
"""Errors of labkit with status, code and the next step; the first that fits counts."""


def of_error(error: LabkitError) -> Problem:
    """Return the problem that an error of labkit is for the caller; its sentence stays."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, TaskFailed):
        # The worker refused the input: that is the caller's to change, as if it had been refused here.
        if isinstance(error, FilterError):
            return wrapping(error, 422, "filter", "")
        if isinstance(error, ImageError):
            return _unreadable_picture(error)
    for kind, status, code, next_step in BY_ERROR:
        if isinstance(error, kind):
            return wrapping(error, status, code, next_step)
    return wrapping(error, 500, "labkit", "")


def _unreadable_picture(error: TaskFailed) -> Problem:
    """Return the problem of a picture that a worker could not read. Task, job and worker are no news here."""
    sentence = str(error.params.get("error", "")).partition(": ")[2]
    params: dict[str, Any] = {"reason": sentence.replace("<image>", _("the picture"))}
    template = N_("{reason}")
    for known in (header.truncated("<image>"), header.damaged("<image>")):
        if sentence == str(known):
            template, params = known.template, {"name": _("the picture")}
    return Problem(
        422,
        "image",
        template,
        field="image",
        next_step=N_("open the picture in another program, save it as PNG or JPEG, and send that file"),
        **params,
    )


def wrapping(error: LabkitError, status: int, code: str, next_step: str = "") -> Problem:
    """Return a problem with the sentence of an error of labkit."""
    problem = Problem(status, code, error.template, next_step=next_step)
    problem.params = error.params
    problem.args = (error.template, error.params)
    return problem
