# rejected by: left-running
import threading

from labkit.practice.slow_server import Download


def read_in_time(urls, limit_s):
    results = [None] * len(urls)

    def read(number):
        results[number] = Download(urls[number]).read()

    threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(len(urls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(limit_s)
    return results
