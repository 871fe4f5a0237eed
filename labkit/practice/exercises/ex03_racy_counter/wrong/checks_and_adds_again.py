# rejected by: too-much
import threading


class Counter:
    def __init__(self):
        self.value = 0
        self._lock = threading.Lock()

    def add(self, amount):
        with self._lock:
            self.value += amount
            if self.value % 7 == 0:
                self.value += amount
