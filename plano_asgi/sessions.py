"""What is known of calls that belong together: where each stands, and which model has the conversation."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

MOST_PINS: Final = 8


class DecideOn(StrEnum):
    """Which calls are decided; the others keep the model that their session has."""

    EVERY_CALL = "every_call"
    USER_TURN = "user_turn"
    SESSION = "session"


class Lock(StrEnum):
    """Why a session's model may not change now."""

    TOOL_LOOP = "tool_loop"
    THINKING = "thinking"
    PREVIOUS_RESPONSE = "previous_response"


class SwitchReason(StrEnum):
    """What the price of another model has to say to a switch."""

    SAME = "same"
    FREE = "free"
    WITHIN_BUDGET = "within_budget"
    OVER_BUDGET = "over_budget"
    NO_PRICE = "no_price"


class Place(NamedTuple):
    """Where a call stands among those that belong together; holds digests, and no words of anybody's.

    Attributes:
        key: What the session is kept under.
        id: What the session is told as: the client's own id, or `implicit:` and 32 hex digits.
        is_explicit: Whether the client has said what belongs together.
        system: Digest of the instructions.
        tools: Digest of the names of the tools; empty without tools.
        turn: Digest of all that the user has said so far.
        before: The same without what was said last.
        is_continued: Whether the call goes on with a response that its provider keeps.
        signature: Digest of the latest signed thought, or None.
    """

    key: str
    id: str
    is_explicit: bool
    system: str
    tools: str
    turn: str
    before: str
    is_continued: bool = False
    signature: str | None = None


class Pin(NamedTuple):
    """Which model took one turn of a session.

    Attributes:
        system: As in `Place`.
        tools: As in `Place`.
        turn: As in `Place`.
        model: The qualified model.
        route: The route that it was chosen for, or None.
        reason: Why it was chosen, as decisions say it.
        confidence: Probability in [0, 1] of the route, or None.
        foreign: Digest of the latest thought in the messages that another provider than this model's has signed.
        spent_usd: What switches of this session have cost so far.
        baseline_usd: What never to switch would have cost so far.
    """

    system: str
    tools: str
    turn: str
    model: str
    route: str | None
    reason: str
    confidence: float | None = None
    foreign: str | None = None
    spent_usd: float = 0.0
    baseline_usd: float = 0.0

    def is_of(self, other: "Pin | Place") -> bool:
        """Return whether it is of the same turn of the same work."""
        return self.turn == other.turn and self.system == other.system and self.tools == other.tools


class Opening(NamedTuple):
    """A turn that is decided, and kept where nothing that is known of its session has a say in that.

    Attributes:
        pin: Which model is to take the turn.
        is_signed: Whether its messages hold signed thoughts, which only their provider can read.
    """

    pin: Pin
    is_signed: bool = False

    def is_free(self, known: Iterable[Pin]) -> bool:
        """Return whether nobody has had this turn, and nobody else can have signed what its messages hold."""
        for pin in known:
            if pin.is_of(self.pin) or (self.is_signed and maker_of(pin.model) != maker_of(self.pin.model)):
                return False
        return True


def maker_of(model: str) -> str:
    """Return the provider of a qualified model: who signs its thoughts."""
    return model.partition("/")[0]


class SessionStanding(NamedTuple):
    """What a session has to do with a decision.

    Attributes:
        place: Where the call stands.
        held_by: Who has had the conversation so far; None where that is not known.
        foreign: As in `Pin`, of who has had the conversation so far.
        is_switched: Whether the decision gives it to another model.
        lock: Why it could not, or None.
        switch: What prices had to say to it; None where they were not asked.
        spent_usd: As in `Pin`, this decision included.
        baseline_usd: As in `Pin`, this turn included.
    """

    place: Place
    held_by: str | None = None
    foreign: str | None = None
    is_switched: bool = False
    lock: Lock | None = None
    switch: SwitchReason | None = None
    spent_usd: float = 0.0
    baseline_usd: float = 0.0

    @property
    def id(self) -> str:
        """What the session is told as."""
        return self.place.id

    @property
    def is_pinned(self) -> bool:
        """Whether the session was known already."""
        return self.held_by is not None
