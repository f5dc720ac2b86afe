"""What the one line of a decision tells beside the decision itself."""

from plano_asgi.decisions import RoutingDecision


def session_fields(decision: RoutingDecision) -> dict[str, object]:
    """Return what the log tells of a decision's session; nothing where it belongs to none."""
    session = decision.session
    if session is None:
        return {}
    return {
        "session": session.place.key,
        "pinned": session.is_pinned,
        "switched": session.is_switched,
        "lock": session.lock,
    }


def trial_fields(decision: RoutingDecision) -> dict[str, object]:
    """Return what the log tells of a decision's experiment; nothing where it is in none."""
    return {"experiment": decision.trial.experiment, "arm": decision.trial.arm} if decision.trial else {}
