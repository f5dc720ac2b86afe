"""How a filter ends an answer."""

from plano_asgi.errors import GuardrailError
from plano_asgi.guard.verdicts import BLOCKED_STATUS


def answer_blocked(name: str, reason: str) -> GuardrailError:
    """Return the error by which an answer ends; names the guardrail, and quotes nothing."""
    message = f"the answer is blocked by the guardrail {name}: {reason}"
    return GuardrailError(message, guardrail=name, status=BLOCKED_STATUS, code="blocked_by_guardrail")


def call_blocked(name: str, reason: str, *, status: int = BLOCKED_STATUS) -> GuardrailError:
    """Return the error by which a call is refused; names the guardrail, and quotes nothing."""
    message = f"the guardrail {name} does not let this call pass: {reason}; change that and send it again"
    return GuardrailError(message, guardrail=name, status=status, code="blocked_by_guardrail")


def not_judged(name: str, why: str) -> GuardrailError:
    """Return the error for what could not be judged, and may not pass unjudged."""
    message = f"the guardrail {name} cannot judge this call now ({why}); try again later"
    return GuardrailError(message, guardrail=name, status=503, code="guardrail_failed", is_retryable=True)
