"""Looks for a broker that may have come back at another address, without holding up the I/O loop.

A broker in a container that is made anew may be published at another port of the host. Only Docker knows
which, and asking it takes tens of milliseconds, or for ever if Docker hangs. So each search has a thread of
its own, at most one at a time; the client goes on at the old address meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from labkit.core.errors import LabkitError

log = logging.getLogger(__name__)


class BrokerSearch:
    """Calls ``move`` with the address that ``find`` returns, whenever that is not the present one.

    ``find`` may raise LabkitError: the next search may have more luck.
    """

    def __init__(self, address: str, find: Callable[[], str], move: Callable[[str], None]) -> None:
        self._address = address
        self._find = find
        self._move = move
        self._running = threading.Lock()

    def start(self) -> None:
        """Begin a search, unless one is under way; return at once."""
        if not self._running.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._search, name="labkit-broker-search", daemon=True).start()
        except RuntimeError as error:  # no more threads are allowed: the next silence tries again
            self._running.release()
            log.warning("the broker cannot be looked for: %s", error)

    def _search(self) -> None:
        try:
            address = self._find()
            if address != self._address:
                log.info("the broker is at %s now, no longer at %s", address, self._address)
                self._address = address
                self._move(address)
        except LabkitError as error:
            log.info("the broker was not found: %s", error)
        finally:
            self._running.release()
