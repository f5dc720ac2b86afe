"""`Sessions`: what is remembered of calls that belong together, and never a reason that a call fails."""

from dataclasses import dataclass, field

from plano_asgi.conversation import LLMCall
from plano_asgi.errors import StoreError
from plano_asgi.events import SESSIONS_FAILED, get_logger
from plano_asgi.policy import Turn, place_of
from plano_asgi.router.session_store import Pins, SessionStore
from plano_asgi.sessions import DecideOn, Opening, Pin, Place
from plano_asgi.stores.rest import Rest


@dataclass(slots=True)
class Sessions:
    """Remembers which model has which session.

    A store that fails is left alone for a second, and the calls of that time are decided as if nothing were known.

    Attributes:
        store: Where they are kept.
        secret: What their digests are keyed with, 64 bytes at the most.
        decide_on: Which calls are decided.
        switch_budget_pct: Most that switches of a session may cost, in percent of never switching; None for no bound.
    """

    store: SessionStore
    secret: bytes = field(repr=False)
    decide_on: DecideOn = DecideOn.USER_TURN
    switch_budget_pct: float | None = None
    _rest: Rest = field(default_factory=Rest)

    def place_of(self, call: LLMCall, turn: Turn) -> Place | None:
        """Return where a call stands among others, None where it belongs to no session."""
        return place_of(call, turn, secret=self.secret)

    def recall(self, place: Place) -> Pins:
        """Return what is known of a session, the latest first; blocks where the store is elsewhere."""
        if self._rest.is_on:
            return ()
        try:
            return self.store.read(place.key)
        except StoreError as error:
            self._note(error)
            return ()

    async def arecall(self, place: Place) -> Pins:
        """Return the same as `recall`, without blocking the event loop."""
        if self._rest.is_on:
            return ()
        try:
            return await self.store.aread(place.key)
        except StoreError as error:
            self._note(error)
            return ()

    def open(self, place: Place, opening: Opening) -> Pins:
        """Return what is known of a session, and keep an opening that is free beside it; blocks as `recall` does."""
        if self._rest.is_on:
            return ()
        try:
            return self.store.open(place.key, opening)
        except StoreError as error:
            self._note(error)
            return ()

    async def aopen(self, place: Place, opening: Opening) -> Pins:
        """Do the same as `open`, without blocking the event loop."""
        if self._rest.is_on:
            return ()
        try:
            return await self.store.aopen(place.key, opening)
        except StoreError as error:
            self._note(error)
            return ()

    def remember(self, place: Place, pin: Pin) -> None:
        """Keep a pin; blocks where the store is elsewhere."""
        if self._rest.is_on:
            return
        try:
            self.store.push(place.key, pin)
        except StoreError as error:
            self._note(error)

    async def aremember(self, place: Place, pin: Pin) -> None:
        """Do the same as `remember`, without blocking the event loop."""
        if self._rest.is_on:
            return
        try:
            await self.store.apush(place.key, pin)
        except StoreError as error:
            self._note(error)

    def _note(self, error: StoreError) -> None:
        self._rest.begin_after(error)
        get_logger().warning(SESSIONS_FAILED, error=type(error).__name__, detail=str(error))
