"""A request body that was read and is to be read again by the app."""

from dataclasses import dataclass
from enum import Enum, auto

from starlette.types import Message, Receive


class BodyEnd(Enum):
    """How reading a body ended."""

    COMPLETE = auto()
    TOO_LARGE = auto()
    DISCONNECTED = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class TakenBody:
    """What was taken of a body: the server's own messages, in their order, and what `receive` raised after them."""

    messages: tuple[Message, ...]
    end: BodyEnd
    error: Exception | None = None

    @property
    def data(self) -> bytes:
        """All bytes that were taken."""
        return b"".join(message.get("body", b"") for message in self.messages)

    def replayed(self, receive: Receive) -> Receive:
        """Return a `receive` that gives the messages again as they came, then goes on with the server's.

        What was raised is raised again, once, where it was: a host's bound on bodies is the app's to answer.
        """
        errors = [self.error] if self.error else []

        async def receive_or_fail() -> Message:
            if errors:
                raise errors.pop()
            return await receive()

        return replay(self.messages, receive_or_fail)


async def take_body(receive: Receive, *, limit: int) -> TakenBody:
    """Return the body as far as it can be read within `limit` bytes."""
    messages: list[Message] = []
    size = 0
    while True:
        try:
            message = await receive()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where the app reads
            return TakenBody(tuple(messages), BodyEnd.FAILED, error)
        messages.append(message)
        if message["type"] == "http.disconnect":
            return TakenBody(tuple(messages), BodyEnd.DISCONNECTED)
        size += len(message.get("body", b""))
        if size > limit:
            return TakenBody(tuple(messages), BodyEnd.TOO_LARGE)
        if not message.get("more_body", False):
            return TakenBody(tuple(messages), BodyEnd.COMPLETE)


def replay(messages: tuple[Message, ...], receive: Receive) -> Receive:
    """Return a `receive` that gives some messages, then goes on with the server's: a disconnect is still heard."""
    left = iter(messages)

    async def receive_again() -> Message:
        for message in left:
            return message
        return await receive()

    return receive_again
