"""A Chat Completions stream, read."""

from collections.abc import Iterator

from plano_asgi.translate import usage
from plano_asgi.translate.answer import Began, Delta, Failed, Finished, Kind, Stop, StreamEvent, Usage
from plano_asgi.translate.chat_completions.answers import BOOKKEEPING, STOPS
from plano_asgi.translate.taking import NO_SUCH_FIELD, Taking
from plano_asgi.wire.fields import missing

_WORDS = {"content": Kind.TEXT, "refusal": Kind.REFUSAL, "reasoning_content": Kind.THINKING, "reasoning": Kind.THINKING}


class StreamReader:
    """Reads the chunks of one answer."""

    def __init__(self) -> None:
        """Start before the first chunk."""
        self._has_begun = False
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._kinds: set[Kind] = set()
        self._calls = 0

    def read(self, name: str, chunk: Taking) -> Iterator[StreamEvent]:
        """Yield what a chunk tells; an error may come as one."""
        error = chunk.take("error")
        if error is not None or name == "error":
            yield Failed.from_body(error)
            return
        if not self._has_begun:
            self._has_begun = True
            yield Began(chunk.text("id") or "", chunk.text("model") or "")
        self._usage = usage.read_openai(chunk.take("usage")) or self._usage
        for choice in chunk.children("choices"):
            if choice.whole("index"):
                choice.losses.add(choice.at, "only the first choice is translated")
                continue
            choice.lose("logprobs", NO_SUCH_FIELD)
            self._finish = choice.text("finish_reason") or self._finish
            delta = choice.child("delta")
            if delta is not None:
                yield from self._read_delta(delta)
            choice.rest()
        chunk.ignore("id", "model", *BOOKKEEPING)
        chunk.rest()

    def done(self) -> Iterator[StreamEvent]:
        """Yield the end that `[DONE]` tells."""
        yield self._ended()

    def end(self) -> Iterator[StreamEvent]:
        """Yield what the end of the bytes tells: some providers leave `[DONE]` out after a reason to finish."""
        yield self._ended() if self._finish else Failed.cut_off()

    def _read_delta(self, delta: Taking) -> Iterator[StreamEvent]:
        for key, kind in _WORDS.items():
            words = delta.text(key)
            if words and not (key == "reasoning" and delta.text("reasoning_content")):
                self._kinds.add(kind)
                yield Delta(kind.value, kind, words)
        for call in delta.children("tool_calls"):
            yield self._read_call(call)
        delta.ignore("role")
        delta.rest()

    def _read_call(self, call: Taking) -> Delta:
        """Return more of a tool's call; a call with an id and no index is the next one."""
        index, call_id = call.whole("index"), call.text("id") or ""
        if index is None:
            index = self._calls if call_id else max(0, self._calls - 1)
        is_custom = call.text("type") == "custom"
        called = call.child("custom" if is_custom else "function")
        name = (called.text("name") or "") if called else ""
        arguments = (called.text("input" if is_custom else "arguments") or "") if called else ""
        if index >= self._calls:
            if not name:
                raise missing(call.place("function.name"))
            self._calls = index + 1
        self._kinds.add(Kind.TOOL_CALL)
        return Delta((Kind.TOOL_CALL.value, index), Kind.TOOL_CALL, arguments, call_id, name, is_custom=is_custom)

    def _ended(self) -> StreamEvent:
        if self._finish and self._finish not in STOPS:
            return Failed(502, "the provider gave up its answer; try again", "upstream_incomplete")
        return Finished(self._stop(), self._usage)

    def _stop(self) -> Stop:
        stop = STOPS.get(self._finish or "", Stop.END)
        if stop is not Stop.END:
            return stop
        if Kind.TOOL_CALL in self._kinds:
            return Stop.TOOL_CALLS
        return Stop.REFUSAL if Kind.REFUSAL in self._kinds else Stop.END
