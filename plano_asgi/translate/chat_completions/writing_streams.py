"""A Chat Completions stream, written."""

from collections.abc import Iterator

from plano_asgi.translate import usage
from plano_asgi.translate.answer import Began, Finished, Kind
from plano_asgi.translate.chat_completions.answers import finish_of, note_signature
from plano_asgi.translate.context import TranslationContext
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.sequencing import Opened, Said, SequencedEvent, Signed
from plano_asgi.wire.exact_json import write_json
from plano_asgi.wire.sse import write_event

_KEYS = {Kind.TEXT: "content", Kind.REFUSAL: "refusal", Kind.THINKING: "reasoning_content"}


class StreamWriter:
    """Writes one answer as chunks."""

    def __init__(self, context: TranslationContext, losses: Losses) -> None:
        """Start before the first chunk."""
        self._context = context
        self._losses = losses
        self._head: dict[str, object] = {}
        self._kind = Kind.TEXT
        self._kinds: set[Kind] = set()
        self._is_custom = False
        self._calls = 0
        self.sequence_number = 0

    def write(self, event: SequencedEvent) -> Iterator[bytes]:
        """Yield the chunks that an event becomes."""
        match event:
            case Began():
                self._head = {
                    "id": event.id or f"chatcmpl-{self._context.call_id}",
                    "object": "chat.completion.chunk",
                    "created": self._context.now,
                    "model": event.model or self._context.model,
                }
                yield self._chunk({"role": "assistant", "content": ""})
            case Opened():
                yield from self._open(event)
            case Said():
                yield self._chunk(self._more(event.text))
            case Signed():
                note_signature(event.thinking, self._losses)
            case Finished():
                yield from self._finish(event)
            case _:
                return

    def _open(self, part: Opened) -> Iterator[bytes]:
        if part.kind is Kind.THINKING and Kind.THINKING in self._kinds:
            yield self._chunk({_KEYS[Kind.THINKING]: "\n"})
        self._kind, self._is_custom = part.kind, part.is_custom
        self._kinds.add(part.kind)
        if part.kind is Kind.TOOL_CALL:
            self._calls += 1
            kind = "custom" if part.is_custom else "function"
            called = {"name": part.name, "input" if part.is_custom else "arguments": ""}
            call = {"index": self._calls - 1, "id": part.id, "type": kind, kind: called}
            yield self._chunk({"tool_calls": [call]})

    def _more(self, text: str) -> dict[str, object]:
        if self._kind is not Kind.TOOL_CALL:
            return {_KEYS[self._kind]: text}
        called = {"custom": {"input": text}} if self._is_custom else {"function": {"arguments": text}}
        return {"tool_calls": [{"index": self._calls - 1, **called}]}

    def _finish(self, end: Finished) -> Iterator[bytes]:
        finish = finish_of(end.stop, self._losses, has_refusal=Kind.REFUSAL in self._kinds)
        yield self._chunk({}, finish)
        if self._context.wants_usage and end.usage is not None:
            yield write_event(write_json({**self._head, "choices": [], "usage": usage.as_chat(end.usage)}))
        yield write_event(b"[DONE]")

    def _chunk(self, delta: dict[str, object], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return write_event(write_json({**self._head, "choices": [choice]}))
