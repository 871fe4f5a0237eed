"""Judges a stranger's code apart from everything: a process of its own runs the whole check.

``judge_apart`` starts ``python -m labkit.practice.judge ROOT EXERCISE STAGE...``. That process leaves the
network except loopback, takes limits on it (`limits`), runs the check and prints the verdict as JSON. The
learner's process, broker and workers of the check are its children and have the same limits. When it is over,
or takes longer than ``WHOLE_S``, all of them end.

A hand-in runs as the same user and may write into any file that the judge has open. So the verdict is signed
with a key that the judge gets on its standard input, and a line without a right signature counts for nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from labkit.core.errors import N_
from labkit.practice import family, limits
from labkit.practice.check import check
from labkit.practice.exercise import Exercise, find
from labkit.practice.verdict import Kind, Verdict
from labkit.support.process_groups import KILL, signal_group

KEY_BYTES = 32
WHOLE_S = 180.0
"""Both stages of one hand-in, on a busy machine, too."""


def judge_apart(exercise: Exercise, root: Path, stages: tuple[str, ...], whole_s: float = WHOLE_S) -> Verdict:
    """Return the verdict on ``root``/work/<module>.py, from a process with limits."""
    mark, key = uuid.uuid4().hex, secrets.token_bytes(KEY_BYTES)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "labkit.practice.judge", str(root), exercise.id, *stages],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, family.WHOLE_MARK: mark},
        )
        try:
            _give(process, key)
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
        fields = _signed(said.read(), key)
    if fields is None:
        return Verdict(
            exercise.id,
            Kind.INCONCLUSIVE,
            happened=N_("the check ended without a verdict (exit code {exit_code})"),
            params={"exit_code": process.returncode},
        )
    return Verdict(exercise.id, Kind(fields.pop("kind")), **fields)


def _give(process: subprocess.Popen[bytes], key: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError), process.stdin:  # a judge that has ended already gives no verdict
        process.stdin.write(key)


def _line(fields: dict[str, Any], key: bytes) -> bytes:
    """Return a verdict as a line with its signature, apart from what others have written around it."""
    text = json.dumps(fields, default=str).encode()
    return b"\n%s %s\n" % (_signature(text, key), text)


def _signed(said: bytes, key: bytes) -> dict[str, Any] | None:
    """Return the fields of the line with a right signature; None without one."""
    for line in said.split(b"\n"):
        signature, _space, text = line.partition(b" ")
        if hmac.compare_digest(signature, _signature(text, key)):
            fields: dict[str, Any] = json.loads(text)
            return fields
    return None


def _signature(text: bytes, key: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).hexdigest().encode()


def main(root: str, exercise: str, *stages: str) -> None:
    """Run the check and print the verdict: kind, stage and code, and of an inconclusive one the reason."""
    key = sys.stdin.buffer.read(KEY_BYTES)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    limits.loopback_only()
    limits.restrict_check()
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    verdict = check(find(exercise), Path(root), stages=stages, prepare=limits.restrict)
    fields: dict[str, Any] = {"kind": verdict.kind, "stage": verdict.stage, "code": verdict.code}
    if verdict.kind is Kind.INCONCLUSIVE:
        fields |= {"happened": verdict.happened, "params": verdict.params}
    answer.write(_line(fields, key))
    answer.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
