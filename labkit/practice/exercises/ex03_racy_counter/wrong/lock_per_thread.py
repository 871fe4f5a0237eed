# rejected by: lost
import threading


class Counter:
    def __init__(self):
        self.value = 0
        self._mine = threading.local()

    def add(self, amount):
        if not hasattr(self._mine, "lock"):
            self._mine.lock = threading.Lock()
        with self._mine.lock:
            self.value += amount
