"""{title}"""

from __future__ import annotations

# SOLUTION
import threading

# STUB
# END


class Counter:
    def __init__(self) -> None:
        self.value = 0
        # SOLUTION
        self._lock = threading.Lock()
        # STUB
        # END

    def add(self, amount: int) -> None:
        # SOLUTION
        with self._lock:
            self.value += amount
        # STUB
        # self.value += amount
        # END
