"""The policy of a simulated run: one of the lab's, ``module:function``, or a file with ``choose``."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

from labkit.calls import policy_loader
from labkit.core import exception_text
from labkit.core.broker.policies import POLICIES, Policy
from labkit.core.errors import N_, InvalidInput

FUNCTION = "choose"
FILE = re.compile(r"(?P<file>.+\.py)(?::(?P<function>\w+))?")


def load(name: str, folder: Path | None) -> str | Policy:
    """Return what ``simulate`` takes as its policy; ``FILE.py`` or ``FILE.py:function`` is a file.

    Raises InvalidInput for an unknown name, or a file that has no such function.
    """
    if found := FILE.fullmatch(name):
        return _of_file(Path(found["file"]), found["function"] or FUNCTION)
    return name if name in POLICIES else policy_loader.load(name, folder)


def _of_file(file: Path, function: str) -> Policy:
    if not file.is_file():
        raise InvalidInput(N_("there is no file {file}"), file=file)
    spec = importlib.util.spec_from_file_location(f"_policy_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # at the end, so that a learner's json.py does not replace Python's
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a learner's file may raise anything
        raise InvalidInput(
            N_("the policy {policy}: importing {module} failed with {error}"),
            policy=file,
            module=file.name,
            error=exception_text.summary(error),
        ) from error
    policy = getattr(module, function, None)
    if not callable(policy) or not policy_loader.takes_three(policy):
        raise InvalidInput(
            N_("the policy {policy}: {module} has no function {function}(task, workers, now); it is {file}"),
            policy=file,
            module=file.name,
            function=function,
            file=file,
        )
    chosen: Policy = policy
    return chosen
