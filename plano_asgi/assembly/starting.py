"""Starting a router where no lifespan does: once in each process, with its first call."""

import os
from threading import Lock, Thread

from plano_asgi.events import CLASSIFIER_FAILED, get_logger
from plano_asgi.router import Router
from plano_asgi.router.stand_in import stand_in
from plano_asgi.settings import Settings


class FirstCall:
    """Starts a router with the first call of each process; thread-safe, and forked children start their own.

    Under `startup: wait` the calls that come meanwhile wait, as a server waits for a lifespan; under `background` they
    are decided by `routing.on_error`, and so is every call where the model cannot be loaded.
    """

    def __init__(self, router: Router, settings: Settings) -> None:
        """Load nothing yet."""
        self._router = router
        self._waits = settings.startup == "wait"
        self._begun_in: int | None = None
        self._locks: dict[int, Lock] = {}

    @property
    def is_over(self) -> bool:
        """Whether a call of this process has started the router, or needs none since somebody stands in for it."""
        return self._begun_in == os.getpid() or stand_in() is not None

    def begin(self) -> None:
        """Guarantee that the router was started; blocks while it is, and never raises."""
        if self.is_over:
            return
        process = os.getpid()
        with self._locks.setdefault(process, Lock()):  # a lock of the parent's may be held for ever
            if self._begun_in == process:
                return
            if self._waits:
                start_quietly(self._router)
            else:
                start_beside(self._router)
            self._begun_in = process


def start_beside(router: Router) -> None:
    """Start a router on a thread of its own."""
    Thread(target=start_quietly, args=(router,), name="plano-start", daemon=True).start()


def start_quietly(router: Router) -> None:
    """Start a router; where it cannot be, the log says why, and calls are still decided by `on_error`."""
    try:
        router.start()
    except Exception as error:  # noqa: BLE001 - whatever it is, calls are still served
        get_logger().error(CLASSIFIER_FAILED, error=type(error).__name__, detail=str(error))
