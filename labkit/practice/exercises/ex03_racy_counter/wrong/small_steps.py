# rejected by: lost
import time


class Counter:
    def __init__(self):
        self.value = 0

    def add(self, amount):
        time.sleep(0)
        self.value = self.value + amount
        time.sleep(0)
