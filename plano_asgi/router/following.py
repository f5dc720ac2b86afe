"""Following calls that belong together: what is known before a call is decided, and what is remembered after."""

from dataclasses import dataclass, replace
from functools import partial

from plano_asgi.conversation import Conversation
from plano_asgi.decisions import RoutingDecision
from plano_asgi.policy import Standing, Turn, kept, moved, pin_of, settled, standing_of, turn_of
from plano_asgi.policy.switching import SwitchBudget, Weighed, weighed
from plano_asgi.prices import PriceList
from plano_asgi.providers import ModelCatalog
from plano_asgi.router.deciding import Case
from plano_asgi.router.session_store import Pins
from plano_asgi.router.sessions import Sessions
from plano_asgi.router.stand_in import stand_in
from plano_asgi.sessions import DecideOn, Pin, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A case, and what it belongs to.

    Attributes:
        case: The case.
        turn: Whose turn it is.
        place: Where it stands in a session; None where it belongs to none.
        conversation: What a decision on it is made on.
    """

    case: Case
    turn: Turn
    place: Place | None
    conversation: Conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Makes of sessions what they mean for a call; without sessions, nothing.

    Attributes:
        sessions: What is remembered.
        catalog: The declared models.
        prices: What models cost; None where switches cost what they will.
    """

    sessions: Sessions | None
    catalog: ModelCatalog
    prices: PriceList | None = None

    def followed(self, case: Case) -> Followed:
        """Return a case with its place; while something stands in for the classifier, nothing is remembered."""
        turn = turn_of(case.call.conversation)
        if self.sessions is None:
            return Followed(case=case, turn=turn, place=None, conversation=case.call.conversation)
        place = None if stand_in() else self.sessions.place_of(case.call, turn)
        is_anew = self.sessions.decide_on is DecideOn.EVERY_CALL and not turn.is_loop_open
        conversation = case.call.conversation if is_anew else turn.conversation
        return Followed(case=case, turn=turn, place=place, conversation=conversation)

    def recall(self, followed: Followed) -> Pins:
        """Return what is known of a case's session; blocks where it is kept elsewhere."""
        return self.sessions.recall(followed.place) if self.sessions and followed.place else ()

    async def arecall(self, followed: Followed) -> Pins:
        """Return the same as `recall`, without blocking the event loop."""
        return await self.sessions.arecall(followed.place) if self.sessions and followed.place else ()

    def standing(self, followed: Followed, pins: Pins) -> Standing | None:
        """Return what a session means for a case; None where it belongs to none."""
        if self.sessions is None or followed.place is None:
            return None
        return standing_of(
            followed.place,
            pins,
            followed.turn,
            decide_on=self.sessions.decide_on,
            catalog=self.catalog,
        )

    def held(self, followed: Followed, standing: Standing | None) -> RoutingDecision | None:
        """Return the decision that a session has made already, None where there is one to make."""
        if standing is None or standing.holder is None:
            return None
        return kept(standing, standing.holder, followed.case.policy, followed.case.policy_source)

    def settled(self, decision: RoutingDecision, followed: Followed, standing: Standing | None) -> RoutingDecision:
        """Return a decision as a session lets it stand."""
        if standing is None or standing.holder is not None:
            return decision
        asked = followed.case.call.switch_budget_pct
        most_pct = self.sessions.switch_budget_pct if self.sessions and asked is None else asked
        weigh = None if most_pct is None or self.prices is None else partial(_weighed, self.prices, most_pct)
        return settled(decision, standing, followed.case.policy, weigh=weigh)

    def remember(self, standing: Standing | None, decision: RoutingDecision) -> None:
        """Remember who has a session now; blocks where that is kept elsewhere."""
        if self.sessions and standing and (pin := pin_of(decision, standing)):
            self.sessions.remember(standing.place, pin)

    async def aremember(self, standing: Standing | None, decision: RoutingDecision) -> None:
        """Do the same as `remember`, without blocking the event loop."""
        if self.sessions and standing and (pin := pin_of(decision, standing)):
            await self.sessions.aremember(standing.place, pin)

    def move(self, decision: RoutingDecision, *, to: str) -> None:
        """Remember that another model has served a call than was decided, so that its session goes on with that one."""
        session = decision.session
        if self.sessions and session and to != decision.would_use:
            self.sessions.remember(session.place, moved(decision, session, to=to))

    async def amove(self, decision: RoutingDecision, *, to: str) -> None:
        """Do the same as `move`, without blocking the event loop where that is kept elsewhere."""
        session = decision.session
        if self.sessions and session and to != decision.would_use:
            await self.sessions.aremember(session.place, moved(decision, session, to=to))


def _weighed(prices: PriceList, most_pct: float, place: Place, anchor: Pin, model: str) -> Weighed:
    return weighed(
        tokens=place.tokens,
        before=prices.price_of(anchor.model),
        after=prices.price_of(model),
        is_same=model == anchor.model,
        is_warm=(anchor.system, anchor.tools) == (place.system, place.tools),
        budget=SwitchBudget(spent_usd=anchor.spent_usd, baseline_usd=anchor.baseline_usd),
        most_pct=most_pct,
    )


def told_of_switch(decision: RoutingDecision) -> RoutingDecision:
    """Return a decision whose session says whether it changes hands by it."""
    session = decision.session
    if session is None or session.held_by is None or session.held_by == decision.would_use:
        return decision
    return replace(decision, session=replace(session, is_switched=True))
