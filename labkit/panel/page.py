"""A moment of a cluster as HTML and as plain text: the face of a card, the log, the panel without buttons.

Rules:

* Text from outside is escaped.
* Colour is never the only sign: each state also has a character and a word, each card a name.
* **A stale panel never looks live.** Each heartbeat (``beat_html``) carries a curtain. The browser draws it
  over the whole panel, buttons included, when no new heartbeat has replaced it for ``STALE_S`` seconds: after
  the kernel has restarted or ended, or if the panel's thread stops. A style sheet's animation does it, so no
  running code is needed. A panel that a newer one has replaced shows that as long as the newer one beats.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from labkit.cluster.status_text import TONES
from labkit.panel.chart import chart_svg
from labkit.panel.feed import LogLine
from labkit.panel.view import Card, Moment
from labkit.support.i18n import _
from labkit.support.text import Spoken

STALE_S = 6
"""Seconds without a heartbeat after which a panel is covered."""
STATIC_LOG_LINES = 8
_MOOD_SIGNS = {"harm": "✕", "good": "✓", "plain": "·"}


def _tones() -> str:
    """Return the style rules that colour a card's state, for a light and a dark page."""
    return "\n".join(
        f".lk-{name} .lk-state {{ color: {tone.on_light}; }}\n"
        f'[data-jp-theme-light="false"] .lk-{name} .lk-state {{ color: {tone.on_dark}; }}'
        for name, tone in TONES.items()
    )


STYLE = f"""<style>
.labkit-panel {{ position: relative; max-width: 1000px; border: 1px solid var(--jp-border-color2, #ccc);
  border-radius: 8px; padding: 8px; color: var(--jp-ui-font-color1, #262626); }}
.labkit-panel .lk-beat, .labkit-panel .lk-beat .widget-html-content {{ position: static !important; }}
.labkit-panel .widget-html-content {{ line-height: 1.35; }}
.lk-headline {{ font-weight: 600; font-size: 14px; }}
.lk-problem {{ border-left: 4px solid #D55E00; padding: 2px 8px; margin: 4px 0; }}
.lk-cards {{ display: flex; flex-flow: row wrap; gap: 8px; }}
.lk-box {{ border: 1px solid var(--jp-border-color2, #ccc); border-radius: 6px; width: 184px; margin: 2px;
  overflow: hidden; }}
.lk-face {{ border-left: 8px solid var(--lk); padding: 4px 8px; font-size: 13px; line-height: 1.35; }}
.lk-name {{ font-weight: 600; }}
.lk-state {{ font-size: 15px; font-weight: 600; }}
{_tones()}
.lk-harm .lk-face, .lk-face.lk-harm {{ background: repeating-linear-gradient(135deg, transparent 0 8px,
  rgba(213, 94, 0, .10) 8px 16px); }}
.lk-face dl {{ display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0 6px; margin: 2px 0;
  font-size: 12px; }}
.lk-face dt, .lk-face dd {{ float: none !important; width: auto !important; margin: 0 !important;
  padding: 0 !important; }}
.lk-face dt {{ opacity: .8; font-weight: normal; white-space: nowrap; }}
.lk-face dd {{ text-align: right; min-width: 0; overflow-wrap: break-word;
  font-variant-numeric: tabular-nums; }}
.lk-pending {{ min-height: 1.35em; font-style: italic; }}
.lk-chart {{ width: 100%; max-width: 960px; height: auto; }}
.lk-ink {{ fill: var(--jp-ui-font-color1, #262626); }}
.lk-legend span {{ margin-right: 12px; white-space: nowrap; }}
.lk-legend i {{ display: inline-block; width: 10px; height: 10px; margin-right: 4px; }}
.lk-log {{ max-height: 170px; overflow-y: auto; font-size: 12px; line-height: 1.5; margin: 0; padding: 0 4px;
  list-style: none !important; border-top: 1px solid var(--jp-border-color2, #ccc); }}
.lk-log li {{ margin: 0; }}
.lk-log .lk-t {{ display: inline-block; width: 64px; text-align: right; margin-right: 6px; opacity: .75;
  font-variant-numeric: tabular-nums; }}
.lk-log .lk-harm {{ font-weight: 600; }}
.lk-note {{ font-style: italic; opacity: .85; margin: 4px 0 0; }}
.lk-curtain {{ position: absolute; inset: 0; z-index: 5; display: flex; align-items: flex-start;
  justify-content: center; padding-top: 70px; background: rgba(128, 128, 128, .55); border-radius: 8px;
  visibility: hidden; }}
.lk-curtain b {{ background: #fff; color: #262626; border: 2px solid #D55E00; border-radius: 6px;
  padding: 10px 16px; max-width: 70%; font-size: 14px; font-weight: 600; position: sticky; top: 40px; }}
.lk-late {{ animation: lk-late 0s linear {STALE_S}s forwards; }}
.lk-closed {{ visibility: visible; }}
.lk-early {{ animation: lk-early 0s linear {STALE_S}s forwards; }}
@keyframes lk-early {{ to {{ visibility: hidden; }} }}
@keyframes lk-late {{ to {{ visibility: visible; }} }}
</style>"""


def face_html(card: Card) -> str:
    """Return the part of a card above its buttons."""
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in card.facts)
    return (
        f'<div class="lk-face lk-{card.tone}" style="--lk: {card.colour}" data-name="{escape(card.name)}">'
        f'<div class="lk-name">{escape(card.name)}</div>'
        f'<div class="lk-state"><span aria-hidden="true">{card.sign}</span> {escape(card.state)}</div>'
        f"<dl>{facts}</dl>"
        f'<div class="lk-pending" role="status">{escape(card.pending)}</div></div>'
    )


def head_html(moment: Moment) -> str:
    """Return the line above the cards, and the problem, if there is one."""
    problem = f'<div class="lk-problem">⚠ {escape(moment.problem)}</div>' if moment.problem else ""
    return f'<div class="lk-headline">{escape(moment.headline)}</div>{problem}'


def chart_html(moment: Moment) -> str:
    """Return the throughput chart with its legend."""
    workers = [card for card in moment.cards if card.kind == "worker"]
    names = "".join(
        f'<span><i style="background: {card.colour}"></i>{escape(card.name)}</span>' for card in workers
    )
    return f'{chart_svg(moment)}<div class="lk-legend" aria-hidden="true">{names}</div>'


def log_html(log: Sequence[LogLine], most: int | None = None) -> str:
    """Return the log, the newest line first."""
    lines = "".join(
        f'<li class="lk-{line.mood}"><span class="lk-t">{Spoken(line.t):.2f} s</span>'
        f'<span aria-hidden="true">{_MOOD_SIGNS[line.mood]}</span> {escape(line.text)}</li>'
        for line in log[:most]
    )
    return f'<ol class="lk-log" role="log" aria-label="{escape(_("event log"))}">{lines}</ol>'


def said_html(text: str) -> str:
    """Return the error message of a command, where it is noticed; an empty string for no text."""
    return f'<div class="lk-problem" role="alert">⚠ {escape(text)}</div>' if text else ""


def beat_html(number: int) -> str:
    """Return a heartbeat: a curtain that the browser draws unless the next one comes in time."""
    text = escape(
        _(
            "This picture is no longer live: nothing has come from its kernel. "
            "If you restarted it, run the notebook from the top."
        )
    )
    return f'<div class="lk-curtain lk-late" data-beat="{number}"><b>{text}</b></div>'


def superseded_html(number: int, why: str) -> str:
    """Return a heartbeat of a panel that a newer one has replaced: it shows ``why`` as long as they come."""
    now = f'<div class="lk-curtain lk-closed lk-early" role="status"><b>{escape(why)}</b></div>'
    return now + beat_html(number)


def closed_html(why: str) -> str:
    """Return the curtain of a closed panel, which stays."""
    return f'<div class="lk-curtain lk-closed" role="status"><b>{escape(why)}</b></div>'


def static_html(moment: Moment) -> str:
    """Return the panel without buttons, for a notebook that is only read."""
    cards = "".join(f'<div class="lk-box">{face_html(card)}</div>' for card in moment.cards)
    note = escape(
        _(
            "The panel as it was when this cell ran. Run in JupyterLab, the cell shows a live one, with "
            "buttons."
        )
    )
    return (
        f'{STYLE}<div class="labkit-panel">{head_html(moment)}<div class="lk-cards">{cards}</div>'
        f"{chart_html(moment)}{log_html(moment.log, STATIC_LOG_LINES)}"
        f'<p class="lk-note">{note}</p></div>'
    )


def text(moment: Moment) -> str:
    """Return the moment as lines of text."""
    lines = [f"{moment.cluster}: {moment.headline}"]
    if moment.problem:
        lines.append(moment.problem)
    for card in moment.cards:
        facts = ", ".join(f"{name} {value}" for name, value in card.facts)
        lines.append(f"{card.sign} {card.name}: {card.state}" + (f" ({facts})" if facts else ""))
    lines += [f"{line.t:8.2f} s  {line.text}" for line in moment.log[:STATIC_LOG_LINES]]
    return "\n".join(lines)
