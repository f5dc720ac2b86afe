"""What a session has to say to a decision: who keeps the conversation, and when somebody else may have it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from plano_asgi.decisions import PolicySource, Reason, RoutingDecision, Source
from plano_asgi.policy.switching import Weighed
from plano_asgi.policy.turns import Turn
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.providers import ModelCatalog
from plano_asgi.sessions import DecideOn, Lock, Opening, Pin, Place, SessionStanding, SwitchReason, maker_of

Weigh = Callable[[Place, Pin, str], Weighed]
Distance = Callable[[Pin, Place], tuple[bool, bool, bool]]


class Standing(NamedTuple):
    """A call and its session.

    Attributes:
        place: Where the call stands.
        holder: The pin of who goes on with the call, whatever a classifier would say; None where it is to be decided.
        anchor: The pin of who has had the conversation so far; None where that is not known.
        lock: Why nobody else may have it, as far as that is known before the decision.
        opened: The pin that is kept for the call already; None where none is.
    """

    place: Place
    holder: Pin | None = None
    anchor: Pin | None = None
    lock: Lock | None = None
    opened: Pin | None = None


def standing_of(  # noqa: PLR0913 - the whole of what it depends on
    place: Place,
    pins: Iterable[Pin],
    turn: Turn,
    *,
    decide_on: DecideOn,
    catalog: ModelCatalog,
    opened: Pin | None = None,
) -> Standing:
    """Return what a session means for a call.

    Args:
        place: Where the call stands.
        pins: What is known of its session, the latest first.
        turn: Whose turn it is.
        decide_on: Which calls are decided.
        catalog: The declared models; what no longer is one holds nothing.
        opened: What was kept beside the pins for this call; None where nothing was.
    """
    known = [pin for pin in pins if catalog.provider_of(pin.model)]
    kin = [pin for pin in known if _is_kin(pin, place)]
    if turn.is_new:
        anchor = _nearest(kin, place, _distance_to_turn)
        lock = Lock.PREVIOUS_RESPONSE if place.is_continued and anchor else None
        is_held = lock is not None or decide_on is DecideOn.SESSION
        return Standing(place=place, holder=anchor if is_held else None, anchor=anchor, lock=lock, opened=opened)
    anchor = _nearest(kin or (known if place.is_explicit else []), place, _distance)
    lock = Lock.TOOL_LOOP if turn.is_loop_open else Lock.PREVIOUS_RESPONSE if place.is_continued else None
    is_held = lock is not None or decide_on is not DecideOn.EVERY_CALL
    return Standing(place=place, holder=anchor if is_held else None, anchor=anchor, lock=lock if anchor else None)


def begins(turn: Turn, place: Place, decide_on: DecideOn) -> bool:
    """Return whether a call begins a turn that is to be decided, whatever its session has decided already."""
    return turn.is_new and not place.is_continued and decide_on is not DecideOn.SESSION


def opening_of(decision: RoutingDecision, place: Place) -> Opening | None:
    """Return what there is to keep of a turn that is decided; None where that is no model, or the decision failed."""
    if decision.would_use is None or decision.reason is Reason.ERROR:
        return None
    pin = _pin(decision, place, decision.would_use)
    return Opening(pin=pin, is_signed=place.signature is not None)


def kept(pin: Pin, policy: RoutingPolicy, policy_source: PolicySource) -> RoutingDecision:
    """Return the decision that a call stays with who has its session; the route's other models stand by."""
    has_route = pin.route is not None and any(preference.name == pin.route for preference in policy.preferences)
    others = policy.named(pin.route).models if has_route and pin.route else ()
    return RoutingDecision(
        route=pin.route if has_route else None,
        models=(pin.model, *(model for model in others if model != pin.model)) if has_route else (),
        would_use=pin.model,
        reason=Reason(pin.reason),
        source=Source.SESSION,
        policy=policy_source,
        confidence=pin.confidence,
    )


def settled(
    decision: RoutingDecision, standing: Standing, policy: RoutingPolicy, *, weigh: Weigh | None = None
) -> tuple[RoutingDecision, SessionStanding]:
    """Return a fresh decision as the session lets it stand, and what the session has to do with it.

    Thoughts that one provider has signed hold their conversation: another model of it can read them, and may have it.
    Where the client has said what belongs together, a turn that comes twice stays with who has it, as long as it is
    decided for the same route, or cannot be decided now.

    Args:
        decision: The decision.
        standing: What the session means.
        policy: The policy in force.
        weigh: Says what a switch from the first model to the second costs, where that matters.
    """
    anchor, would_use = standing.anchor, decision.would_use
    if anchor is None or would_use is None:
        return decision, SessionStanding(place=standing.place, lock=standing.lock)
    session = session_of(standing, anchor)
    if standing.place.signature and maker_of(would_use) != maker_of(anchor.model):
        return _stays(decision, anchor, policy), session._replace(lock=Lock.THINKING)
    if _is_taken(decision, anchor, standing.place):
        return _stays(decision, anchor, policy), session
    if weigh is None:
        return decision, session
    said = weigh(standing.place, anchor, would_use)
    session = session._replace(
        switch=said.reason, spent_usd=said.budget.spent_usd, baseline_usd=said.budget.baseline_usd
    )
    return (_stays(decision, anchor, policy) if said.reason is SwitchReason.OVER_BUDGET else decision), session


def _stays(decision: RoutingDecision, anchor: Pin, policy: RoutingPolicy) -> RoutingDecision:
    return replace(kept(anchor, policy, decision.policy), scores=decision.scores)


def pin_of(decision: RoutingDecision, session: SessionStanding, standing: Standing) -> Pin | None:
    """Return what to remember of a decision; None where it uses no model, or all of it is known already."""
    if decision.would_use is None:
        return None
    foreign, opened = _foreign(standing, decision.would_use), standing.opened
    if opened and foreign is None and _tells_all(opened, decision, session):
        return None
    pin = _pin(decision, standing.place, decision.would_use, session=session, foreign=foreign)
    return None if pin == standing.anchor else pin


def _tells_all(opened: Pin, decision: RoutingDecision, session: SessionStanding) -> bool:
    """Return whether a pin that was kept before its session was known has what is to be remembered of a decision."""
    is_all_spent = (opened.spent_usd, opened.baseline_usd) == (session.spent_usd, session.baseline_usd)
    return is_all_spent and (opened.model, opened.route) == (decision.would_use, decision.route)


def moved(decision: RoutingDecision, session: SessionStanding, *, to: str) -> Pin:
    """Return the pin of a turn that another model has served than was decided."""
    signature = session.place.signature
    is_foreign = signature is not None and maker_of(to) != maker_of(session.held_by or to)
    foreign = signature if is_foreign else session.foreign
    return _pin(decision, session.place, to, session=session, foreign=foreign)


def _is_taken(decision: RoutingDecision, anchor: Pin, place: Place) -> bool:
    """Return whether a turn is to stay with who has it already."""
    if not (place.is_explicit and anchor.is_of(place)):
        return False
    return decision.reason is Reason.ERROR or (anchor.route == decision.route and anchor.model in decision.models)


def session_of(standing: Standing, anchor: Pin) -> SessionStanding:
    """Return what a session has to do with a call that goes on with what somebody has had so far."""
    return SessionStanding(
        place=standing.place,
        held_by=anchor.model,
        foreign=anchor.foreign,
        lock=standing.lock,
        spent_usd=anchor.spent_usd,
        baseline_usd=anchor.baseline_usd,
    )


def _pin(
    decision: RoutingDecision,
    place: Place,
    model: str,
    *,
    session: SessionStanding | None = None,
    foreign: str | None = None,
) -> Pin:
    return Pin(
        system=place.system,
        tools=place.tools,
        turn=place.turn,
        model=model,
        route=decision.route,
        reason=decision.reason,
        confidence=None if decision.confidence is None else round(decision.confidence, 4),
        foreign=foreign,
        spent_usd=session.spent_usd if session else 0.0,
        baseline_usd=session.baseline_usd if session else 0.0,
    )


def _foreign(standing: Standing, model: str) -> str | None:
    """Return up to which thought others than a model's provider have signed, None where nobody else has."""
    anchor, signature = standing.anchor, standing.place.signature
    if anchor is None or signature is None:
        return None
    return signature if maker_of(model) != maker_of(anchor.model) else anchor.foreign


def _is_kin(pin: Pin, place: Place) -> bool:
    """Return whether a pin is of the same work of a client: instructions may drift, or tools, but not both at once."""
    return pin.system == place.system or (pin.tools == place.tools != "")


def _nearest(pins: Sequence[Pin], place: Place, distance: Distance) -> Pin | None:
    """Return the first of the pins that are nearest to a place, None of none."""
    if len(pins) < 2:  # noqa: PLR2004 - nothing to compare
        return pins[0] if pins else None
    return min(pins, key=lambda pin: distance(pin, place))


def _distance(pin: Pin, place: Place) -> tuple[bool, bool, bool]:
    return pin.tools != place.tools, pin.turn != place.turn, pin.system != place.system


def _distance_to_turn(pin: Pin, place: Place) -> tuple[bool, bool, bool]:
    return pin.tools != place.tools, pin.turn not in (place.turn, place.before), pin.system != place.system
