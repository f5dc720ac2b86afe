"""A Bedrock Converse stream, read: messages of AWS's event stream, by their event type."""

from collections.abc import Iterator
from typing import Final

from plano_asgi.translate import usage
from plano_asgi.translate.answer import Began, Delta, Ended, Failed, Finished, Kind, Stop, StreamEvent
from plano_asgi.translate.bedrock_converse.answers import CITATIONS, RUN_BY_PROVIDER, stop_of
from plano_asgi.translate.call import Keeper, Thinking
from plano_asgi.translate.taking import Taking

_STATUSES: Final = {
    "validationException": 400,
    "throttlingException": 429,
    "internalServerException": 500,
    "modelStreamErrorException": 502,
    "serviceUnavailableException": 503,
}


class StreamReader:
    """Reads the events of one answer."""

    def __init__(self) -> None:
        """Start before the first event."""
        self._stop: Stop | None = None

    def read(self, name: str, event: Taking) -> Iterator[StreamEvent]:
        """Yield what an event tells; `name` is its type."""
        match name:
            case "messageStart":
                yield Began()
            case "contentBlockStart":
                yield from self._open(event.whole("contentBlockIndex") or 0, event.required_child("start"))
            case "contentBlockDelta":
                yield from self._go_on(event.whole("contentBlockIndex") or 0, event.required_child("delta"))
            case "contentBlockStop":
                yield Ended(event.whole("contentBlockIndex") or 0)
            case "messageStop":
                self._stop = stop_of(event.text("stopReason") or "", event)
            case "metadata":
                yield Finished(self._stop or Stop.END, usage.read_bedrock(event.take("usage")))
            case _ if name.lower().endswith("exception"):
                status = _STATUSES.get(name[:1].lower() + name[1:], 502)
                yield Failed(status, event.text("message") or "the provider's stream broke off")
            case _:
                return

    def done(self) -> Iterator[StreamEvent]:
        """Yield nothing: this API has no `[DONE]`."""
        return iter(())

    def end(self) -> Iterator[StreamEvent]:
        """Yield what the end of the bytes tells: the usage alone may be missing."""
        yield Failed.cut_off() if self._stop is None else Finished(self._stop)

    def _open(self, index: int, start: Taking) -> Iterator[StreamEvent]:
        call = start.child("toolUse")
        if call is None:
            start.losses.add(start.at, RUN_BY_PROVIDER)
            return
        yield Delta(index, Kind.TOOL_CALL, "", call.required_text("toolUseId"), call.required_text("name"))

    def _go_on(self, index: int, delta: Taking) -> Iterator[StreamEvent]:
        text, call, thought = delta.text("text"), delta.child("toolUse"), delta.child("reasoningContent")
        if text is not None:
            yield Delta(index, Kind.TEXT, text)
        elif call is not None:
            yield Delta(index, Kind.TOOL_CALL, call.text("input") or "")
        elif thought is not None:
            yield Delta(index, Kind.THINKING, thought.text("text") or "", thinking=_seal(thought))
        else:
            delta.losses.add(delta.at, CITATIONS if delta.take("citation") else RUN_BY_PROVIDER)


def _seal(thought: Taking) -> Thinking | None:
    signature, redacted = thought.text("signature"), thought.text("redactedContent")
    if redacted:
        return Thinking("", redacted, Keeper.ANTHROPIC, is_redacted=True, at=thought.at)
    return Thinking("", signature, Keeper.ANTHROPIC, at=thought.at) if signature else None
