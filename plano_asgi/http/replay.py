"""A request body that was read and is to be read again by the app."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from starlette.types import Message, Receive


class BodyEnd(Enum):
    """How reading a body ended."""

    COMPLETE = auto()
    TOO_LARGE = auto()
    DISCONNECTED = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class TakenBody:
    """What was taken of a body; its chunks are joined, so that no way to cut it costs more memory than its bytes.

    Attributes:
        data: The bytes that were taken.
        end: How reading ended.
        is_whole: Whether the server has no more of the body.
        error: What `receive` raised, where it failed.
    """

    data: bytes
    end: BodyEnd
    is_whole: bool = True
    error: Exception | None = None

    def replayed(self, receive: Receive) -> Receive:
        """Return a `receive` that gives the body again as one message, then goes on with the server's.

        A disconnect that was heard is heard again. What was raised is raised again, once, where it was: a host's
        bound on bodies is the app's to answer.
        """
        left = self._messages()
        errors = [self.error] if self.error else []

        async def receive_again() -> Message:
            for message in left:
                return message
            if errors:
                raise errors.pop()
            return await receive()

        return receive_again

    def _messages(self) -> Iterator[Message]:
        if self.data or self.is_whole:
            yield {"type": "http.request", "body": self.data, "more_body": not self.is_whole}
        if self.end is BodyEnd.DISCONNECTED:
            yield {"type": "http.disconnect"}


NOTHING_TAKEN: Final = TakenBody(b"", BodyEnd.TOO_LARGE, is_whole=False)


async def take_body(receive: Receive, *, limit: int) -> TakenBody:
    """Return the body as far as it can be read within `limit` bytes."""
    data = bytearray()
    while True:
        try:
            message = await receive()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where the app reads
            return TakenBody(bytes(data), BodyEnd.FAILED, is_whole=False, error=error)
        if message["type"] == "http.disconnect":
            return TakenBody(bytes(data), BodyEnd.DISCONNECTED, is_whole=False)
        data += message.get("body", b"")
        is_whole = not message.get("more_body", False)
        if len(data) > limit:
            return TakenBody(bytes(data), BodyEnd.TOO_LARGE, is_whole=is_whole)
        if is_whole:
            return TakenBody(bytes(data), BodyEnd.COMPLETE)
