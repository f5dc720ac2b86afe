"""What a caller is told where no model has answered: each attempt, and what a model has said against the call."""

from collections.abc import Sequence
from typing import Final

from plano_asgi.decisions import Attempt
from plano_asgi.errors import ForwardingError
from plano_asgi.translate.failures import failure_in
from plano_asgi.upstream.answers import ForwardedAnswer
from plano_asgi.upstream.failures import Failure, FailureKind

_MOST_SAID_CHARS: Final = 500


async def said_by(refusal: ForwardedAnswer) -> str:
    """Return the words of a provider that finds the call at fault, and let go of its connection."""
    try:
        return failure_in(refusal.status, await refusal.pieces.next()).message[:_MOST_SAID_CHARS]
    finally:
        await refusal.pieces.aclose()


def nobody_answered(
    trail: Sequence[Attempt], failures: Sequence[Failure], *, said: str, rest_s: float, names_models: bool
) -> ForwardingError:
    """Return the error that names each attempt.

    It is the call's fault (400) where a model has found it so and no other may still answer it; else trying again
    later may help, and the error says so.

    Args:
        trail: Every attempt.
        failures: What went wrong with those that were asked.
        said: The words of a model that finds the call at fault; empty where none does.
        rest_s: Seconds until the first of the models may be asked again.
        names_models: Whether the caller may know of models.
    """
    kinds = {failure.kind for failure in failures}
    retry_after_s = max(1.0, rest_s) if not failures or any(failure.is_transient for failure in failures) else None
    if kinds <= {FailureKind.RATE_LIMITED}:
        message = "every model that could serve this call is limited in its rate now; try again later"
        return ForwardingError(message, status=429, code="rate_limited", retry_after_s=retry_after_s)
    tried = ", ".join(_told(attempt, names_model=names_models) for attempt in trail)
    advice = "try again later" if retry_after_s else "the service's log and configuration say more"
    rejection = f"; one finds the call at fault: {said}" if said else ""
    message = f"no model has answered this call; attempts: {tried}{rejection}; {advice}"
    if said and retry_after_s is None:
        return ForwardingError(message, status=400, code="upstream_rejected")
    status, code = (504, "upstream_timeout") if kinds == {FailureKind.TIMEOUT} else (502, "upstream_failed")
    return ForwardingError(message, status=status, code=code, retry_after_s=retry_after_s)


def _told(attempt: Attempt, *, names_model: bool) -> str:
    words = [attempt.model] if names_model else []
    return " ".join([*words, attempt.outcome, *([f"({attempt.status})"] if attempt.status else [])])
