# rejected by: lost
import threading


class Counter:
    def __init__(self):
        self.value = 0

    def add(self, amount):
        with threading.Lock():
            self.value += amount
