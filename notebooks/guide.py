"""The teacher's guide of a notebook: its cells for the teacher, with the clock that a class needs."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

from notebooks import clock
from notebooks.clock import SECTION
from notebooks.sources import HERE, filled, notebook_of, notebook_path, read

TITLE = re.compile(r"^# (.+)$", re.MULTILINE)

WORDS = {
    "es": {
        "guide": "Guía docente",
        "clock": "El reloj",
        "minutes": "minutos",
        "section": "sección",
        "costs": "leer | ejecutar | mirar y apostar | hablar | en total",
        "sum": "suma",
        "how": (
            "Así se cuenta, en minutos: leer, {words} palabras de texto y código por minuto; ejecutar, lo "
            "medido al construir el cuaderno; mirar y apostar, {look} por figura, tabla, listado o apuesta; "
            "hablar, {ask} por pregunta de esta guía, y sus silencios. Lo que sobra es tuyo."
        ),
        "point": ",",
    },
    "en": {
        "guide": "Teacher's guide",
        "clock": "The clock",
        "minutes": "minutes",
        "section": "section",
        "costs": "reading | running | looking and betting | talking | in all",
        "sum": "sum",
        "how": (
            "How it is counted, in minutes: reading, {words} words of prose and code a minute; running, as "
            "measured when the notebook was built; looking and betting, {look} a figure, table, listing or "
            "bet; talking, {ask} a question of this guide, and its silences. The rest is yours."
        ),
        "point": ".",
    },
}


def guide_path(name: str, lang: str) -> Path:
    return HERE / lang / f"{name}_teacher.md"


def guide_of(name: str, lang: str) -> str | None:
    """Return the teacher's guide as Markdown, or None if no cell is for the teacher."""
    cells = read(name)
    if not any(cell.teacher for cell in cells):
        return None
    words = WORDS[lang]
    mine = [cell for cell in cells if cell.lang == lang]
    title = next(match[1] for cell in mine if (match := TITLE.search(cell.text)))
    parts = [f"# {words['guide']} · {title}"]
    body: list[str] = []
    heading = ""
    for cell in mine:
        if not cell.teacher:
            for match in SECTION.finditer(cell.text):
                heading = match[0]
        else:
            body += [heading, filled(cell.text, lang)] if heading else [filled(cell.text, lang)]
            heading = ""
    first_section = next((i for i, part in enumerate(body) if part.startswith("## ")), len(body))
    table = _clock(costs(name, lang), lang)
    parts += [*body[:first_section], f"## {words['clock']}", table, *body[first_section:]]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def costs(name: str, lang: str) -> list[clock.Cost]:
    """Return what each section of the guided part costs a class, by the notebook that is stored."""
    path = notebook_path(name, lang)
    notebook = nbformat.read(path, as_version=4) if path.exists() else notebook_of(name, lang)
    spoken = []
    title = ""
    for cell in read(name):
        if cell.lang == lang and cell.teacher:
            spoken.append(clock.Said(title, cell.text, cell.silent))
        elif cell.lang == lang:
            title = next((section.title for section in clock.sections_in(cell.text)), title)
    return clock.costs(notebook, spoken)


def _clock(costs: list[clock.Cost], lang: str) -> str:
    """Return the clock as a table, and how it is counted."""
    words = WORDS[lang]

    def row(first: str, second: str, *minutes: float) -> str:
        numbers = [f"{each:.1f}".replace(".", words["point"]) for each in minutes]
        return f"| {' | '.join([first, second, *numbers])} |"

    lines = [f"| {words['minutes']} | {words['section']} | {words['costs']} |", "|---|---|" + "--:|" * 5]
    for cost in costs:
        begin, end = cost.section.minutes or (0, 0)
        lines.append(row(f"{begin}–{end}", cost.section.title, *cost[1:], cost.total))
    sums = [sum(column) for column in zip(*[(*cost[1:], cost.total) for cost in costs], strict=True)]
    lines.append(row("", f"**{words['sum']}**", *sums))
    look, ask = (f"{each:g}".replace(".", words["point"]) for each in (clock.LOOK_MIN, clock.QUESTION_MIN))
    how = words["how"].format(words=clock.WORDS_A_MINUTE, look=look, ask=ask)
    return "\n".join(lines) + "\n\n" + how
