"""Loads a placement policy by its name: one of the lab's, or a learner's own function as ``module:function``.

``work.my_policy:choose`` is the function ``choose`` in ``work/my_policy.py``, found from the folder in which
the command was given (or LABKIT_WORK), like a learner's jobs. ``labkit.core.broker.policies`` explains what a
policy is and what it may use.

A policy is loaded twice: first where the cluster is started, so that a mistake shows where it can be
corrected, then by the broker, in whose loop it runs. Both load it as it is on disk; an edit after that needs
a restart of the broker. If a policy raises, or chooses a worker that was not offered, least_busy replaces it
for that task, and the history records it (``policy_error``). A policy that never returns stops the broker.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

from labkit.calls import sources, versions
from labkit.core import exception_text
from labkit.core.broker.policies import POLICIES, Policy, named
from labkit.core.errors import N_, InvalidInput

OWN = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")
"""The form of a learner's policy name: module:function."""


def load(name: str, folder: Path | None = None) -> Policy:
    """Return the policy called ``name``; modules are also searched in ``folder`` (default: the current one).

    Raises InvalidInput for an unknown name, a module that cannot be imported, or a name that is not a
    function of three arguments.
    """
    if name in POLICIES:
        return named(name)
    if (meant := _meant(name)) is not None:
        raise InvalidInput(
            N_("the policy {policy!r}: a policy of your own is named as module:function; write {meant}"),
            policy=name,
            meant=meant,
        )
    if not OWN.fullmatch(name):
        return named(name)
    module_name, _, function_name = name.partition(":")
    top = folder or Path.cwd()
    path = str(top)
    if path not in sys.path:
        sys.path.append(path)  # at the end, so that a learner's json.py does not replace Python's
    importlib.invalidate_caches()  # find a file that the learner has just written
    sources.watch([module_name])
    try:
        with versions.lock:
            versions.refresh()  # a notebook may have loaded it before the last edit
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _failed(name, module_name, error) from error  # the module is there; it imports another one
        raise InvalidInput(
            N_(
                "the policy {policy}: there is no module {module}; write the function {function}(task, "
                "workers, now) into {file}, or give the command in the folder that holds it"
            ),
            policy=name,
            module=module_name,
            function=function_name,
            file=top.joinpath(*module_name.split(".")).with_suffix(".py"),
        ) from error
    except (Exception, SystemExit) as error:  # a learner's module may raise anything
        raise _failed(name, module_name, error) from error
    policy = getattr(module, function_name, None)
    if not callable(policy) or not takes_three(policy):
        raise InvalidInput(
            N_("the policy {policy}: {module} has no function {function}(task, workers, now); it is {file}"),
            policy=name,
            module=module_name,
            function=function_name,
            file=getattr(module, "__file__", None) or module_name,
        )
    chosen: Policy = policy
    return chosen


def _meant(name: str) -> str | None:
    """Return ``module:function`` for a name that is a file or lacks the function; None for any other name."""
    file, colon, function = name.rpartition(":") if re.search(r":\w*(\(\))?$", name) else (name, "", "")
    module = re.sub(r"[/\\]+", ".", re.sub(r"^(\.[/\\])+", "", file).removesuffix(".py"))
    if (module == file and function and not function.endswith("()")) or (
        not colon and module.isidentifier() and file == module
    ):
        return None
    if not colon and module.endswith(".choose") and file == module:  # a dot in the colon's place
        module = module.removesuffix(".choose")
    own = f"{module}:{function.removesuffix('()') or 'choose'}"
    return own if OWN.fullmatch(own) else None


def _failed(policy: str, module: str, error: BaseException) -> InvalidInput:
    return InvalidInput(
        N_("the policy {policy}: importing {module} failed with {error}"),
        policy=policy,
        module=module,
        error=exception_text.summary(error),
    )


def takes_three(policy: Policy) -> bool:
    """Return whether a function can be called as a policy is."""
    try:
        inspect.signature(policy).bind(None, [], 0.0)
    except (TypeError, ValueError):  # another number of arguments, or a built-in without a signature
        return False
    return True
