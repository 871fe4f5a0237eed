"""A Dockerfile for a worker, and a compose file with Redis and three of them.

Simulated, in so far as nothing starts: both files are read. Real: they are built and started, as a project of
its own that is removed afterwards; the three workers register in Redis and square random numbers. Without
Docker, and for hand-ins that are graded, they are only read.
"""

from __future__ import annotations

from pathlib import Path
from random import SystemRandom
from typing import Any

from labkit.core.errors import N_
from labkit.practice import container_files as files
from labkit.practice import containers
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding, Remark

PYTHON, REDIS = "python:3.11-slim", "redis:7-alpine"
WORKER = "worker.py"
WORKERS, NUMBERS = 3, 9
RESTARTS = ("always", "unless-stopped", "on-failure")
Services = dict[str, dict[str, Any]]


def simulated(learner: Learner, _seed: int) -> None:
    """Judge both files by reading them."""
    _read(learner)


def real(learner: Learner) -> Remark | None:
    """Judge both files by starting them, where that is possible."""
    dockerfile, services = _read(learner)
    if learner.is_strangers:
        return Remark(N_("only read: hand-ins start no containers"))
    if missing := containers.why_not():
        return Remark(N_("only read, not started: {why}"), why=missing)
    program = Path(__file__).with_name(WORKER).read_text(encoding="utf-8")
    with containers.project(
        {"Dockerfile": dockerfile, WORKER: program}, services, [PYTHON, REDIS]
    ) as project:
        project.build(project.docker.file.parent)
        redis = next(name for name, one in services.items() if "build" not in one)
        project.up(lambda: project.ask(redis, "redis-cli", "PING") is not None)
        _judge_run(project, services, redis)
    return None


def _read(learner: Learner) -> tuple[str, Services]:
    texts = {name: learner.call(name) for name in ("dockerfile", "compose")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise Finding(
                "wrong-type",
                N_("{function} returned {kind}"),
                expected=N_("{function} returns the file's text"),
                advice=N_("Put the text between three quotation marks, behind return."),
                function=name, kind=type(text).__name__,
            )  # fmt: skip
    dockerfile = texts["dockerfile"].lstrip()
    services = files.read_compose(texts["compose"])
    workers = {name: one for name, one in services.items() if "build" in one}
    _judge_services(services, workers)
    stage = _judge_dockerfile(dockerfile, workers)
    redis = next(name for name, one in services.items() if name not in workers)
    _judge_addresses(workers, redis, files.environment_of(stage))
    _judge_order(services, workers, redis)
    return dockerfile, services


def _judge_services(services: Services, workers: Services) -> None:
    others = [one.get("image") for name, one in services.items() if name not in workers]
    if others != [REDIS]:
        raise Finding(
            "no-redis",
            N_("beside the workers, the compose file has: {others}"),
            expected=N_("one service with the image {image}"),
            advice=N_("A service is either an image from elsewhere (image:) or one of your own (build:)."),
            others=", ".join(map(str, others)) or "-", image=REDIS,
        )  # fmt: skip
    count = sum(files.how_many(one) for one in workers.values())
    if count != WORKERS:
        raise Finding(
            "not-three",
            N_("the compose file starts {count} workers"),
            expected=N_("it starts {wanted} workers, built from the Dockerfile"),
            advice=N_("One service is enough: deploy: replicas: says how many containers it has."),
            count=count, wanted=WORKERS,
        )  # fmt: skip
    for name, one in workers.items():
        context = one["build"].get("context") if isinstance(one["build"], dict) else one["build"]
        if str(context).rstrip("/") != ".":
            raise Finding(
                "not-here",
                N_("the service {name} is built from {context}"),
                expected=N_("build: . is the folder of the compose file, with the Dockerfile and worker.py"),
                advice=N_("Write a dot: both files lie in one folder."),
                name=name, context=context,
            )  # fmt: skip


def _judge_dockerfile(text: str, workers: Services) -> list[files.Instruction]:
    found = files.instructions(text)
    if (images := list(files.bases(found))) != [PYTHON] * max(1, len(images)):
        raise Finding(
            "wrong-image",
            N_("the Dockerfile begins with the image: {images}"),
            expected=N_("it begins with FROM {image}, which is small and which this lab has"),
            advice=N_("latest is another image next year: name a version."),
            images=", ".join(images) or "-", image=PYTHON,
        )  # fmt: skip
    stage = files.last_stage(found)
    if not files.copies(stage, WORKER):
        raise Finding(
            "no-program",
            N_("no COPY brings {file} into the image"),
            expected=N_("the image holds {file}"),
            advice=N_("COPY takes a path of the folder, then a path of the image; . is its working folder."),
            file=WORKER,
        )
    own = [one.rest for one in stage if one.name in ("CMD", "ENTRYPOINT")]
    for one in workers.values():
        if not any(WORKER in str(word) for word in (*own, one.get("command"), one.get("entrypoint"))):
            raise Finding(
                "no-command",
                N_("nothing says that a container of the image runs {file}"),
                expected=N_("CMD names the program and its arguments"),
                advice=N_('A list has no shell in between that keeps SIGTERM to itself: CMD ["python", …].'),
                file=WORKER,
            )
        users = [other.rest for other in stage if other.name == "USER"] or ["root"]
        if str(one.get("user", users[-1])).partition(":")[0] in ("root", "0"):
            raise Finding(
                "root",
                N_("the workers run as root"),
                expected=N_("a worker has no more rights than it needs"),
                advice=N_("USER says as whom the program runs; nobody is in every image."),
            )
    return stage


def _judge_addresses(workers: Services, redis: str, from_dockerfile: dict[str, str]) -> None:
    for name, one in workers.items():
        host = (from_dockerfile | files.environment(one)).get("REDIS_HOST", "localhost")
        if host != redis:
            raise Finding(
                "no-address",
                N_("the service {name} looks for Redis at {host}"),
                expected=N_("REDIS_HOST is {redis}, the name of the service"),
                advice=N_("Each container is a machine of its own: its localhost is itself."),
                name=name, host=host, redis=redis,
            )  # fmt: skip


def _judge_order(services: Services, workers: Services, redis: str) -> None:
    for name, one in workers.items():
        after = one.get("depends_on")
        condition = after.get(redis) if isinstance(after, dict) else None
        waits = isinstance(condition, dict) and condition.get("condition") == "service_healthy"
        if waits and services[redis].get("healthcheck"):
            continue
        if str(one.get("restart")).partition(":")[0] not in RESTARTS:
            raise Finding(
                "not-waiting",
                N_("the service {name} may start before Redis answers; then its workers end"),
                expected=N_("it waits for a Redis that is healthy, or is started again when it ends"),
                advice=N_(
                    "depends_on with condition: service_healthy, and a healthcheck of Redis; or restart:."
                ),
                name=name,
            )


def _judge_run(project: containers.Project, services: Services, redis: str) -> None:
    workers = [name for name, one in services.items() if "build" in one]

    def redis_cli(*words: str) -> list[str]:
        return (project.ask(redis, "redis-cli", *words) or "").split("\n")[:-1]

    def is_count(most: int, *words: str) -> bool:
        return any(line.isdecimal() and int(line) >= most for line in redis_cli(*words))

    def is_registered() -> bool:
        registered = is_count(WORKERS, "HLEN", "workers")
        answers = registered or is_count(0, "HLEN", "workers")
        looked_at = workers if answers else [redis]  # without Redis, workers may end
        if not registered and (words := project.last_words(looked_at)) is not None:
            raise Finding(
                "ended",
                N_("a container ended before all was ready; the last thing it printed: {words}"),
                expected=N_("three workers register in Redis, and wait for tasks"),
                advice=N_("Does CMD find the file where COPY has put it?"),
                words=words,
            )
        return registered

    project.until(is_registered, N_("three workers register in Redis"))
    if "0" in redis_cli("HVALS", "workers"):
        raise Finding(
            "root",
            N_("the workers run as root"),
            expected=N_("a worker has no more rights than it needs"),
            advice=N_("USER says as whom the program runs; nobody is in every image."),
        )
    numbers = SystemRandom().sample(range(1, 1000), NUMBERS)
    redis_cli("LPUSH", "tasks", *map(str, numbers))
    project.until(lambda: is_count(NUMBERS, "LLEN", "results"), N_("all tasks have a result"))
    results = sorted(redis_cli("LRANGE", "results", "0", "-1"))
    if results != sorted(f"{number} {number**2}" for number in numbers):
        raise Finding(
            "wrong-result",
            N_("the workers pushed these results: {results}"),
            expected=N_("each number once, with its square"),
            advice=N_("The workers run the worker.py of the exercise; what else do your files start?"),
            results=", ".join(results)[:200],
        )
