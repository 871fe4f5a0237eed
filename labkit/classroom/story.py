"""One task's story, as a table in the reader's language."""

from __future__ import annotations

from labkit.charts import Table
from labkit.cluster.status_text import cause_in_words
from labkit.core.history import History, StoryRow
from labkit.core.history.causes import REASONS
from labkit.support.i18n import _
from labkit.support.text import seconds


def story(history: History, task: str) -> Table:
    """Return everything that happened to ``task`` (its id or a prefix): when (s), and what."""
    found = history.find(task)
    rows = history.story(found[0]) if found else []
    began = rows[0].t if rows else 0.0
    return Table((_("after (s)"), _("what happened")), [(row.t - began, _sentence(row)) for row in rows])


def _sentence(row: StoryRow) -> str:
    cause = _(REASONS[row.why]) if row.why else cause_in_words(str(row.params.get("cause", "")))
    compute_s = row.params.get("compute_s")
    took = seconds(compute_s) if isinstance(compute_s, int | float) else "?"
    return _(row.template).format(**{**row.params, "cause": cause, "took": took})
