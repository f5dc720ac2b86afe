"""A stream's parts one after the other, each opened and closed once, however the provider mixes them.

A part is closed when the provider says so or begins another; of tool calls, whose end Chat Completions does not tell,
only when what has come is a whole JSON object. Until then whatever belongs to other parts waits, within a bound.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from plano_asgi.errors import UnusableAnswerError
from plano_asgi.translate.answer import Delta, Ended, Finished, Kind, PartKey, StreamEvent
from plano_asgi.translate.call import Thinking
from plano_asgi.translate.tool_calls import is_object

MOST_CHARS: Final = 32_000_000  # of one answer


@dataclass(frozen=True, slots=True)
class Opened:
    """A part begins; `id` and `name` are a tool call's."""

    kind: Kind
    id: str = ""
    name: str = ""
    is_custom: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """More of the part that is open."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """The signature of the thoughts that are open."""

    thinking: Thinking = field(repr=False)


@dataclass(frozen=True, slots=True)
class Closed:
    """The part that is open is complete."""


SequencedEvent = StreamEvent | Opened | Said | Signed | Closed


class Sequencer:
    """Puts the events of one stream in sequence."""

    def __init__(self) -> None:
        """Start with nothing open."""
        self._open: Delta | None = None
        self._arguments: list[str] = []
        self._ended: set[PartKey] = set()
        self._waiting: dict[PartKey, list[Delta]] = {}
        self._size = 0

    def sequence(self, event: StreamEvent) -> Iterator[SequencedEvent]:
        """Yield what may be told now that this event is here.

        Raises:
            UnusableAnswerError: The answer is larger than is read, or goes on with a tool call that was complete.
        """
        if isinstance(event, Delta):
            self._size += len(event.text) + len(event.name) + 1
            if self._size > MOST_CHARS:
                raise UnusableAnswerError(f"the provider's answer has more than {MOST_CHARS} characters")
            yield from self._take(event)
        elif isinstance(event, Ended):
            yield from self._end(event.key)
        else:
            if isinstance(event, Finished):
                yield from self._close_all()
            yield event

    def _take(self, delta: Delta) -> Iterator[SequencedEvent]:
        if self._open is not None and self._open.key == delta.key and self._open.kind is delta.kind:
            yield from self._go_on(delta)
        elif delta.kind is Kind.TOOL_CALL and delta.key in self._ended:
            if delta.text.strip():
                raise UnusableAnswerError("the provider's stream goes on with a tool call that was complete")
        elif not self._waiting and (self._open is None or self._may_close(self._open)):
            yield from self._close()
            yield from self._begin(delta)
        else:
            self._waiting.setdefault(delta.key, []).append(delta)

    def _end(self, key: PartKey) -> Iterator[SequencedEvent]:
        if self._open is not None and self._open.key == key:
            yield from self._close()
            if self._waiting:
                yield from self._begin_waiting()
        elif key in self._waiting:
            self._ended.add(key)

    def _may_close(self, part: Delta) -> bool:
        return part.kind is not Kind.TOOL_CALL or (not part.is_custom and is_object("".join(self._arguments)))

    def _begin(self, delta: Delta) -> Iterator[SequencedEvent]:
        self._open = delta
        yield Opened(delta.kind, delta.id, delta.name, delta.is_custom)
        yield from self._go_on(delta)

    def _go_on(self, delta: Delta) -> Iterator[SequencedEvent]:
        if delta.text:
            if delta.kind is Kind.TOOL_CALL:
                self._arguments.append(delta.text)
            yield Said(delta.text)
        if delta.thinking is not None:
            yield Signed(delta.thinking)

    def _close(self) -> Iterator[SequencedEvent]:
        part = self._open
        if part is None:
            return
        if part.kind is Kind.TOOL_CALL:
            if not part.is_custom and not "".join(self._arguments).strip():
                yield Said("{}")
            self._ended.add(part.key)
        self._open, self._arguments = None, []
        yield Closed()

    def _close_all(self) -> Iterator[SequencedEvent]:
        yield from self._close()
        while self._waiting:
            yield from self._begin_waiting()
            yield from self._close()

    def _begin_waiting(self) -> Iterator[SequencedEvent]:
        """Tell the part that has waited longest, and those after it that are complete."""
        while self._waiting:
            key = next(iter(self._waiting))
            first, *more = self._waiting.pop(key)
            yield from self._begin(first)
            for delta in more:
                yield from self._go_on(delta)
            if key not in self._ended:
                return
            yield from self._close()
