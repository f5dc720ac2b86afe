"""An Anthropic Messages stream, read."""

from collections.abc import Iterator

from plano_asgi.translate import usage
from plano_asgi.translate.answer import Began, Delta, Ended, Failed, Finished, Kind, Stop, StreamEvent, Usage
from plano_asgi.translate.call import Keeper, Thinking
from plano_asgi.translate.messages.answers import RUN_BY_PROVIDER, stop_of
from plano_asgi.translate.taking import Taking
from plano_asgi.translate.tool_calls import as_text


class StreamReader:
    """Reads the events of one answer."""

    def __init__(self) -> None:
        """Start before the first event."""
        self._stop = Stop.END
        self._stop_sequence: str | None = None
        self._usage: Usage | None = None
        self._kinds: dict[int, Kind] = {}

    def read(self, name: str, event: Taking) -> Iterator[StreamEvent]:
        """Yield what an event tells."""
        match event.text("type") or name:
            case "message_start":
                yield self._start(event.required_child("message"))
            case "content_block_start":
                yield from self._open(event.whole("index") or 0, event.required_child("content_block"))
            case "content_block_delta":
                yield from self._go_on(event.whole("index") or 0, event.required_child("delta"))
            case "content_block_stop":
                yield Ended(event.whole("index") or 0)
            case "message_delta":
                yield from self._turn_out(event)
            case "message_stop":
                yield Finished(self._stop, self._usage, self._stop_sequence)
            case "error":
                yield Failed.from_body(event.take("error"))
            case _:
                return

    def done(self) -> Iterator[StreamEvent]:
        """Yield nothing: this API has no `[DONE]`."""
        return iter(())

    def end(self) -> Iterator[StreamEvent]:
        """Yield what the end of the bytes tells when no event told the end."""
        yield Failed.cut_off()

    def _start(self, message: Taking) -> StreamEvent:
        self._usage = usage.read_anthropic(message.take("usage"))
        return Began(message.text("id") or "", message.text("model") or "", self._usage)

    def _open(self, index: int, block: Taking) -> Iterator[StreamEvent]:
        match block.required_text("type"):
            case "text":
                self._kinds[index] = Kind.TEXT
                yield Delta(index, Kind.TEXT, block.text("text") or "")
            case "tool_use":
                self._kinds[index] = Kind.TOOL_CALL
                first = as_text(block.fields("input") or {}) if block.take("input") else ""
                yield Delta(index, Kind.TOOL_CALL, first, block.required_text("id"), block.required_text("name"))
            case "thinking":
                self._kinds[index] = Kind.THINKING
                yield Delta(index, Kind.THINKING, block.text("thinking") or "")
            case "redacted_thinking":
                self._kinds[index] = Kind.THINKING
                sealed = Thinking("", block.required_text("data"), Keeper.ANTHROPIC, is_redacted=True, at=block.at)
                yield Delta(index, Kind.THINKING, thinking=sealed)
            case _:
                block.losses.add(block.at, RUN_BY_PROVIDER)

    def _go_on(self, index: int, delta: Taking) -> Iterator[StreamEvent]:
        kind = self._kinds.get(index)
        if kind is None:
            return
        match delta.required_text("type"):
            case "text_delta":
                yield Delta(index, kind, delta.text("text") or "")
            case "input_json_delta":
                yield Delta(index, kind, delta.text("partial_json") or "")
            case "thinking_delta":
                yield Delta(index, kind, delta.text("thinking") or "")
            case "signature_delta":
                signed = Thinking("", delta.text("signature") or "", Keeper.ANTHROPIC, at=delta.at)
                yield Delta(index, kind, thinking=signed if signed.signature else None)
            case _:
                delta.losses.add(delta.at, "the other API has no such part")

    def _turn_out(self, event: Taking) -> Iterator[StreamEvent]:
        self._usage = usage.read_anthropic(event.take("usage"), before=self._usage)
        delta = event.required_child("delta")
        self._stop = stop_of(delta, before=self._stop)
        self._stop_sequence = delta.text("stop_sequence")
        details = delta.child("stop_details")
        explanation = details.text("explanation") if details else None
        if explanation:
            yield Delta("refusal", Kind.REFUSAL, explanation)
        if details:
            details.ignore("type")
            details.rest()
        delta.rest()
