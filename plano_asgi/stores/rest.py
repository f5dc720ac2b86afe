"""How long a store that has failed is left alone."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Final

from plano_asgi.errors import StoreBusyError, StoreError

REST_S: Final = 1.0


@dataclass(slots=True, kw_only=True)
class Rest:
    """Leaves a store alone for a while after it has failed, so that calls do not wait for it one by one.

    Attributes:
        seconds: How long.
        clock: Seconds of any monotonic clock.
    """

    seconds: float = REST_S
    clock: Callable[[], float] = monotonic
    _until: float = -inf

    @property
    def is_on(self) -> bool:
        """Whether the store is to be left alone now."""
        return self.clock() < self._until

    def begin_after(self, error: StoreError) -> None:
        """Begin where it is the store that has failed, and not that too many of our calls came at once."""
        if not isinstance(error, StoreBusyError):
            self._until = self.clock() + self.seconds
