# rejected by: never-returns
import threading


class Counter:
    def __init__(self):
        self.value = 0
        self._lock = threading.Lock()

    def add(self, amount):
        self._lock.acquire()
        self.value += amount
