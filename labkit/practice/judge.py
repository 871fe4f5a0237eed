"""Judges a stranger's code apart from everything: a process of its own runs the whole check.

``judge_apart`` starts ``python -m labkit.practice.judge ROOT EXERCISE STAGE...``. That process leaves the
network except loopback, takes limits on it (`limits`), runs the check and prints the verdict as JSON. The
learner's process, broker and workers of the check are its children and have the same limits. When it is over,
or takes longer than ``WHOLE_S``, all of them end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from labkit.core.errors import N_
from labkit.practice import family, limits
from labkit.practice.check import check
from labkit.practice.exercise import Exercise, find
from labkit.practice.verdict import Kind, Verdict
from labkit.support.process_groups import KILL, signal_group

WHOLE_S = 180.0
"""Both stages of one hand-in, on a busy machine, too."""


def judge_apart(exercise: Exercise, root: Path, stages: tuple[str, ...], whole_s: float = WHOLE_S) -> Verdict:
    """Return the verdict on ``root``/work/<module>.py, from a process with limits."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "labkit.practice.judge", str(root), exercise.id, *stages],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, family.WHOLE_MARK: mark},
        )
        try:
            process.wait(whole_s)
        except subprocess.TimeoutExpired:
            return Verdict(
                exercise.id,
                Kind.INCONCLUSIVE,
                happened=N_("the check had not ended after {seconds:.0f} s"),
                params={"seconds": whole_s},
            )
        finally:
            signal_group(process.pid, KILL)
            process.wait()
            family.end_marked(mark, family.WHOLE_MARK)
        said.seek(0)
        try:
            fields = json.loads(said.read().splitlines()[-1])
            return Verdict(exercise.id, Kind(fields["kind"]), stage=fields["stage"], code=fields["code"])
        except (ValueError, LookupError, TypeError):
            return Verdict(
                exercise.id,
                Kind.INCONCLUSIVE,
                happened=N_("the check ended without a verdict (exit code {exit_code})"),
                params={"exit_code": process.returncode},
            )


def main(root: str, exercise: str, *stages: str) -> None:
    """Run the check and print kind, stage and code of the verdict."""
    limits.loopback_only()
    limits.restrict_check()
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    verdict = check(find(exercise), Path(root), stages=stages, prepare=limits.restrict)
    json.dump({"kind": str(verdict.kind), "stage": verdict.stage, "code": verdict.code}, answer)
    answer.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
