# rejected by: wrong-order
import threading
from collections import deque


class BoundedQueue:
    def __init__(self, limit):
        self._limit = limit
        self._items = deque()
        self._changed = threading.Condition()

    def put(self, item):
        with self._changed:
            while len(self._items) >= self._limit:
                self._changed.wait()
            self._items.append(item)
            self._changed.notify_all()

    def get(self):
        with self._changed:
            while not self._items:
                self._changed.wait()
            item = self._items.pop()
            self._changed.notify_all()
            return item
