# rejected by: unknown-process
import os


def in_processes(seconds):
    return [(10 * one, os.getpid() + 1 + number) for number, one in enumerate(seconds)]
