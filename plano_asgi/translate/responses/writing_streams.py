"""An OpenAI Responses stream, written; its last event repeats the whole answer."""

from collections.abc import Iterator

from plano_asgi.translate import usage
from plano_asgi.translate.answer import Began, Finished, Kind, Usage
from plano_asgi.translate.call import Refusal, Text, Thinking, ToolCall
from plano_asgi.translate.context import TranslationContext
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.responses.answers import (
    ending,
    skeleton,
    write_call,
    write_message,
    write_reasoning,
    write_words,
)
from plano_asgi.translate.sequencing import Closed, Opened, Said, SequencedEvent, Signed
from plano_asgi.translate.thoughts import OUR_REASONING
from plano_asgi.wire.exact_json import write_json
from plano_asgi.wire.fields import Fields
from plano_asgi.wire.sse import write_event

_SPOKEN = frozenset({Kind.TEXT, Kind.REFUSAL})
_DELTAS = {
    Kind.TEXT: "response.output_text",
    Kind.REFUSAL: "response.refusal",
    Kind.THINKING: "response.reasoning_summary_text",
}


class StreamWriter:
    """Writes one answer as events; holds what was said until the end, which repeats it."""

    def __init__(self, context: TranslationContext, losses: Losses) -> None:
        """Start before the first event."""
        self._context = context
        self._losses = losses
        self._response: dict[str, object] = {}
        self._output: list[Fields] = []
        self._message: list[Fields] | None = None  # the words of the message item that is open
        self._part = Opened(Kind.TEXT)
        self._text: list[str] = []
        self._seal: Thinking | None = None
        self._has_refusal = False
        self.sequence_number = 0

    def write(self, event: SequencedEvent) -> Iterator[bytes]:
        """Yield the events that an event becomes."""
        match event:
            case Began():
                self._response = skeleton(self._context, answer_id=event.id, model=event.model)
                yield self._event("response.created", response=self._response)
                yield self._event("response.in_progress", response=self._response)
            case Opened():
                yield from self._open(event)
            case Said():
                self._text.append(event.text)
                yield self._more(event.text)
            case Signed():
                self._seal = event.thinking
            case Closed():
                yield from self._close()
            case Finished():
                yield from self._finish(event)
            case _:
                return

    @property
    def _item_id(self) -> str:
        return f"{self._context.call_id}_{len(self._output)}"

    @property
    def _place(self) -> dict[str, object]:
        """Where the part that is open stands in the answer."""
        place: dict[str, object] = {"output_index": len(self._output)}
        if self._part.kind is Kind.TOOL_CALL:
            return place | {"item_id": f"{'ctc' if self._part.is_custom else 'fc'}_{self._item_id}"}
        if self._part.kind is Kind.THINKING:
            return place | {"item_id": OUR_REASONING + self._item_id, "summary_index": 0}
        return place | {"item_id": f"msg_{self._item_id}", "content_index": len(self._message or ())}

    def _open(self, part: Opened) -> Iterator[bytes]:
        if part.kind not in _SPOKEN:
            yield from self._close_message()
        self._part, self._text, self._seal = part, [], None
        if part.kind in _SPOKEN:
            yield from self._open_words()
        elif part.kind is Kind.THINKING:
            yield self._add(write_reasoning(Thinking(""), self._item_id))
            summary = {"type": "summary_text", "text": ""}
            yield self._event("response.reasoning_summary_part.added", **self._place, part=summary)
        else:
            empty = write_call(self._call(), self._item_id, status="in_progress")
            yield self._add(empty | {"input" if part.is_custom else "arguments": ""})

    def _open_words(self) -> Iterator[bytes]:
        if self._message is None:
            self._message = []
            yield self._add(write_message([], self._item_id, status="in_progress"))
        yield self._event("response.content_part.added", **self._place, part=write_words(self._words()))

    def _more(self, text: str) -> bytes:
        kind = self._part.kind
        if kind is Kind.TOOL_CALL:
            return self._event(f"{self._arguments}.delta", **self._place, delta=text)
        logprobs: dict[str, object] = {"logprobs": []} if kind is Kind.TEXT else {}
        return self._event(f"{_DELTAS[kind]}.delta", **self._place, delta=text, **logprobs)

    def _close(self) -> Iterator[bytes]:
        text = "".join(self._text)
        match self._part.kind:
            case Kind.TOOL_CALL:
                key = "input" if self._part.is_custom else "arguments"
                yield self._event(f"{self._arguments}.done", **self._place, **{key: text}, name=self._part.name)
                yield self._complete(write_call(self._call(), self._item_id))
            case Kind.THINKING:
                yield self._event("response.reasoning_summary_text.done", **self._place, text=text)
                summary = {"type": "summary_text", "text": text}
                yield self._event("response.reasoning_summary_part.done", **self._place, part=summary)
                seal = self._seal or Thinking("")
                thought = Thinking(text, seal.signature, seal.maker, is_redacted=seal.is_redacted)
                yield self._complete(write_reasoning(thought, self._item_id))
            case _:
                yield from self._close_words(text)

    def _close_words(self, text: str) -> Iterator[bytes]:
        words = write_words(self._words())
        if self._part.kind is Kind.REFUSAL:
            self._has_refusal = True
            yield self._event("response.refusal.done", **self._place, refusal=text)
        else:
            yield self._event("response.output_text.done", **self._place, text=text, logprobs=[])
        yield self._event("response.content_part.done", **self._place, part=words)
        if self._message is not None:
            self._message.append(words)

    def _close_message(self) -> Iterator[bytes]:
        if self._message is not None:
            message = write_message(self._message, self._item_id)
            self._message = None
            yield self._complete(message)

    def _finish(self, end: Finished) -> Iterator[bytes]:
        yield from self._close_message()
        told = ending(end.stop, self._losses, has_refusal=self._has_refusal)
        spent = usage.as_responses(end.usage or Usage())
        whole = self._response | told | {"output": self._output, "usage": spent}
        yield self._event(f"response.{told['status']}", response=whole)

    @property
    def _arguments(self) -> str:
        return "response.custom_tool_call_input" if self._part.is_custom else "response.function_call_arguments"

    def _call(self) -> ToolCall:
        return ToolCall(self._part.id, self._part.name, "".join(self._text), self._part.is_custom)

    def _words(self) -> Text | Refusal:
        text = "".join(self._text)
        return Refusal(text) if self._part.kind is Kind.REFUSAL else Text(text)

    def _add(self, item: Fields) -> bytes:
        return self._event("response.output_item.added", output_index=len(self._output), item=item)

    def _complete(self, item: Fields) -> bytes:
        index = len(self._output)
        self._output.append(item)
        return self._event("response.output_item.done", output_index=index, item=item)

    def _event(self, kind: str, **fields: object) -> bytes:
        body = {"type": kind, "sequence_number": self.sequence_number, **fields}
        self.sequence_number += 1
        return write_event(write_json(body), name=kind)
