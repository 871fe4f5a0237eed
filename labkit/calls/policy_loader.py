"""A placement policy by its name: one of the lab's, or a learner's own function as ``module:function``.

``work.my_policy:choose`` is the function ``choose`` in ``work/my_policy.py``, found from the folder in which
the command was given (or LABKIT_WORK), like a learner's jobs. What a policy is, and what it may know, says
``labkit.core.broker.policies``.

It is loaded twice: by whoever starts the cluster, so that a mistake is told where it can be corrected; then
by the broker, in whose loop it runs. A policy that raises, or chooses somebody who was not offered, is
replaced by least_busy for that task and told in the history (``policy_error``); one that never returns stops
the broker.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

from labkit.core.broker.policies import POLICIES, Policy, named
from labkit.core.errors import N_, InvalidInput

OWN = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")
"""What a learner's policy is called: module:function."""


def load(name: str, folder: Path | None = None) -> Policy:
    """Return the policy called ``name``; modules are looked for from ``folder`` (default: here), too.

    Raises InvalidInput, saying what is wrong: an unknown name, a module that cannot be imported, or no
    function of three arguments.
    """
    if name in POLICIES or not OWN.fullmatch(name):
        return named(name)
    module_name, _, function_name = name.partition(":")
    path = str(folder or Path.cwd())
    if path not in sys.path:
        sys.path.append(path)  # last: a learner's json.py must not replace Python's
    importlib.invalidate_caches()  # a file that the learner wrote a moment ago is found
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a learner's module may raise anything
        raise InvalidInput(
            N_("the policy {policy}: importing {module} failed with {error}"),
            policy=name,
            module=module_name,
            error=f"{type(error).__name__}: {error}",
        ) from error
    policy = getattr(module, function_name, None)
    if not callable(policy) or not _takes_three(policy):
        raise InvalidInput(
            N_("the policy {policy}: {module} has no function {function}(task, workers, now)"),
            policy=name,
            module=module_name,
            function=function_name,
        )
    chosen: Policy = policy
    return chosen


def _takes_three(policy: Policy) -> bool:
    try:
        inspect.signature(policy).bind(None, [], 0.0)
    except (TypeError, ValueError):  # not with three; or it does not say (some built-ins)
        return False
    return True
