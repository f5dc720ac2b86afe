"""A request body that was read and is to be read again by the app."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from starlette.types import Message, Receive


class BodyEnd(Enum):
    """How reading a body ended."""

    COMPLETE = auto()
    TOO_LARGE = auto()
    BROKEN_OFF = auto()


@dataclass(frozen=True, slots=True)
class TakenBody:
    """What was taken of a body; its chunks are joined, so that no way to cut it costs more memory than its bytes.

    Attributes:
        data: The bytes that were taken.
        end: How reading ended.
        is_whole: Whether the server has no more of the body.
        instead: What came instead of more body, where it broke off: a message (a disconnect above all) or an error.
    """

    data: bytes
    end: BodyEnd
    is_whole: bool = True
    instead: Message | Exception | None = None

    def replayed(self, receive: Receive) -> Receive:
        """Return a `receive` that gives the body again as one message, then goes on with the server's.

        What came instead of the rest comes again: a disconnect is heard, and what was raised is raised again, once,
        where it was, since a host's bound on bodies is the app's to answer. Nothing that was given is kept.
        """
        left = [] if self.instead is None else [self.instead]
        if self.data or self.is_whole:
            left.append({"type": "http.request", "body": self.data, "more_body": not self.is_whole})

        async def receive_again() -> Message:
            if not left:
                return await receive()
            came = left.pop()
            if isinstance(came, Exception):
                raise came
            return came

        return receive_again


NOTHING_TAKEN: Final = TakenBody(b"", BodyEnd.TOO_LARGE, is_whole=False)


async def take_body(receive: Receive, *, limit: int) -> TakenBody:
    """Return the body as far as it can be read within `limit` bytes."""
    data = bytearray()
    while True:
        try:
            message = await receive()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where the app reads
            return TakenBody(bytes(data), BodyEnd.BROKEN_OFF, is_whole=False, instead=error)
        if message["type"] != "http.request":
            return TakenBody(bytes(data), BodyEnd.BROKEN_OFF, is_whole=False, instead=message)
        data += message.get("body", b"")
        is_whole = not message.get("more_body", False)
        if len(data) > limit:
            return TakenBody(bytes(data), BodyEnd.TOO_LARGE, is_whole=is_whole)
        if is_whole:
            return TakenBody(bytes(data), BodyEnd.COMPLETE)
