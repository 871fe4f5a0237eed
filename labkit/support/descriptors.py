"""The limit of open files and connections: whether it is reached, and the error that says so.

A process may open only so many descriptors (``ulimit -n``; 256 on some systems). Libraries react badly when
they run out: libzmq ends the whole process if it cannot open a descriptor while its threads start. So code
that needs several asks with ``require`` first.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from labkit.core.errors import TooManyOpenFiles
from labkit.support.refusals import refusal

_EXHAUSTED = (errno.EMFILE, errno.ENFILE)


def is_exhausted(error: BaseException) -> bool:
    """Return whether ``error`` (an OSError, or one of libzmq) says that no descriptor is left."""
    return getattr(error, "errno", None) in _EXHAUSTED


def too_many(error: BaseException) -> TooManyOpenFiles:
    """Return the named error for ``error``, which says that no descriptor is left."""
    refused = refusal(error)
    assert refused is not None
    return TooManyOpenFiles(refused.template, **refused.params)


@contextmanager
def named() -> Iterator[None]:
    """Raise TooManyOpenFiles in place of an error that says the same."""
    try:
        yield
    except Exception as error:
        if is_exhausted(error):
            raise too_many(error) from error
        raise


def allow(count: int) -> None:
    """Let this process open ``count`` descriptors, or as many as the system allows it.

    The usual limit of 1,024 is far below what the system allows. It protects programs that use ``select``
    with descriptors of any number; ours use ``poll`` or better. On Windows there is no such limit.
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def require(count: int) -> None:
    """Raise TooManyOpenFiles unless this process can open ``count`` more descriptors now."""
    with named(), ExitStack() as opened:
        for _ in range((count + 1) // 2):
            for descriptor in os.pipe():
                opened.callback(os.close, descriptor)
