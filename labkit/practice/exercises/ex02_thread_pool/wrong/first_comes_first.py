# rejected by: wrong-order
import threading

from labkit.practice.slow_server import fetch


def read_all(urls):
    found = []
    threads = [threading.Thread(target=lambda url=url: found.append(fetch(url))) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
