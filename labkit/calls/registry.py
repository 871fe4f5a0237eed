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
import os
import re
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from labkit.calls import sources, versions
from labkit.core import exception_text
from labkit.core.errors import N_, CannotTravel, JobRefused
from labkit.support.descriptors import is_exhausted, too_many
from labkit.support.refusals import refusal

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
                "was it decorated under another name, or its module imported again? "
                "Then take it from there: from {module} import {name}"
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


def resolve(name: str, allowed: Sequence[str] = ALLOWED, version: str = "") -> Job:
    """Return the function called ``name`` ("module:qualname"), importing its module if necessary.

    ``allowed`` are the modules that may be run, with their submodules (``work.blur`` for ``work``). Raises
    `JobRefused` for anything else, before importing it.

    A learner's module is loaded again after its files have changed. With ``version`` the function is of that
    version (`labkit.calls.versions`), or `JobRefused` names the file that is not.
    """
    if version and (known := _by_version.get((name, tuple(allowed), version))):
        return known
    module = name.partition(":")[0]
    return (_resolve_learners if sources.is_learners(module) else _resolve)(name, tuple(allowed), version)


_by_version: dict[tuple[str, tuple[str, ...], str], Job] = {}
"""The learners' functions that this process has, earlier versions too."""
MAX_VERSIONS = 1000


def _resolve_learners(name: str, allowed: tuple[str, ...], version: str) -> Job:
    module_name, qualname = _parts(name, allowed)
    with versions.lock:
        at_hand, changed = versions.here_if_current(module_name)
        if not version and not changed and (known := _by_version.get((name, allowed, at_hand))):
            return known
        module, loaded = _loaded(name, module_name, version)
        function = _offered(name, module, qualname)
        if loaded:  # otherwise the module has no file
            if len(_by_version) >= MAX_VERSIONS:
                _by_version.clear()
            _by_version[name, allowed, loaded] = function
        return function


def resolve_version(name: str, version: str) -> None:
    """Load the module of the job ``name`` again if this process has another version of it than ``version``.

    Raises `JobRefused` if its files are another version, too.
    """
    module_name = name.partition(":")[0]
    if versions.here(module_name) != version:
        with versions.lock:
            _loaded(name, module_name, version)


def _loaded(name: str, module_name: str, version: str) -> tuple[types.ModuleType, str]:
    """Return a learner's module as it is on disk now, and its version, which must be ``version`` if given."""
    versions.refresh()
    module = _imported(name, module_name)
    loaded = versions.here(module_name)
    if version and loaded != version:
        raise JobRefused(
            N_(
                "{name} was not run: its caller has version {wanted} of {module}, and {file} on this "
                "worker is version {found}; save the file, import it again where you submit "
                "(importlib.reload), and submit again"
            ),
            name=name,
            wanted=version,
            module=module_name,
            file=_file_of(module),
            found=loaded,
        )
    return module, loaded


# Refusals are exceptions, which are not cached: a corrected module is tried again.
@functools.lru_cache(maxsize=4096)
def _resolve(name: str, allowed: tuple[str, ...], version: str = "") -> Job:
    module_name, qualname = _parts(name, allowed)
    return _offered(name, _imported(name, module_name), qualname)


def _parts(name: str, allowed: tuple[str, ...]) -> tuple[str, str]:
    """Return module and qualname of the job ``name``, if a worker may run it."""
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
    return module_name, qualname


def _imported(name: str, module_name: str) -> types.ModuleType:
    importlib.invalidate_caches()  # find a file that the learner has just written
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a learner's module may raise anything, or call exit()
        missing = isinstance(error, ModuleNotFoundError) and module_name.startswith(error.name or "?")
        if missing and sources.is_learners(module_name):
            template = N_(
                "{name} cannot be run: importing {module} failed with {error}; this worker looks for it in "
                "{folders} (LABKIT_WORK): save it there as {file}, and submit again"
            )
        else:
            template = N_("{name} cannot be run: importing {module} failed with {error}")
        raise JobRefused(
            template,
            name=name,
            module=module_name,
            error=exception_text.summary(error),
            folders=", ".join(sources.places(module_name)) or ", ".join(sys.path[-1:]),
            file=module_name.replace(".", "/") + ".py",
        ) from error


def _offered(name: str, module: types.ModuleType, qualname: str) -> Job:
    """Return the function at ``qualname`` in ``module``, if the module offers it as a job."""
    module_name = module.__name__
    function: Job | None = look_up(module, qualname)
    if function is None:
        if sources.is_learners(module_name):
            template = N_(
                "{name} cannot be run: {module} has no {function} (on the worker's side, in {file}); "
                "write it there with def at the top level, save the file, and submit again"
            )
        else:
            template = N_("{name} cannot be run: {module} has no {function} (on the worker's side)")
        raise JobRefused(
            template,
            name=name,
            module=module_name,
            function=qualname,
            file=_file_of(module),
        )
    defined_here = getattr(function, "__module__", None) == module_name and (
        getattr(function, "__qualname__", None) == qualname
    )
    if not callable(function) or not defined_here or qualname not in getattr(module, "__jobs__", (qualname,)):
        raise JobRefused(
            N_("{name} is refused: {module} does not offer it as a job"), name=name, module=module_name
        )
    return function


def _file_of(module: types.ModuleType) -> str:
    return str(vars(module).get("__file__") or module.__name__)


def version_of(name: str) -> str:
    """Return the version that this process has of the module of the job ``name``, if it is a learner's.

    Raises `CannotTravel` if its files have changed or gone since they were imported, `TooManyOpenFiles` or
    `Refused` if the system does not let them be read now.
    """
    module = name.partition(":")[0]
    if not sources.is_learners(module):
        return ""
    try:
        version, changed = versions.here_if_current(module)
    except OSError as error:
        raise (too_many(error) if is_exhausted(error) else refusal(error) or error) from error
    if gone := [source.path for source in changed.values() if not os.path.exists(source.path)]:
        raise CannotTravel(
            N_(
                "{name} cannot be sent: {files} changed after it was imported here: it was deleted, renamed "
                "or moved, so a worker has no file to run; save it there again, or import the file that has "
                "the function now and submit that one"
            ),
            name=name,
            files=", ".join(gone),
        )
    if changed:
        raise CannotTravel(
            N_(
                "{name} cannot be sent: {files} changed after it was imported here, so a worker would run "
                "another version; import it again: importlib.reload({modules}), then take {name} from there"
            ),
            name=name,
            files=", ".join(source.path for source in changed.values()),
            modules="), importlib.reload(".join(changed),
        )
    return version


_allowed_here: tuple[str, ...] = ALLOWED


def allow(modules: Sequence[str]) -> None:
    """Set the modules that this process may run, once, when a worker starts; `run_each` needs them."""
    global _allowed_here
    _allowed_here = tuple(modules)
    sources.watch(modules)


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


sources.watch()  # before a program imports its work/: then what it has loaded is known exactly
