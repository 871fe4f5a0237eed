"""{title}"""

from __future__ import annotations

# SOLUTION
import threading

# STUB
# import time
# END
from collections import deque
from typing import Any


class BoundedQueue:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[Any] = deque()
        # SOLUTION
        self._changed = threading.Condition()
        # STUB
        # END

    def put(self, item: Any) -> None:
        # SOLUTION
        with self._changed:
            while len(self._items) >= self._limit:
                self._changed.wait()
            self._items.append(item)
            self._changed.notify_all()
        # STUB
        # self._items.append(item)
        # END

    def get(self) -> Any:
        # SOLUTION
        with self._changed:
            while not self._items:
                self._changed.wait()
            item = self._items.popleft()
            self._changed.notify_all()
            return item
        # STUB
        # while not self._items:
        #     time.sleep(0.001)
        # return self._items.popleft()
        # END
