"""What happens while the shared counters cannot be had."""

from collections.abc import Sequence
from typing import Final

from plano_asgi.errors import QuotaError, StoreError
from plano_asgi.events import QUOTAS_UNSHARED, get_logger
from plano_asgi.govern.counting import Charge, Counters, Ruling, Settlement
from plano_asgi.stores.rest import REST_S, Rest

MESSAGE: Final = "this service cannot tell now whether a limit is reached; try again later"


class SharedCounters:
    """Counters that all processes share, and what to do without them.

    Either calls are refused meanwhile, or each process counts by itself. After a failure the server is left alone for
    a second, so that calls do not wait for it one by one.
    """

    def __init__(self, shared: Counters, *, otherwise: Counters | None) -> None:
        """Ask `shared`, and `otherwise` while that fails; None refuses calls."""
        self._shared = shared
        self._otherwise = otherwise
        self._rest = Rest()

    async def reserve(self, charges: Sequence[Charge], *, lease_ms: int, settling: Sequence[Settlement] = ()) -> Ruling:
        """Hold all of the charges or none, as `Counters` says.

        Raises:
            QuotaError: 503 where the shared counters cannot be had, and calls are refused then.
        """
        of_others, own = _parted(settling)
        if own and self._otherwise:
            await self._otherwise.settle(own)
        if not self._rest.is_on:
            try:
                return await self._shared.reserve(charges, lease_ms=lease_ms, settling=of_others)
            except StoreError as error:
                self._note(error)
        if self._otherwise is None:
            raise QuotaError(MESSAGE, status=503, code="limits_unavailable", retry_after_s=REST_S)
        return await self._otherwise.reserve(charges, lease_ms=lease_ms)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Count what was really used; what cannot be told to the others is given back when its lease ends.

        A server that is left alone is not told, either.
        """
        shared, own = _parted(settlements)
        if own and self._otherwise:
            await self._otherwise.settle(own)
        if not shared or self._rest.is_on:
            return
        try:
            await self._shared.settle(shared)
        except StoreError as error:
            self._note(error)

    def _note(self, error: StoreError) -> None:
        self._rest.begin_after(error)
        get_logger().warning(QUOTAS_UNSHARED, error=str(error), is_refusing=self._otherwise is None)


def _parted(settlements: Sequence[Settlement]) -> tuple[list[Settlement], list[Settlement]]:
    """Return what the shared counters have to be told, and what this process's own."""
    shared = [settled for settled in settlements if settled.hold.is_shared]
    return shared, [settled for settled in settlements if not settled.hold.is_shared]
