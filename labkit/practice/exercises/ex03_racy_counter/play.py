"""The learner's side: threads that add to one Counter, interrupted within single steps of ``add``.

Python changes threads between instructions, but rarely just where it hurts. Here each instruction of the
learner's file may be followed by a short sleep, in which the other threads run. A lost update therefore
happens in every run instead of once in a thousand.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

SLEEP_S = 1e-5
SWITCH_EVERY_S = 1e-6


def run(module: ModuleType, amounts: list[list[int]], seed: int) -> Any:
    """Add ``amounts[t][…]`` in thread t, all at the same time; return the counter's value, or an error."""
    counter = module.Counter()
    begin = threading.Barrier(len(amounts))
    errors: list[BaseException] = []

    def add_all(number: int) -> None:
        sys.settrace(_interrupting(module.__file__, random.Random(f"{seed} {number}")))
        try:
            begin.wait()
            for amount in amounts[number]:
                counter.add(amount)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that answers
            errors.append(error)
        finally:
            sys.settrace(None)

    threads = [
        threading.Thread(target=add_all, args=(number,), daemon=True) for number in range(len(amounts))
    ]
    former = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_EVERY_S)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(former)
    if errors:
        raise errors[0]
    return counter.value


def _interrupting(file: str | None, chance: random.Random) -> Callable[..., Any]:
    """Return a trace function that sleeps after about every second instruction of ``file``."""

    def instruction(frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename != file:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and chance.random() < 0.5:
            time.sleep(SLEEP_S)
        return instruction

    return instruction
