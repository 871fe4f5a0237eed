"""The real ``Autoscaler`` over a simulated cluster, and the judge of what it does (invariant 13).

Every half second it is shown the broker's picture, if there is a broker that answers, and the cluster is
scaled as a real one is: the next numbers are started, or the highest drained. What its judge wants of every
step:

* there are never fewer workers than ``least`` nor more than ``most``;
* whoever goes drains: it is not gone at once with tasks in its hands;
* it shrinks only after ``calm_s`` of calm since its last step.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NoReturn, Protocol

from labkit.core.autoscaler import Autoscaler, Limits, load_of
from labkit.simulation.broker import BrokerHost
from labkit.simulation.loop import Loop
from labkit.simulation.workers import Post

LOOK_EVERY_S: Final = 0.5


class Parts(Protocol):
    """What the mutation check may replace."""

    @property
    def autoscaler(self) -> Callable[[Limits, float], Autoscaler]: ...
    @property
    def dismiss(self) -> Callable[[Post], None]: ...


class Autoscaling:
    """An autoscaler at work from ``start`` to ``end``; meanwhile it alone says how many posts there are."""

    def __init__(
        self,
        loop: Loop,
        broker: BrokerHost,
        posts: list[Post],
        random: Random,
        parts: Parts,
        note: Callable[[str, str], None],
        blame: Callable[[str, str], NoReturn],
    ) -> None:
        least = random.randint(1, len(posts))
        most = random.randint(least, len(posts))
        self.limits = Limits(
            least, most, target_s=random.choice((0.05, 0.2, 1.0)), calm_s=random.choice((0.5, 1.0, 3.0)),
            settle_s=random.choice((0.6, 2.0)),
        )  # fmt: skip
        self.size = random.randint(least, most)
        self._loop = loop
        self._broker = broker
        self._posts = posts
        self._parts = parts
        self._note = note
        self._blame = blame
        self._stepped_at = 0.0
        self._on = False

    def start(self) -> None:
        """Take over: the posts above the present size are left at once, and then what is needed comes."""
        self._on = True
        self._stepped_at = self._loop.now
        self._autoscaler = self._parts.autoscaler(self.limits, self._loop.now)
        self._scale(self.size)
        self._loop.after(LOOK_EVERY_S, self._look)

    def end(self) -> None:
        """Have no more to say."""
        self._on = False
        for post in self._posts:
            post.dismissed = False

    def _look(self) -> None:
        if not self._on:
            return
        self._loop.after(LOOK_EVERY_S, self._look)
        if self._broker.accepts:  # otherwise a query would have no answer
            status = self._broker.scheduler.status(self._loop.now)
            own = {post.name for post in self._posts[: self.size]}
            decision = self._autoscaler.observe(load_of(status, own), self._loop.now)
            if decision is not None:
                self._judge(decision.size)
                self._note("scale", str(decision.size))
                self._scale(decision.size)
                self.size, self._stepped_at = decision.size, self._loop.now

    def _judge(self, size: int) -> None:
        limits = self.limits
        if not limits.least <= size <= limits.most:
            self._blame("autoscaler", f"{size} workers, where {limits.least} to {limits.most} are allowed")
        calm_s = self._loop.now - self._stepped_at
        if size < self.size and calm_s < limits.calm_s - 1e-6:
            self._blame("autoscaler", f"it shrank {calm_s:.3f} s after its last step: it flaps")

    def _scale(self, size: int) -> None:
        for number, post in enumerate(self._posts):
            if number < size and post.dismissed:
                post.dismissed = False
                post.persistent = True  # one that is still draining is followed by a new one
                post.start()
            elif number >= size and not post.dismissed:
                post.dismissed = True
                self._dismiss(post)

    def _dismiss(self, post: Post) -> None:
        """13: whoever is busy goes when it has drained, not before. (What has not begun, it gives back.)"""
        computing = 0
        if post.up is not None:
            tables = post.up.session.tables()
            computing = sum(tables.runs.get(key) is not None for key in tables.held)
        self._parts.dismiss(post)
        if computing and post.up is None:
            self._blame("autoscaler", f"{post.name} was taken away with {computing} tasks in its hands")
