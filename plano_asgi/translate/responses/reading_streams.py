"""An OpenAI Responses stream, read."""

from collections.abc import Iterator
from typing import Final

from plano_asgi.translate import usage
from plano_asgi.translate.answer import Began, Delta, Ended, Failed, Finished, Kind, StreamEvent
from plano_asgi.translate.call import Refusal, Thinking, ToolCall
from plano_asgi.translate.responses.answers import stop_of
from plano_asgi.translate.responses.reading_items import read_reasoning
from plano_asgi.translate.taking import Taking

_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input"}
_KNOWN_ITEMS: Final = frozenset({"message", "reasoning", *_CALLS})
_WORDS: Final = {
    "response.output_text.delta": Kind.TEXT,
    "response.refusal.delta": Kind.REFUSAL,
}
_THOUGHTS: Final = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_ARGUMENTS: Final = frozenset({"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete"})


class StreamReader:
    """Reads the events of one answer."""

    def __init__(self) -> None:
        """Start before the first event."""
        self._has_begun = False
        self._begun_calls: set[int] = set()
        self._with_arguments: set[int] = set()
        self._said: list[object] = []

    def read(self, name: str, event: Taking) -> Iterator[StreamEvent]:
        """Yield what an event tells."""
        kind = event.text("type") or name
        if kind in {"response.failed", "error"}:
            yield self._fail(event)
        elif kind in _ENDS:
            yield self._finish(event.required_child("response"))
        elif kind == "response.created" and not self._has_begun:
            self._has_begun = True
            response = event.required_child("response")
            yield Began(response.text("id") or "", response.text("model") or "")
        elif kind == "response.output_item.added":
            yield from self._add(event.whole("output_index") or 0, event.required_child("item"))
        elif kind == "response.output_item.done":
            yield from self._complete(event.whole("output_index") or 0, event.required_child("item"))
        else:
            yield from self._go_on(kind, event)

    def done(self) -> Iterator[StreamEvent]:
        """Yield nothing: this API has no `[DONE]`."""
        return iter(())

    def end(self) -> Iterator[StreamEvent]:
        """Yield what the end of the bytes tells when no event told the end."""
        yield Failed.cut_off()

    def _go_on(self, kind: str, event: Taking) -> Iterator[StreamEvent]:
        item = event.whole("output_index") or 0
        if kind in _WORDS:
            if _WORDS[kind] is Kind.REFUSAL:
                self._said.append(Refusal(""))
            yield Delta((item, event.whole("content_index") or 0), _WORDS[kind], event.text("delta") or "")
        elif kind in _THOUGHTS:
            yield Delta(item, Kind.THINKING, event.text("delta") or "")
        elif kind in _ARGUMENTS:
            self._with_arguments.add(item)
            yield Delta(item, Kind.TOOL_CALL, event.text("delta") or "")
        elif kind == "response.reasoning_summary_part.added" and event.whole("summary_index"):
            yield Delta(item, Kind.THINKING, "\n")
        elif kind == "response.content_part.done":
            yield Ended((item, event.whole("content_index") or 0))
        elif kind == "response.output_text.annotation.added":
            event.losses.add("annotation", "citations are not translated, their words are")

    def _add(self, index: int, item: Taking) -> Iterator[StreamEvent]:
        kind = item.required_text("type")
        if kind in _CALLS:
            yield self._call(index, item, kind)
        elif kind not in _KNOWN_ITEMS:
            item.losses.add(item.at, "what its provider did or keeps is not translated")

    def _call(self, index: int, item: Taking, kind: str) -> Delta:
        self._begun_calls.add(index)
        self._said.append(ToolCall("", "", ""))
        call_id, name = item.required_text("call_id"), item.required_text("name")
        return Delta(index, Kind.TOOL_CALL, "", call_id, name, is_custom=kind == "custom_tool_call")

    def _complete(self, index: int, item: Taking) -> Iterator[StreamEvent]:
        kind = item.required_text("type")
        if kind in _CALLS:
            if index not in self._begun_calls:
                yield self._call(index, item, kind)
            if index not in self._with_arguments:
                yield Delta(index, Kind.TOOL_CALL, item.text(_CALLS[kind]) or "")
        elif kind == "reasoning":
            thought = read_reasoning(item)
            if thought.signature:
                signed = Thinking("", thought.signature, thought.maker, thought.item_id, at=item.at)
                yield Delta(index, Kind.THINKING, thinking=signed)
        yield Ended(index)

    def _finish(self, response: Taking) -> StreamEvent:
        return Finished(stop_of(response, tuple(self._said)), usage.read_openai(response.take("usage")))

    def _fail(self, event: Taking) -> StreamEvent:
        response = event.child("response")
        if response is not None:
            return Failed.from_body(response.take("error"))
        error = event.take("error")  # some servers nest what OpenAI writes beside the type
        return Failed.from_body(error or {key: event.take(key) for key in ("code", "message")})
