"""The panel's widgets: shown moments, reported clicks. It knows no cluster, and one thread at a time shows.

A widget's value is set only by whoever calls ``show``, ``say``, ``beat`` and ``close``; callbacks of the
frontend may come in any thread, and only report.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count

import ipywidgets as w

from labkit.panel import page
from labkit.panel.view import ACTIONS, Card, Moment, meaning
from labkit.support.i18n import _

MOST_WORKERS = 8
"""The slider's end, unless the cluster has more."""


class Board:
    """See the module's head.

    ``on_command(command, name)``, ``on_scale(workers)`` and ``on_work(wanted)`` are called for what the user
    does; they must return at once.
    """

    def __init__(
        self,
        on_command: Callable[[str, str], None],
        on_scale: Callable[[int], None],
        on_work: Callable[[bool], None],
        work: bool,
    ) -> None:
        self._on_command = on_command
        self._on_scale = on_scale
        self._on_work = on_work
        self._beats = count(1)
        self._workers = -1
        self._faces: dict[str, w.HTML] = {}
        self._buttons: dict[tuple[str, str], w.Button] = {}
        self._head = w.HTML()
        self._said = w.HTML()
        self._chart = w.HTML()
        self._log = w.HTML()
        self._beat = w.HTML(layout=w.Layout(margin="0"))
        self._beat.add_class("lk-beat")
        self._slider = w.IntSlider(
            0, 0, MOST_WORKERS, description=_("workers"), continuous_update=False,
            tooltip=_("how many workers the cluster has"),
        )  # fmt: skip
        self._slider.observe(self._slid, "value")
        self._work = w.ToggleButton(
            work, description=_("send work"), icon="tasks",
            tooltip=_("a steady stream of small tasks, so that there is something to disturb"),
        )  # fmt: skip
        self._work.observe(lambda change: self._on_work(bool(change["new"])), "value")
        self._cards = w.Box(layout=w.Layout(flex_flow="row wrap", width="100%"))
        style = w.HTML(page.STYLE, layout=w.Layout(display="none"))
        controls = w.HBox([self._slider, self._work])
        self.root = w.VBox(
            [style, self._head, controls, self._said, self._cards, self._chart, self._log, self._beat]
        )
        self.root.add_class("labkit-panel")

    def say(self, text: str) -> None:
        """Show what went wrong, or nothing."""
        self._said.value = page.said_html(text)

    def show(self, moment: Moment) -> None:
        """Show a moment."""
        self._head.value = page.head_html(moment)
        self._chart.value = page.chart_html(moment)
        self._log.value = page.log_html(moment.log)
        if [card.name for card in moment.cards] != list(self._faces):
            self._deal(moment)
        for card in moment.cards:
            self._faces[card.name].value = page.face_html(card)
            for action in ACTIONS:
                self._buttons[card.name, action].disabled = action not in card.fits
        if moment.workers != self._workers:
            self._workers = moment.workers
            self._slider.max = max(MOST_WORKERS, moment.workers)
            self._slider.value = moment.workers

    def beat(self) -> None:
        """Show that the panel lives; without this the browser covers it."""
        self._beat.value = page.beat_html(next(self._beats))

    def close(self, why: str) -> None:
        """Cover the panel for good and take its buttons out of use."""
        for control in (*self._buttons.values(), self._slider, self._work):
            control.disabled = True
        self._beat.value = page.closed_html(why)

    # --- making and hearing ---------------------------------------------------------------------------------

    def _deal(self, moment: Moment) -> None:
        """Have a card for each process; those that stay keep theirs."""
        boxes = dict(zip(self._faces, self._cards.children, strict=True))
        faces = {card.name: self._faces.get(card.name) or w.HTML() for card in moment.cards}
        self._cards.children = [
            boxes.get(card.name) or self._box(card, faces[card.name]) for card in moment.cards
        ]
        self._faces = faces
        for name, action in [key for key in self._buttons if key[0] not in faces]:
            self._buttons.pop((name, action)).close()

    def _box(self, card: Card, face: w.HTML) -> w.VBox:
        buttons = []
        for action, word in ACTIONS.items():
            button = w.Button(
                description=_(word), tooltip=meaning(action, card.name), disabled=True,
                layout=w.Layout(width="auto", height="24px", margin="1px", padding="0 6px"),
            )  # fmt: skip
            button.add_class(f"lk-{action}")
            button.on_click(partial(self._clicked, action, card.name))
            self._buttons[card.name, action] = button
            buttons.append(button)
        box = w.VBox([face, w.Box(buttons, layout=w.Layout(flex_flow="row wrap", padding="0 4px 4px"))])
        box.add_class("lk-box")
        return box

    def _clicked(self, action: str, name: str, _button: w.Button) -> None:
        self._on_command(action, name)

    def _slid(self, change: dict[str, int]) -> None:
        if change["new"] != self._workers:
            self._on_scale(change["new"])
