"""A registry of workers in Redis: which are active, and which have been silent for too long.

Simulated: a script of registrations, heartbeats and health checks on a virtual clock; some acts interrupt
another one between two of its Redis commands. Each answer is compared with a model of the registry. Real:
three worker processes beat in their own rhythm, and one is killed. The times that the functions were called
with are compared, so a machine that is late changes nothing.
"""

from __future__ import annotations

from random import Random
from typing import Any

from labkit.core.errors import N_, LabkitError
from labkit.practice.crew import Crew, Member
from labkit.practice.exercises.ex22_registry.script import script_of
from labkit.practice.learner import Learner
from labkit.practice.redis_server import REHEARSAL_S, Redis, redis_of
from labkit.practice.verdict import Finding

SLOW_BEATS, DEAD_BEATS = 3, 5
"""Silence of so many heartbeats is not enough, or too much."""
REAL_BEAT_S = 0.2
NAMES = ("worker-1", "worker-2", "worker-3")
LINES = 9
CALLED = {"beat": "heartbeat", "check": "health_check"}
RHYTHMS = (1.0, 1.0, 2.2)
"""Heartbeats from one to the next."""


class Registry:
    """What the registry must answer. ``heard``: the time of the last sign of each active worker."""

    def __init__(self, beat_s: float) -> None:
        self.beat_s = beat_s
        self.heard: dict[str, float] = {}
        self.dead: set[str] = set()

    def follow(self, what: str, worker: str, now: float, answer: Any) -> None:
        """Judge one act and take part in it."""
        if what == "register":
            self.heard[worker] = now
            self.dead.discard(worker)
        elif what == "beat":
            self._beat(worker, now, answer)
        elif what == "leave":
            self.heard.pop(worker, None)
        elif what == "active":
            self._active(answer)
        else:
            flagged = names(answer, "health_check")
            for name in flagged:
                self._flag(name, now)
            for name, heard in self.heard.items():
                judge_late(name, (now - heard) / self.beat_s)

    def _beat(self, worker: str, now: float, answer: Any) -> None:
        if answer is not (worker in self.heard):
            raise Finding(
                "beat-answer",
                N_("heartbeat returned {answer!r} for {worker}, which a health check had given up")
                if worker in self.dead
                else N_("heartbeat returned {answer!r} for {worker}"),
                expected=N_("heartbeat returns True for an active worker, False for any other"),
                advice=N_("False tells a worker that it was given up and must register again."),
                answer=answer,
                worker=worker,
            )
        if answer:
            self.heard[worker] = now

    def _active(self, answer: Any) -> None:
        found, right = sorted(names(answer, "active")), sorted(self.heard)
        if found == right:
            return
        extra = [name for name in found if name not in right]
        raise wrong_active(found, right, extra)

    def _flag(self, name: str, now: float) -> None:
        if name not in self.heard:
            raise Finding(
                "flagged-twice" if name in self.dead else "not-registered",
                N_("health_check returned {worker} again")
                if name in self.dead
                else N_("health_check returned {worker}, which is not registered"),
                expected=N_("health_check returns each dead worker once, until it registers again"),
                advice=N_("Write into the hash that a worker is dead, and look there first."),
                worker=name,
            )
        judge_early(name, (now - self.heard.pop(name)) / self.beat_s)
        self.dead.add(name)


def names(answer: Any, function: str) -> list[str]:
    """Return the learner's answer if it is a list of texts. Raises Finding."""
    if isinstance(answer, list) and all(isinstance(one, str) for one in answer):
        return answer
    raise Finding(
        "wrong-type",
        N_("{function} returned {answer!r}"),
        expected=N_("{function} returns a list of workers' names"),
        advice=N_("A list comprehension over redis.hgetall(…).items() gives names."),
        function=function,
        answer=answer,
    )


def wrong_active(found: list[str], right: list[str], extra: list[str]) -> Finding:
    """Return the finding about a wrong list of active workers."""
    return Finding(
        "wrong-active",
        N_("active returned {found}"),
        expected=N_("active returns who is registered, has not left and is not given up: {right}"),
        advice=N_("A worker that leaves or is given up is not active any more.")
        if extra
        else N_(
            "A variable is seen by one process; a field of a Redis hash by all, if each writes its own field."
        ),
        found=found,
        right=right,
    )


def judge_early(worker: str, beats: float) -> None:
    """Raise Finding if a worker was given up after so little silence."""
    if beats <= SLOW_BEATS:
        raise _by_beats(
            "too-early",
            N_("{worker} was given up after {beats:.1f} heartbeats of silence"),
            N_("Compare now - heard with a few times beat_s. Is an older time written back somewhere?"),
            worker,
            beats,
        )


def judge_late(worker: str, beats: float) -> None:
    """Raise Finding if a worker that is not given up has been silent for so long."""
    if beats > DEAD_BEATS:
        raise _by_beats(
            "too-late",
            N_("{worker} was silent for {beats:.1f} heartbeats and not given up"),
            N_("Compare now - heard with a few times beat_s; a hash holds text: float(…)."),
            worker,
            beats,
        )


def _by_beats(code: str, template: str, advice: str, worker: str, beats: float) -> Finding:
    return Finding(
        code,
        template,
        expected=N_("silence of {slow} heartbeats is forgiven, and of {dead} it is not"),
        advice=advice,
        worker=worker,
        beats=beats,
        slow=SLOW_BEATS,
        dead=DEAD_BEATS,
    )


def simulated(learner: Learner, seed: int) -> None:
    """Judge one script."""
    random = Random(f"{seed} registry")
    beat_s = random.choice((0.5, 1.0, 2.0))
    redis = redis_of(learner)
    model = Registry(beat_s)
    acts = learner.play(
        "rehearse",
        redis.url,
        beat_s,
        script_of(random, beat_s),
        limit_s=REHEARSAL_S,
        known_as=learner.file,
    )
    for number, act in enumerate(acts):
        try:
            model.follow(*act)
        except Finding as finding:
            finding.timeline = _timeline(acts[: number + 1])
            raise


def _timeline(acts: list[list[Any]]) -> tuple[str, ...]:
    """Return the last act and those before it, without looks at the registry that found nothing."""
    told = [act for act in acts[:-1] if act[0] != "active" and (act[0] != "check" or act[3])]
    shown = [*told[-LINES:], acts[-1]]
    return tuple(
        f"{now:6.2f} s  {CALLED.get(what, what)}({worker}) → {answer!r}"
        for what, worker, now, answer in shown
    )


# --- real processes -----------------------------------------------------------------------------------------


def real(learner: Learner) -> None:
    """Kill a worker that beats, and look until it is given up, and no other one is."""
    redis = redis_of(learner)
    with Crew(learner) as crew:
        members = crew.start(*NAMES)
        for member, rhythm in zip(members, RHYTHMS, strict=True):
            member.play("live", redis.url, member.name, rhythm * REAL_BEAT_S, known_as="heartbeat")
        for member in members:
            _more_beats(crew, member, redis)
        members[0].kill()
        given_up: set[str] = set()
        while NAMES[0] not in given_up:
            _look(learner, redis, given_up)
        for member in members[1:]:
            _more_beats(crew, member, redis)
            _look(learner, redis, given_up)
        for member in members[1:]:
            redis.release(member.name)
            crew.wait_for_end(member, LabkitError(N_("each worker has ended")))


def _more_beats(crew: Crew, member: Member, redis: Redis) -> None:
    """Wait until a worker has sent two more heartbeats."""

    def beats() -> int:
        return sum(entry[:3] == ["ends", "beat", member.name] for entry in redis.journal())

    seen = beats()
    crew.wait(lambda: beats() >= seen + 2, member, LabkitError(N_("each worker sent two heartbeats")))


def _signs(redis: Redis, step: str) -> dict[str, float]:
    """Return the time of each worker's last call that has reached this step ("begins" or "ends")."""
    return {entry[2]: float(entry[3]) for entry in redis.journal() if entry[0] == step}


def _look(learner: Learner, redis: Redis, given_up: set[str]) -> None:
    """Judge one health check beside the workers' own calls, some of which may be under way.

    Too early counts from the last call that had ended before it, too late from the last one that had begun
    after it.
    """
    heard = _signs(redis, "ends")
    now, flagged, active = learner.play("look", redis.url, REAL_BEAT_S, known_as="health_check")
    begun = _signs(redis, "begins")
    for name in names(flagged, "health_check"):
        if name in heard:
            judge_early(name, (now - heard[name]) / REAL_BEAT_S)
        given_up.add(name)
    for name, at in begun.items():
        if name not in given_up:
            judge_late(name, (now - at) / REAL_BEAT_S)
    present = names(active, "active")
    fresh = sorted(name for name, at in heard.items() if now - at <= SLOW_BEATS * REAL_BEAT_S)
    missing = [name for name in fresh if name not in present and name not in given_up]
    extra = [name for name in present if name == NAMES[0] and name in given_up]
    if missing or extra:
        right = sorted({*present, *missing} - {*extra})
        raise wrong_active(sorted(present), right, extra)
