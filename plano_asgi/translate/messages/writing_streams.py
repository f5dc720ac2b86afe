"""An Anthropic Messages stream, written."""

from collections.abc import Iterator

from plano_asgi.translate import usage
from plano_asgi.translate.answer import Began, Finished, Kind, Usage
from plano_asgi.translate.call import Thinking
from plano_asgi.translate.context import TranslationContext
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.messages.answers import REASONS, signature_of
from plano_asgi.translate.sequencing import Closed, Opened, Said, SequencedEvent, Signed
from plano_asgi.wire.exact_json import write_json
from plano_asgi.wire.sse import write_event

_DELTAS = {
    Kind.TEXT: ("text_delta", "text"),
    Kind.REFUSAL: ("text_delta", "text"),
    Kind.THINKING: ("thinking_delta", "thinking"),
    Kind.TOOL_CALL: ("input_json_delta", "partial_json"),
}


class StreamWriter:
    """Writes one answer as events."""

    def __init__(self, context: TranslationContext, losses: Losses) -> None:
        """Start before the first event."""
        self._context = context
        self._losses = losses
        self._index = 0
        self._part = Opened(Kind.TEXT)
        self._is_open = False
        self.sequence_number = 0

    def write(self, event: SequencedEvent) -> Iterator[bytes]:
        """Yield the events that an event becomes."""
        match event:
            case Began():
                yield self._start(event)
            case Opened():
                self._part = event
                if event.kind is not Kind.THINKING:  # thoughts may turn out to be redacted
                    yield self._open(self._empty_block())
            case Said():
                yield from self._say(event.text)
            case Signed():
                yield from self._sign(event.thinking)
            case Closed():
                yield from self._close()
            case Finished():
                yield from self._finish(event)
            case _:
                return

    def _start(self, event: Began) -> bytes:
        message: dict[str, object] = {
            "id": event.id or f"msg_{self._context.call_id}",
            "type": "message",
            "role": "assistant",
            "model": event.model or self._context.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage.as_messages(event.usage or Usage()),
        }
        return _event("message_start", {"message": message})

    def _empty_block(self) -> dict[str, object]:
        match self._part.kind:
            case Kind.TOOL_CALL:
                return {"type": "tool_use", "id": self._part.id, "name": self._part.name, "input": {}}
            case Kind.THINKING:
                return {"type": "thinking", "thinking": "", "signature": ""}
            case _:
                return {"type": "text", "text": ""}

    def _open(self, block: dict[str, object]) -> bytes:
        self._is_open = True
        return _event("content_block_start", {"index": self._index, "content_block": block})

    def _opened(self) -> Iterator[bytes]:
        if not self._is_open:
            yield self._open(self._empty_block())

    def _say(self, text: str) -> Iterator[bytes]:
        yield from self._opened()
        kind, key = _DELTAS[self._part.kind]
        yield _event("content_block_delta", {"index": self._index, "delta": {"type": kind, key: text}})

    def _sign(self, thinking: Thinking) -> Iterator[bytes]:
        if thinking.is_redacted:
            if self._is_open:
                yield from self._close()
            yield self._open({"type": "redacted_thinking", "data": thinking.signature})
            return
        yield from self._opened()
        delta = {"type": "signature_delta", "signature": signature_of(thinking)}
        yield _event("content_block_delta", {"index": self._index, "delta": delta})

    def _close(self) -> Iterator[bytes]:
        yield from self._opened()
        yield _event("content_block_stop", {"index": self._index})
        self._is_open = False
        self._index += 1

    def _finish(self, end: Finished) -> Iterator[bytes]:
        delta = {"stop_reason": REASONS[end.stop], "stop_sequence": end.stop_sequence}
        yield _event("message_delta", {"delta": delta, "usage": usage.as_messages(end.usage or Usage())})
        yield _event("message_stop", {})


def _event(kind: str, fields: dict[str, object]) -> bytes:
    return write_event(write_json({"type": kind, **fields}), name=kind)
