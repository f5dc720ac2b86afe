"""An answer's pieces that pass through other hands on their way to the caller."""

from plano_asgi.upstream.answers import Pieces
from plano_asgi.upstream.failures import FailureKind
from plano_asgi.wire.usage import Usage


class PassingPieces:
    """Pieces of which everything is known, and let go, where they come from; `next` is for who passes them on."""

    def __init__(self, pieces: Pieces) -> None:
        """Take the pieces as they come."""
        self._pieces = pieces

    @property
    def usage(self) -> Usage:
        """The tokens that were counted so far."""
        return self._pieces.usage

    @property
    def losses(self) -> tuple[str, ...]:
        """What of it could not be said to the caller so far."""
        return self._pieces.losses

    @property
    def failure(self) -> FailureKind | None:
        """How it broke off after it had begun; None where it has not."""
        return self._pieces.failure

    async def aclose(self) -> None:
        """Let go of the provider's connection."""
        await self._pieces.aclose()
