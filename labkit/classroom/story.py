"""One task's story, as a table in the reader's language."""

from __future__ import annotations

from labkit.charts import Table
from labkit.cluster.status_text import cause_in_words
from labkit.core.history import History, StoryRow
from labkit.support.i18n import _


def story(history: History, task: str) -> Table:
    """Return everything that happened to ``task`` (its id or a prefix): when (s), and what."""
    found = history.find(task)
    rows = history.story(found[0]) if found else []
    began = rows[0].t if rows else 0.0
    return Table((_("after (s)"), _("what happened")), [(row.t - began, _sentence(row)) for row in rows])


def _sentence(row: StoryRow) -> str:
    cause = str(row.params.get("cause", ""))
    return _(row.template).format(**{**row.params, "cause": _ENDS[cause]() if cause in _ENDS else cause})


# Why an attempt ended or a worker was lost: names in the history -> text.
_ENDS = {
    "closed": lambda: cause_in_words("closed"),
    "silent": lambda: cause_in_words("silent"),
    "lease": lambda: cause_in_words("lease"),
    "stale": lambda: cause_in_words("stale"),
    "rejoined": lambda: cause_in_words("rejoined"),
    "lost": lambda: _("its worker was lost"),
    "left": lambda: _("its worker left"),
    "returned": lambda: _("its worker gave it back"),
    "hung": lambda: _("it outran its lease"),
}
