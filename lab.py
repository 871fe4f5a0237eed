#!/usr/bin/env python3
"""Start the lab on a machine that has Python and nothing else.

    python3 lab.py demo         what it can do, in a minute
    python3 lab.py test         the whole test suite; what follows is handed to pytest
    python3 lab.py ANYTHING     python -m labkit ANYTHING

The first run makes the virtual environment ``.venv`` beside this file. It installs ``requirements.txt``, with
everything that those packages pull in pinned by ``constraints.txt``, and this folder itself as an editable
package: ``import labkit`` then works wherever the environment's Python is started, also for a notebook in
another folder. Later runs find all of it as it was and start at once.

* ``.venv/lab-ready`` is written last, so an environment without it is unfinished and is made anew. It holds
  what the environment was made from: another Python or another folder means anew, other requirements or
  constraints mean one more install.
* One run at a time installs, behind a lock; the others wait and find it done. The system takes the lock off a
  run that dies.
* This file must parse on Python 3.6, or it could not report that 3.6 is too old. It imports nothing but the
  standard library, hence the small table of texts of its own.
"""

import sys

# Ctrl-C may arrive during the imports below: that is not an error, and nothing has been done yet.
sys.excepthook = lambda kind, *rest: None if kind is KeyboardInterrupt else sys.__excepthook__(kind, *rest)

import contextlib  # noqa: E402
import errno  # noqa: E402
import hashlib  # noqa: E402
import importlib.util  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402
from typing import IO, Iterator, List, Mapping  # noqa: E402

ROOT = os.path.dirname(os.path.realpath(__file__))
REQUIREMENTS = os.path.join(ROOT, "requirements.txt")
CONSTRAINTS = os.path.join(ROOT, "constraints.txt")
VENV = os.path.join(ROOT, ".venv")
WINDOWS = os.name == "nt"
PYTHON = os.path.join(VENV, "Scripts", "python.exe") if WINDOWS else os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "lab-ready")
LOCK = os.path.join(VENV, "lab-lock")

OLDEST = (3, 11)
NEEDED_BYTES = 1200 * 1000 * 1000

# Each text in English and in Spanish.
TEXTS = {
    "old": (
        "The lab needs Python 3.11 or newer; this is {found}.",
        "El laboratorio necesita Python 3.11 o posterior; este es {found}.",
    ),
    "use": (
        "A newer one is here: {command}",
        "Aquí hay uno más nuevo: {command}",
    ),
    "get": (
        "Get one from https://www.python.org/downloads/ or your system's packages, then run this with it.",
        "Consigue uno en https://www.python.org/downloads/ o en los paquetes del sistema y repite con él.",
    ),
    "module": (
        "This Python lacks the module {module}, which makes virtual environments. On Debian and Ubuntu:\n"
        "    sudo apt install python3-venv     (or python{version}-venv, if this is not the system's Python)",
        "A este Python le falta el módulo {module}, que crea entornos virtuales. En Debian y Ubuntu:\n"
        "    sudo apt install python3-venv     (o python{version}-venv, si no es el Python del sistema)",
    ),
    "disk": (
        "The disk is full: the lab needs about {needed} MB in {folder}, and {free} MB are free. "
        "Make room, then run this again.",
        "El disco está lleno: el laboratorio necesita unos {needed} MB en {folder} y hay {free} MB libres. "
        "Libera espacio y repite el comando.",
    ),
    "network": (
        "The packages could not be fetched: is this machine online? Only the first run needs the network.",
        "No se pudieron descargar los paquetes: ¿hay conexión? Solo la primera vez hace falta la red.",
    ),
    "failed": (
        "Installing did not work; the last lines above show why. The next run starts afresh.",
        "La instalación no funcionó; las últimas líneas muestran por qué. La próxima vez empezará de nuevo.",
    ),
    "file": (
        "{error}. Can you write to {folder}, and is no program from its .venv still running?",
        "{error}. ¿Puedes escribir en {folder}? ¿Ha terminado todo programa de su .venv?",
    ),
    "installing": (
        "Preparing the lab in {folder}: once, a minute or a few",
        "Preparando el laboratorio en {folder}: solo esta vez, uno o pocos minutos",
    ),
    "waiting": (
        "Another run is preparing the lab; waiting for it.",
        "Otro comando está preparando el laboratorio; se espera a que termine.",
    ),
    "run": (
        "{command} cannot be run: {reason}",
        "No se puede ejecutar {command}: {reason}",
    ),
    "interrupted": (
        "Interrupted; the next run starts afresh.",
        "Interrumpido; la próxima vez se empezará de nuevo.",
    ),
}

SIGNS = {
    "disk": (
        "No space left",
        "Errno 28",
        "not enough space",
        "quota exceeded",
        "Errno 122",
        "File too large",
        "Errno 27",
    ),
    "network": (
        "NewConnectionError",
        "NameResolutionError",
        "Failed to establish a new connection",
        "Temporary failure in name resolution",
        "getaddrinfo failed",
        "Network is unreachable",
        "ConnectTimeout",
        "ReadTimeout",
        "ProxyError",
        "SSLError",
    ),
}


class Problem(Exception):
    """A problem that the user must fix; its text explains it in the user's language."""


def spanish(environ: Mapping[str, str]) -> bool:
    """Return whether this environment asks for Spanish, by the same rule as labkit.support.i18n.detect."""
    names = [environ.get(variable) for variable in ("LABKIT_LANG", "LC_ALL", "LC_MESSAGES", "LANG")]
    name = next((name for name in names if name), "")
    if WINDOWS and not name:
        import locale

        name = locale.getlocale()[0] or ""
    return re.split(r"[-_.@]", name.lower())[0] in ("es", "spanish")


def text(key: str, **values: object) -> str:
    return TEXTS[key][spanish(os.environ)].format(**values)


def say(line: str) -> None:
    # stderr replaces characters that the terminal cannot show; stdout may raise UnicodeEncodeError.
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def check_python(arguments: List[str]) -> None:
    """Raise Problem if this Python is too old, naming one on this machine that is not."""
    if sys.version_info >= OLDEST:
        return
    lines = [text("old", found=sys.version.split()[0])]
    for name in ("python3.14", "python3.13", "python3.12", "python3.11"):
        # Run it: a version manager leaves commands that exist but only report that they are not active.
        if shutil.which(name) and subprocess.call([name, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            lines.append(text("use", command=" ".join([name, sys.argv[0]] + arguments)))
            break
    else:
        lines.append(text("get"))
    raise Problem("\n".join(lines))


def base() -> str:
    """Return the folder and the Python that an environment was made for; neither can change later."""
    return ROOT + " " + os.path.realpath(PYTHON)


def recipe() -> str:
    """Return the stamp that a finished environment has."""
    digest = hashlib.sha256()
    for path in (REQUIREMENTS, CONSTRAINTS):
        with open(path, "rb") as pins:
            digest.update(pins.read())
    return base() + "\n" + digest.hexdigest() + "\n"


def stamp() -> str:
    """Return this environment's stamp: empty if it is unfinished or its Python has gone."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            return file.read() if os.path.exists(PYTHON) else ""
    except FileNotFoundError:
        return ""


def prepare() -> None:
    """Make the environment ready, or raise Problem. If interrupted, the next run repairs it."""
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            raise Problem(text("module", module=module, version="%d.%d" % sys.version_info[:2]))
    os.makedirs(VENV, exist_ok=True)
    with only_one() as lock:
        found = stamp()
        if found == recipe():
            return  # another run did it while this one waited
        say(text("installing", folder=VENV))
        if found:
            os.remove(STAMP)
        if found.split("\n")[0] != base():
            make_anew(lock)
        pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        run(lock, pip + ["install", "-r", REQUIREMENTS, "-c", CONSTRAINTS])
        # The build backend is one of the requirements, so this step needs no network.
        run(lock, pip + ["install", "--no-build-isolation", "--no-deps", "--editable", ROOT])
        with open(STAMP + ".new", "w", encoding="utf-8") as file:
            file.write(recipe())
        os.replace(STAMP + ".new", STAMP)


def make_anew(lock: IO[str]) -> None:
    free = shutil.disk_usage(VENV).free
    if free < NEEDED_BYTES:
        raise Problem(text("disk", needed=NEEDED_BYTES // 10**6, free=free // 10**6, folder=ROOT))
    for name in os.listdir(VENV):
        path = os.path.join(VENV, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif path != LOCK:
            os.remove(path)
    # This Python may belong to the environment that is being replaced: its base Python makes the new one.
    maker = getattr(sys, "_base_executable", None) or sys.executable
    run(lock, [maker, "-m", "venv", VENV])


def run(lock: IO[str], command: List[str]) -> None:
    """Run one step of the installation and show its progress on a terminal. Raise Problem if it fails."""
    # The child holds the lock too: if this process dies, no other run begins before the child has ended.
    inherited = () if WINDOWS else (lock.fileno(),)
    lines = []  # type: List[str]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        pass_fds=inherited,
    ) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if sys.stderr.isatty():
                sys.stderr.write("\r" + lines[-1][:78].ljust(78) + "\r")
    if sys.stderr.isatty():
        sys.stderr.write(" " * 78 + "\r")
    if process.returncode == 0:
        return
    say("\n".join([line for line in lines if line.startswith("ERROR")] or lines[-12:]))
    output = "\n".join(lines)
    reasons = [reason for reason, signs in SIGNS.items() if any(sign in output for sign in signs)]
    free = shutil.disk_usage(VENV).free // 10**6
    raise Problem(text((reasons + ["failed"])[0], needed=NEEDED_BYTES // 10**6, free=free, folder=ROOT))


@contextlib.contextmanager
def only_one() -> Iterator[IO[str]]:
    """Hold the lock on the environment; wait while another run holds it."""
    with open(LOCK, "a") as lock:
        announced = False
        while not grab(lock):
            if not announced:
                say(text("waiting"))
                announced = True
            time.sleep(0.2)
        yield lock


def grab(lock: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            lock.seek(0)
            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        raise
    return True


def hand_over(command: List[str]) -> int:
    """Become ``command``; where a process cannot (Windows), run it and return its exit code."""
    if not WINDOWS:
        try:
            os.execv(command[0], command)
        except OSError as error:
            say(text("run", command=command[0], reason=error.strerror))
            return 1
    with subprocess.Popen(command) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # the child got the Ctrl-C too, and decides how to react


def main(arguments: List[str]) -> int:
    try:
        check_python(arguments)
        if stamp() != recipe():
            prepare()
    except Problem as problem:
        say(str(problem))
        return 1
    except OSError as error:
        say(text("file", error=error, folder=ROOT))
        return 1
    except KeyboardInterrupt:
        say(text("interrupted"))
        return 130
    if arguments[:1] == ["test"]:
        os.chdir(ROOT)
        # Two processes; tests that must not run beside each other share an xdist_group.
        pytest = [PYTHON, "-m", "pytest", "-n", "2", "--dist", "loadgroup"]
        # The floor of pyproject.toml is that of the whole suite, so only the whole suite measures coverage.
        return hand_over(pytest + (arguments[1:] or ["--cov", "--cov-report="]))
    # -P: a file called random.py or labkit.py in the current folder must not replace the real one.
    return hand_over([PYTHON, "-P", "-m", "labkit"] + arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
