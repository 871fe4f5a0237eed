"""The panel's widgets. A ``Board`` shows moments and reports clicks; it knows no cluster.

Only ``show``, ``say``, ``beat`` and ``close`` set a widget's value, and one thread at a time calls them. The
frontend's callbacks may come in any thread; they only report.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count

import ipywidgets as w

from labkit.cluster.status_text import COMMANDS
from labkit.panel import page
from labkit.panel.view import Card, Moment
from labkit.support.i18n import _

MOST_WORKERS = 8
"""The slider's end, unless the cluster has more."""


class Board:
    """See the module's head.

    The user's actions call ``on_command(command, name)``, ``on_scale(workers)`` and ``on_work(wanted)``.
    These must return at once.
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
            0,
            0,
            MOST_WORKERS,
            description=_("workers"),
            continuous_update=False,
            tooltip=_("how many workers the cluster has"),
        )
        self._slider.observe(self._slid, "value")
        self._work = w.ToggleButton(
            work,
            description=_("send work"),
            icon="tasks",
            tooltip=_("a steady stream of small tasks, so that there is something to disturb"),
        )
        self._work.observe(lambda change: self._on_work(bool(change["new"])), "value")
        self._cards = w.Box(layout=w.Layout(flex_flow="row wrap", width="100%"))
        style = w.HTML(page.STYLE, layout=w.Layout(display="none"))
        controls = w.HBox([self._slider, self._work])
        self.root = w.VBox(
            [style, self._head, controls, self._said, self._cards, self._chart, self._log, self._beat]
        )
        self.root.add_class("labkit-panel")

    def say(self, text: str) -> None:
        """Show an error message; an empty text shows none."""
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
            for command in COMMANDS:
                self._buttons[card.name, command].disabled = command not in card.commands
        if moment.workers != self._workers:
            self._workers = moment.workers
            self._slider.max = max(MOST_WORKERS, moment.workers)
            self._slider.value = moment.workers

    def beat(self) -> None:
        """Show that the panel is live. The browser covers a panel without heartbeats."""
        self._beat.value = page.beat_html(next(self._beats))

    def superseded(self, why: str) -> None:
        """Show, for as long as this is repeated, that a newer panel has replaced this closed one."""
        self._beat.value = page.superseded_html(next(self._beats), why)

    def close(self, why: str) -> None:
        """Cover the panel for good and disable its controls."""
        for control in (*self._buttons.values(), self._slider, self._work):
            control.disabled = True
        self._beat.value = page.closed_html(why)

    # --- widgets and callbacks ------------------------------------------------------------------------------

    def _deal(self, moment: Moment) -> None:
        """Give each process a card. Processes that stay keep theirs."""
        boxes = dict(zip(self._faces, self._cards.children, strict=True))
        faces = {card.name: self._faces.get(card.name) or w.HTML() for card in moment.cards}
        self._cards.children = [
            boxes.get(card.name) or self._box(card, faces[card.name]) for card in moment.cards
        ]
        self._faces = faces
        for key in [key for key in self._buttons if key[0] not in faces]:
            self._buttons.pop(key).close()

    def _box(self, card: Card, face: w.HTML) -> w.VBox:
        buttons = []
        for name, command in COMMANDS.items():
            button = w.Button(
                description=command.word,
                tooltip=command.meaning(card.name),
                disabled=True,
                layout=w.Layout(width="auto", height="24px", margin="1px", padding="0 6px"),
            )
            button.add_class(f"lk-{name}")
            button.on_click(partial(self._clicked, name, card.name))
            self._buttons[card.name, name] = button
            buttons.append(button)
        box = w.VBox([face, w.Box(buttons, layout=w.Layout(flex_flow="row wrap", padding="0 4px 4px"))])
        box.add_class("lk-box")
        return box

    def _clicked(self, command: str, name: str, _button: w.Button) -> None:
        self._on_command(command, name)

    def _slid(self, change: dict[str, int]) -> None:
        if change["new"] != self._workers:
            self._on_scale(change["new"])
