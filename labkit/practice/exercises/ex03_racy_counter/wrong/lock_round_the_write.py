# rejected by: lost
import threading


class Counter:
    def __init__(self):
        self.value = 0
        self._lock = threading.Lock()

    def add(self, amount):
        seen = self.value
        with self._lock:
            self.value = seen + amount
