"""Draws a table of transitions: as text for the head of a module, as Mermaid for ARCHITECTURE.md."""

from __future__ import annotations

from labkit.core.transitions import START, Transitions


def text(transitions: Transitions) -> str:
    """Return one line per transition: "before -> after   occasion"."""
    befores = max(len(before) for before, _ in transitions)
    afters = max(len(after) for _, after in transitions)
    return "\n".join(
        f"{before:<{befores}} -> {after:<{afters}}  {occasion}"
        for (before, after), occasion in transitions.items()
    )


def mermaid(transitions: Transitions) -> str:
    """Return a Mermaid state diagram, which GitHub and JupyterLab draw."""
    lines = ["stateDiagram-v2"]
    for (before, after), occasion in transitions.items():
        lines.append(f"    {'[*]' if before == START else before} --> {after} : {occasion}")
    befores = {before for before, _ in transitions}
    lines += [
        f"    {after} --> [*]" for after in dict.fromkeys(a for _, a in transitions) if after not in befores
    ]
    return "\n".join(lines)
