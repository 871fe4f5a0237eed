"""The time of day jumps under living processes: broker, workers and client go on as if nothing had happened.

Only Python's own idea of it jumps (``time.time``, by a sitecustomize that all these processes load), because
setting the machine's clock would be felt by everybody on it. All that labkit could ask goes through there;
libzmq measures its own periods on the monotonic clock.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkit import jobs
from tests.tools.rig import Rig, results
from tests.tools.waiting import wait_until

JUMPING = """
import os, time
_real = time.time
_flag = os.environ["JUMPS_WHEN"]
def _jumped():
    try:
        with open(_flag) as file: return _real() + float(file.read() or 0)
    except FileNotFoundError: return _real()
time.time = _jumped
"""


@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
def test_a_clock_jump_of_an_hour_has_no_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_s: float
) -> None:
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(JUMPING)
    flag = tmp_path / "jump"
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'patch'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("JUMPS_WHEN", str(flag))
    with Rig(tmp_path / "rig", workers=2) as rig:
        client = rig.client()
        job = "import time\ndef told():\n    return time.time()\n"
        (tmp_path / "rig" / "work" / "clock.py").write_text(job)
        before = client.submit("work.clock:told").result(10)
        futures = [client.submit(jobs.sleep_for, 0.05, deadline_s=60, lease_s=10) for _ in range(80)]
        wait_until(futures[10].done, 20, "a beginning")
        client.note("clock", "all")
        flag.write_text(str(by_s))
        assert abs(client.submit("work.clock:told").result(10) - before - by_s) < 60, "it has jumped"
        assert results(futures) == [0.05] * 80
        assert not rig.events("lost") and not rig.events("suspect") and not rig.events("failed")
        at = [event.at for event in rig.events() if event.kind != "fault"]
        assert at == sorted(at)
        rig.check_outcomes(futures)
