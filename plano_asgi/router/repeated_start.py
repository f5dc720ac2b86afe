"""Starting again what could not be started, until it can."""

from collections.abc import Callable
from threading import Event, Thread
from typing import Final

from plano_asgi.errors import PlanoError

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 15.0


class RepeatedStart:
    """Makes attempts on one thread, at intervals that grow from half a second to 15, until one succeeds.

    The thread does not outlive the process, and a fork does not take it along.
    """

    def __init__(self, attempt: Callable[[], object]) -> None:
        """Take what is attempted, which may raise a `PlanoError` and nothing else."""
        self._attempt = attempt
        self._stopped = Event()

    def renew(self) -> Event:
        """Make no further attempt until `begin` is called with the event that is returned, and which `stop` sets."""
        self.stop()
        self._stopped = stopped = Event()
        return stopped

    def begin(self, stopped: Event) -> None:
        """Begin to make attempts, the first after half a second; none where it was stopped since it was renewed."""
        Thread(target=self._repeat, args=(stopped,), name="plano-start-again", daemon=True).start()

    def stop(self) -> None:
        """Make no further attempt; one that is being made is not waited for."""
        self._stopped.set()

    def _repeat(self, stopped: Event) -> None:
        wait_s = FIRST_WAIT_S
        while not stopped.wait(wait_s):
            try:
                self._attempt()
            except PlanoError:  # which the attempt has logged
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            else:
                return
