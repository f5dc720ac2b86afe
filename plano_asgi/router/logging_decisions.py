"""The one line of a decision."""

from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import RoutingDecision
from plano_asgi.events import CALL_ROUTED, get_logger


def log_routed(decision: RoutingDecision, call: LLMCall, *, classifier: str) -> None:
    """Log where a call goes, and why; nothing of what it says."""
    get_logger().info(
        CALL_ROUTED,
        api_format=call.api_format.value,
        route=decision.route,
        model=decision.would_use,
        reason=decision.reason.value,
        source=decision.source.value,
        policy=decision.policy.value,
        confidence=None if decision.confidence is None else round(decision.confidence, 3),
        classifier=classifier,
        stage=decision.stage,
        failed_stage=decision.failed_stage,
        **_session_fields(decision),
        **_trial_fields(decision),
        latency_ms=round(decision.latency_ms, 1),
    )


def _session_fields(decision: RoutingDecision) -> dict[str, object]:
    session = decision.session
    if session is None:
        return {}
    return {
        "session": session.place.key,
        "pinned": session.is_pinned,
        "switched": session.is_switched,
        "lock": session.lock,
    }


def _trial_fields(decision: RoutingDecision) -> dict[str, object]:
    return {"experiment": decision.trial.experiment, "arm": decision.trial.arm} if decision.trial else {}
