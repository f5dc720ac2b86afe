"""What is known of one call that we serve ourselves, from its beginning to its end."""

from dataclasses import dataclass, field, replace
from time import perf_counter

from plano_asgi.decisions import Attempt, RoutingDecision
from plano_asgi.upstream import ForwardedAnswer
from plano_asgi.wire.usage import Usage


@dataclass(slots=True, kw_only=True)
class Account:
    """One call so far; belongs to that call alone.

    Attributes:
        decision: Where the call goes; None until that is decided.
        trail: Every model that was asked, in order.
        answer: What the caller is given; None where that is an error of ours.
        status: HTTP status of the answer, once it has begun.
        is_complete: Whether the caller has been given all of it.
        is_stream: Whether the caller asks for a stream.
        started: When the call came, by `time.perf_counter`.
    """

    decision: RoutingDecision | None = None
    trail: list[Attempt] = field(default_factory=list)
    answer: ForwardedAnswer | None = None
    status: int | None = None
    is_complete: bool = False
    is_stream: bool = False
    started: float = field(default_factory=perf_counter)

    @property
    def served(self) -> RoutingDecision | None:
        """The decision, with who has answered and every attempt."""
        if self.decision is None:
            return None
        served_by = self.answer.model if self.answer else None
        return replace(self.decision, served_by=served_by, attempts=tuple(self.trail))

    @property
    def end(self) -> str:
        """How the call has ended, in a word."""
        if self.answer and self.answer.pieces.failure:
            return self.answer.pieces.failure.value
        return "complete" if self.is_complete else "abandoned"

    @property
    def usage(self) -> Usage:
        """The tokens that the provider has counted so far."""
        return self.answer.pieces.usage if self.answer else Usage()

    @property
    def losses(self) -> tuple[str, ...]:
        """What was lost between the caller's API and the provider's, each with its reason."""
        return tuple(dict.fromkeys((*self.answer.losses, *self.answer.pieces.losses))) if self.answer else ()
