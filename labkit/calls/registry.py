"""Which functions a worker may run, by name.

A function itself never travels, only its name: ``labkit.jobs:process_image``, that is ``module:qualname``.
The worker imports the module and runs the function if it allows the module: ``labkit.jobs`` and ``work``, the
learner's folder. The rules:

1. A function can be sent if its name leads back to it, that is, if it is defined with ``def`` at the top
   level of an importable module.
2. A worker runs a function if its module is allowed (or lies below an allowed one), if the function was
   *defined* there (``labkit.jobs:os.abort`` belongs to another module), and if the module lists it in
   ``__jobs__``, should it have such a list.
3. Some workers serve only some filters. `needs` derives from the arguments of a call which capabilities its
   worker must have.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from labkit.core import exception_text
from labkit.core.errors import N_, CannotTravel, JobRefused

Job = Callable[..., Any]
AnyFunction = TypeVar("AnyFunction", bound=Job)

ALLOWED = ("labkit.jobs", "work")
"""The modules whose functions a worker runs unless its settings name others."""

_NAME = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*(?:\.[^\W\d]\w*)*)")
"""Dotted Python names on both sides of a colon."""


# --- names --------------------------------------------------------------------------------------------------


def name_of(function: Job) -> str:
    """Return the name under which ``function`` travels: "module:qualname".

    Raises `CannotTravel` with advice for a lambda, a function inside a function, a method of an object, a
    function of ``__main__`` (a script or a notebook cell), a built-in, and any other object that its name
    does not lead to.
    """
    if type(function) is types.FunctionType:
        known = _names.get(function)
        if known and look_up(sys.modules.get(function.__module__), function.__qualname__) is function:
            return known
    if isinstance(function, functools.partial):
        raise CannotTravel(
            N_(
                "a functools.partial cannot be sent to a worker; "
                "send its function, and its arguments as arguments"
            )
        )
    module = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if not callable(function) or not isinstance(module, str) or not isinstance(qualname, str):
        raise CannotTravel(
            N_("{function} cannot be sent to a worker: it is of type {type}, not a function of a module"),
            function=repr(function)[:80],
            type=type(function).__name__,
        )
    if isinstance(function, types.BuiltinFunctionType) or module == "builtins":
        raise CannotTravel(
            N_(
                "{name} is built into Python and cannot be sent to a worker; "
                "call it in a function of your own"
            ),
            name=qualname,
        )
    if isinstance(function, types.MethodType):
        raise CannotTravel(
            N_(
                "{name} is a method of an object, which stays here; "
                "write a function at the top level of a module and pass it what it needs"
            ),
            name=qualname,
        )
    if "<lambda>" in qualname:
        raise CannotTravel(
            N_(
                "a lambda has no name that a worker could import; "
                "write it with def, in a module such as work/my_job.py"
            )
        )
    if "<locals>" in qualname:
        raise CannotTravel(
            N_(
                "{name} is defined inside a function; "
                "move it to the top level of a module such as work/my_job.py"
            ),
            name=qualname,
        )
    if module == "__main__":
        raise CannotTravel(
            N_(
                "{name} is defined in the program that runs (or in a notebook cell), "
                "which a worker cannot import; "
                "put it into a module such as work/my_job.py and import it from there"
            ),
            name=qualname,
        )
    if look_up(sys.modules.get(module), qualname) is not function:
        raise CannotTravel(
            N_(
                "{module}:{name} is not (or no longer) this function, so a worker would run another one; "
                "was it decorated under another name, or its module imported again?"
            ),
            module=module,
            name=qualname,
        )
    name = f"{module}:{qualname}"
    if type(function) is types.FunctionType:
        _names[function] = name
    return name


_names: weakref.WeakKeyDictionary[Job, str] = weakref.WeakKeyDictionary()
"""Functions that passed the checks of ``name_of``; later calls repeat only the last check."""


def resolve(name: str, allowed: Sequence[str] = ALLOWED) -> Job:
    """Return the function called ``name`` ("module:qualname"), importing its module if necessary.

    ``allowed`` are the modules that may be run, with their submodules (``work.blur`` for ``work``). Raises
    `JobRefused` for anything else, before importing it. Results are cached: only a new process reads an
    edited module again.
    """
    return _resolve(name, tuple(allowed))


# Refusals are exceptions, which are not cached: a corrected module is tried again.
@functools.lru_cache(maxsize=4096)
def _resolve(name: str, allowed: tuple[str, ...]) -> Job:
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise JobRefused(N_("{name!r} is not the name of a job; a name is module:function"), name=name[:200])
    module_name, qualname = parts.groups()
    if not any(module_name == root or module_name.startswith(root + ".") for root in allowed):
        raise JobRefused(
            N_("{name} is refused: this worker runs functions of {allowed} only"),
            name=name,
            allowed=", ".join(allowed),
        )
    importlib.invalidate_caches()  # find a file that the learner has just written
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a learner's module may raise anything, or call exit()
        raise JobRefused(
            N_("{name} cannot be run: importing {module} failed with {error}"),
            name=name,
            module=module_name,
            error=exception_text.summary(error),
        ) from error
    function: Job | None = look_up(module, qualname)
    if function is None:
        raise JobRefused(
            N_("{name} cannot be run: {module} has no {function} (on the worker's side)"),
            name=name,
            module=module_name,
            function=qualname,
        )
    defined_here = getattr(function, "__module__", None) == module_name and (
        getattr(function, "__qualname__", None) == qualname
    )
    if not callable(function) or not defined_here or qualname not in getattr(module, "__jobs__", (qualname,)):
        raise JobRefused(
            N_("{name} is refused: {module} does not offer it as a job"), name=name, module=module_name
        )
    return function


_allowed_here: tuple[str, ...] = ALLOWED


def allow(modules: Sequence[str]) -> None:
    """Set the modules that this process may run, once, when a worker starts; `run_each` needs them."""
    global _allowed_here
    _allowed_here = tuple(modules)


def resolve_here(name: str) -> Job:
    """Return the function called ``name``, among the modules that this process allows (`allow`)."""
    return resolve(name, _allowed_here)


def look_up(module: types.ModuleType | None, qualname: str) -> Any:
    """Return the object at ``qualname`` in ``module``, or None."""
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


# --- capabilities -------------------------------------------------------------------------------------------


def needs(capabilities: Callable[..., Iterable[str]]) -> Callable[[AnyFunction], AnyFunction]:
    """Return a decorator for a job whose calls need ``capabilities(*args, **kwargs)`` of their worker.

    ``@needs(lambda image: {"blur"})`` above ``def soften(image)``: only workers with ``blur`` get it.
    """

    def decorate(function: AnyFunction) -> AnyFunction:
        function.needs = capabilities  # type: ignore[attr-defined]
        return function

    return decorate


def needs_of(
    function: Job, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> frozenset[str]:
    """Return the capabilities that a worker must have for this call; none for a function without `needs`.

    Arguments that do not fit the function raise here what they would raise in the call.
    """
    capabilities = getattr(function, "needs", None)
    return frozenset() if capabilities is None else frozenset(capabilities(*args, **(kwargs or {})))


def needs_of_each(name: str, calls: Sequence[tuple[Any, ...]], first: int = 0) -> frozenset[str]:
    """Return the capabilities that a worker must have for all these calls of the job ``name``."""
    module, _, qualname = name.partition(":")
    function = look_up(sys.modules.get(module), qualname)
    return frozenset().union(*[needs_of(function, args) for args in calls])
