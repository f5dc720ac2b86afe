"""Following calls that belong together: what is known before a call is decided, and what is remembered after."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from plano_asgi.conversation import Conversation
from plano_asgi.decisions import RoutingDecision
from plano_asgi.errors import CallError
from plano_asgi.policy import (
    Standing,
    Turn,
    begins,
    kept,
    moved,
    opening_of,
    pin_of,
    session_of,
    settled,
    standing_of,
    turn_of,
)
from plano_asgi.policy.switching import SwitchBudget, Weighed, weighed
from plano_asgi.providers import ModelCatalog
from plano_asgi.router.deciding import Case
from plano_asgi.router.fitting import Fit
from plano_asgi.router.reading import read
from plano_asgi.router.selecting import Selecting
from plano_asgi.router.session_store import Pins
from plano_asgi.router.sessions import Sessions
from plano_asgi.router.stand_in import stand_in
from plano_asgi.sessions import DecideOn, Opening, Pin, Place, SessionStanding
from plano_asgi.tokens import Said, said_by


class Followed(NamedTuple):
    """A case, and what it belongs to.

    Attributes:
        case: The case.
        turn: Whose turn it is.
        place: Where it stands in a session; None where it belongs to none.
        conversation: What a decision on it is made on.
        begins_turn: Whether it begins a turn of its session, so that it is decided whatever is known of that.
    """

    case: Case
    turn: Turn
    place: Place | None
    conversation: Conversation
    begins_turn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Makes of sessions what they mean for a call; without sessions, nothing.

    Attributes:
        sessions: What is remembered.
        catalog: The declared models.
        selecting: What is known of models; None where switches cost what they will.
    """

    sessions: Sessions | None
    catalog: ModelCatalog
    selecting: Selecting | None

    def followed(self, case: Case) -> Followed:
        """Return a case with its place; while something stands in for the classifier, nothing is remembered."""
        turn = turn_of(case.call.conversation)
        if self.sessions is None:
            return Followed(case=case, turn=turn, place=None, conversation=case.call.conversation)
        decide_on = self.sessions.decide_on
        place = None if stand_in() else self.sessions.place_of(case.call, turn)
        is_anew = decide_on is DecideOn.EVERY_CALL and not turn.is_loop_open
        return Followed(
            case=case,
            turn=turn,
            place=place,
            conversation=case.call.conversation if is_anew else turn.conversation,
            begins_turn=place is not None and begins(turn, place, decide_on),
        )

    def recalled(self, followed: Followed) -> Standing | None:
        """Return what a session means for a case that it may have decided already; None for other cases; may block."""
        if self.sessions is None or followed.place is None or followed.begins_turn:
            return None
        return self._standing(followed, self.sessions.recall(followed.place))

    async def arecalled(self, followed: Followed) -> Standing | None:
        """Return the same as `recalled`, without blocking the event loop."""
        if self.sessions is None or followed.place is None or followed.begins_turn:
            return None
        return self._standing(followed, await self.sessions.arecall(followed.place))

    def opening(self, followed: Followed, decision: RoutingDecision, fit: Fit) -> Opening | None:
        """Return what to keep of a turn that begins; None where there is nothing, or prices have a say in it.

        Args:
            followed: The turn's case.
            decision: What was decided on it.
            fit: Returns the decision with only what may serve the call, or raises what it is refused with.
        """
        if followed.place is None or not followed.begins_turn or self._most_pct(followed) is not None:
            return None
        try:
            return opening_of(fit(decision), followed.place)
        except CallError:
            return None

    def opened(self, followed: Followed, opening: Opening | None) -> Standing | None:
        """Return what a session means for a turn that begins, its opening kept where that is free; may block."""
        if self.sessions is None or followed.place is None:
            return None
        if opening is None:
            return self._standing(followed, self.sessions.recall(followed.place))
        return self._standing(followed, self.sessions.open(followed.place, opening), opening)

    async def aopened(self, followed: Followed, opening: Opening | None) -> Standing | None:
        """Do the same as `opened`, without blocking the event loop."""
        if self.sessions is None or followed.place is None:
            return None
        if opening is None:
            return self._standing(followed, await self.sessions.arecall(followed.place))
        return self._standing(followed, await self.sessions.aopen(followed.place, opening), opening)

    def _standing(self, followed: Followed, pins: Pins, opening: Opening | None = None) -> Standing | None:
        if self.sessions is None or followed.place is None:
            return None
        return standing_of(
            followed.place,
            pins,
            followed.turn,
            decide_on=self.sessions.decide_on,
            catalog=self.catalog,
            opened=opening.pin if opening and opening.is_free(pins) else None,
        )

    def held(self, followed: Followed, standing: Standing | None) -> RoutingDecision | None:
        """Return the decision that a session has made already, None where there is one to make."""
        if standing is None or standing.holder is None:
            return None
        return kept(standing.holder, followed.case.policy, followed.case.policy_source)

    def settled(
        self, decision: RoutingDecision, followed: Followed, standing: Standing | None
    ) -> tuple[RoutingDecision, SessionStanding | None]:
        """Return a decision as a session lets it stand, and what the session has to do with it."""
        return self._settled(decision, followed, standing, self._weighing(followed, standing))

    async def asettled(
        self, decision: RoutingDecision, followed: Followed, standing: Standing | None
    ) -> tuple[RoutingDecision, SessionStanding | None]:
        """Return the same as `settled`; on a thread where tokens are counted that take long."""
        weighing = self._weighing(followed, standing)
        settle = partial(self._settled, decision, followed, standing, weighing)
        return await read(settle, on_thread=weighing is not None and weighing.takes_long(self.catalog.models))

    def _settled(
        self, decision: RoutingDecision, followed: Followed, standing: Standing | None, weighing: "_Weighing | None"
    ) -> tuple[RoutingDecision, SessionStanding | None]:
        if standing is None:
            return decision, None
        if standing.holder is not None:
            return decision, session_of(standing, standing.holder)
        return settled(decision, standing, followed.case.policy, weigh=weighing.weigh if weighing else None)

    def _weighing(self, followed: Followed, standing: Standing | None) -> "_Weighing | None":
        """Return what weighs a switch of the model that has a session; None where nobody asks what that costs."""
        most_pct = self._most_pct(followed)
        if self.selecting is None or most_pct is None or standing is None:
            return None
        if standing.anchor is None or standing.holder is not None:
            return None
        return _Weighing(self.selecting, said_by(followed.case.call.conversation), most_pct)

    def _most_pct(self, followed: Followed) -> float | None:
        """Return what switches may cost at the most, in percent of never switching; None where nobody counts that."""
        if self.sessions is None or self.selecting is None:
            return None
        asked = followed.case.call.switch_budget_pct
        return self.sessions.switch_budget_pct if asked is None else asked

    def remember(self, decision: RoutingDecision, session: SessionStanding | None, standing: Standing | None) -> None:
        """Remember who has a session now; blocks where that is kept elsewhere."""
        if self.sessions and standing and session and (pin := pin_of(decision, session, standing)):
            self.sessions.remember(standing.place, pin)

    async def aremember(
        self, decision: RoutingDecision, session: SessionStanding | None, standing: Standing | None
    ) -> None:
        """Do the same as `remember`, without blocking the event loop."""
        if self.sessions and standing and session and (pin := pin_of(decision, session, standing)):
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


@dataclass(frozen=True, slots=True)
class _Weighing:
    """What switches cost in one conversation.

    Attributes:
        selecting: What is known of models.
        said: What is said in it.
        most_pct: What switches may cost at the most.
    """

    selecting: Selecting
    said: Said
    most_pct: float

    def takes_long(self, models: Collection[str]) -> bool:
        """Return whether counting for some of these qualified models takes too long for an event loop."""
        return self.selecting.tokens.takes_long(self.said, models)

    def weigh(self, place: Place, anchor: Pin, model: str) -> Weighed:
        """Return what it costs that a model takes over a session; blocks as long as counting takes."""
        prices, counts = self.selecting.prices, self.selecting.tokens.counts(self.said, (anchor.model, model))
        return weighed(
            tokens=counts[anchor.model],
            tokens_after=counts[model],
            before=prices.price_of(anchor.model),
            after=prices.price_of(model),
            is_same=model == anchor.model,
            is_warm=(anchor.system, anchor.tools) == (place.system, place.tools),
            budget=SwitchBudget(spent_usd=anchor.spent_usd, baseline_usd=anchor.baseline_usd),
            most_pct=self.most_pct,
        )


def told_of_switch(session: SessionStanding | None, would_use: str | None) -> SessionStanding | None:
    """Return what a session has to do with a decision, telling whether it changes hands by it."""
    if session is None or session.held_by is None or session.held_by == would_use:
        return session
    return session._replace(is_switched=True)
