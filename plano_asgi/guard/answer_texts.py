"""The texts of answers, judged, changed and restored, whole and streamed, in all three APIs.

A stream's texts come in pieces, several side by side: choices, tool calls, blocks of content. Each is a text by itself,
and what is held back of one is told before its end is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import GuardrailError
from plano_asgi.guard.text_steps import Restoring, text_of
from plano_asgi.guard.verdicts import AnswerWatch, TextStep
from plano_asgi.wire.exact_json import read_json, write_json
from plano_asgi.wire.sse import EventReader, ServerSentEvent, write_event

_IN_JSON: Final = frozenset({"arguments", "partial_json"})
_ECHOED: Final = frozenset({"instructions", "metadata", "prompt", "tools", "user"})  # the caller's own, told again
_SAID_BY_NOBODY: Final = frozenset(
    {
        *("call_id", "encrypted_content", "finish_reason", "id", "item_id", "logprobs", "model", "object"),
        *("response_id", "role", "service_tier", "signature", "status", "stop_reason", "system_fingerprint", "type"),
    }
)
_CHAT_TEXTS: Final = ("content", "refusal", "reasoning_content", "reasoning")
_BLOCK_TEXTS: Final = ("text", "partial_json", "thinking")
_PLACES: Final = ("output_index", "content_index", "summary_index")

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AnswerTexts:
    """What is done with the texts of one answer.

    Attributes:
        watches: What is done with what the model says, in order.
    """

    watches: Sequence[AnswerWatch]

    def text(self, *, in_json: bool) -> TextStep:
        """Return what is done with one text that comes in pieces."""
        return text_of(self.watches, in_json=in_json)

    def whole(self, value: Any, key: str = "", *, is_data: bool = False, is_echo: bool = False) -> Any:  # noqa: ANN401 - JSON in, the same JSON out
        """Return a value with all its texts as they are to be told.

        Args:
            value: JSON.
            key: The key that it stands under.
            is_data: Whether it is what a tool is called with, in which every key is the caller's.
            is_echo: Whether it is what the caller has said: it is restored, and not judged.

        Raises:
            GuardrailError: The answer ends here.
        """
        if isinstance(value, str):
            return self._whole_text(value, in_json=key in _IN_JSON, is_echo=is_echo)
        if isinstance(value, list):
            return [self.whole(inner, key, is_data=is_data, is_echo=is_echo) for inner in value]
        if not isinstance(value, Mapping):
            return value
        return {
            name: inner
            if name in _SAID_BY_NOBODY and not is_data
            else self.whole(
                inner, name, is_data=is_data or name == "input", is_echo=is_echo or (name in _ECHOED and not is_data)
            )
            for name, inner in value.items()
        }

    def _whole_text(self, text: str, *, in_json: bool, is_echo: bool) -> str:
        watches = [watch for watch in self.watches if isinstance(watch, Restoring)] if is_echo else self.watches
        step = text_of(watches, in_json=in_json)
        return step.feed(text) + step.end()


def changed_answer(body: bytes, texts: AnswerTexts) -> bytes:
    """Return a whole answer with its texts as they are to be told; the same bytes where none changes or it is no JSON.

    Raises:
        GuardrailError: It ends here.
    """
    try:
        before = read_json(body)
    except (orjson.JSONDecodeError, ValueError):
        return body
    after = texts.whole(before)
    return body if after == before else write_json(after)


class AnswerStream:
    """One stream; holds at most one event, and of each text what its steps hold back.

    Attributes:
        problem: Why the stream ends here; None where it does not.
    """

    def __init__(self, api_format: ApiFormat, texts: AnswerTexts) -> None:
        """Start before the first byte of a stream of that API."""
        self.problem: GuardrailError | None = None
        self._texts = texts
        self._events = EventReader()
        self._steps: dict[tuple[object, ...], TextStep] = {}
        self._head: Json = {}
        self._about: dict[tuple[object, ...], Json] = {}
        self._inserted = 0
        self._number = -1
        self._told = {
            ApiFormat.CHAT_COMPLETIONS: self._chat,
            ApiFormat.MESSAGES: self._messages,
            ApiFormat.RESPONSES: self._responses,
        }[api_format]

    @property
    def sequence_number(self) -> int:
        """The number of the next event of a Responses stream."""
        return self._number + 1

    def feed(self, chunk: bytes) -> bytes:
        """Return what whole events are to the caller; nothing after a problem.

        Raises:
            UnusableAnswerError: One event is larger than is read.
        """
        return self._all(self._events.feed(chunk))

    def end(self) -> bytes:
        """Return what is left at the end of the stream."""
        return self._all(self._events.end())

    def _all(self, events: Sequence[ServerSentEvent]) -> bytes:
        told = bytearray()
        for event in events:
            if self.problem:
                break
            try:
                for part in self._event(event):
                    told += part
            except GuardrailError as error:
                self.problem = error
        return bytes(told)

    def _event(self, event: ServerSentEvent) -> Iterator[bytes]:
        try:
            value = read_json(event.data)
        except (orjson.JSONDecodeError, ValueError):
            value = None
        if not isinstance(value, dict):
            for rest in self._rest_before_mark():
                yield write_event(write_json(rest))
            yield write_event(event.data, name=event.name)
            return
        for told in self._told(value):
            yield write_event(write_json(told), name=str(told.get("type", "")) if event.name else "")

    def _rest_before_mark(self) -> Iterator[Json]:
        """Yield what is held of choices that have told no end, before what is no JSON: the mark of the stream's end."""
        for index in dict.fromkeys(key[0] for key in self._steps) if self._head else ():
            if rest := self._rest_of_choice(index):
                yield {**self._head, "choices": [{"index": index, "delta": rest, "finish_reason": None}]}

    def _chat(self, chunk: Json) -> Iterator[Json]:
        self._head = {name: chunk[name] for name in ("id", "object", "created", "model") if name in chunk}
        for choice in _objects(chunk.get("choices")):
            index, delta = choice.get("index"), choice.get("delta")
            if isinstance(delta, dict):
                self._feed_delta(index, delta)
            if choice.get("finish_reason") is not None and (rest := self._rest_of_choice(index)):
                last = {"index": index, "delta": rest, "finish_reason": None}
                yield {**chunk, "choices": [last], **({"usage": None} if "usage" in chunk else {})}
        yield chunk

    def _feed_delta(self, index: object, delta: Json) -> None:
        for name in _CHAT_TEXTS:
            if isinstance(delta.get(name), str):
                delta[name] = self._text(index, name).feed(delta[name])
        for call in _objects(delta.get("tool_calls")):
            function = call.get("function")
            if isinstance(function, dict) and isinstance(function.get("arguments"), str):
                text = self._text(index, "tool_calls", call.get("index"), in_json=True)
                function["arguments"] = text.feed(function["arguments"])

    def _rest_of_choice(self, index: object) -> Json:
        rest: Json = {}
        for key in [key for key in self._steps if key[0] == index]:
            if held := self._steps.pop(key).end():
                _, name, *call = key
                if name == "tool_calls":
                    rest.setdefault("tool_calls", []).append({"index": call[0], "function": {"arguments": held}})
                else:
                    rest[str(name)] = held
        return rest

    def _messages(self, event: Json) -> Iterator[Json]:
        index, delta = event.get("index"), event.get("delta")
        if event.get("type") == "content_block_delta" and isinstance(delta, dict):
            for name in _BLOCK_TEXTS:
                if isinstance(delta.get(name), str):
                    text = self._text(index, delta.get("type"), name, in_json=name in _IN_JSON)
                    delta[name] = text.feed(delta[name])
        elif event.get("type") == "content_block_stop":
            for key in [key for key in self._steps if key[0] == index]:
                if held := self._steps.pop(key).end():
                    yield {"type": "content_block_delta", "index": index, "delta": {"type": key[1], str(key[2]): held}}
        elif event.get("type") == "content_block_start":
            event = self._texts.whole(event)
        yield event

    def _responses(self, event: Json) -> Iterator[Json]:
        kind = str(event.get("type"))
        place = tuple(event.get(name) for name in _PLACES)
        if kind.endswith(".delta") and isinstance(event.get("delta"), str):
            key = (kind, *place)
            self._about[key] = {name: event[name] for name in ("type", "item_id", *_PLACES) if name in event}
            text = self._text(*key, in_json="arguments" in kind)
            yield self._numbered({**event, "delta": text.feed(event["delta"])})
            return
        ended = [(kind.removesuffix(".done") + ".delta", *place)] if kind.endswith(".done") else []
        for key in [*self._steps] if kind in _ENDS else ended:
            yield from self._rest_of_text(key, event)
        yield self._numbered(self._texts.whole(event))

    def _rest_of_text(self, key: tuple[object, ...], before: Json) -> Iterator[Json]:
        text = self._steps.pop(key, None)
        if text and (held := text.end()):
            number = {"sequence_number": before["sequence_number"]} if "sequence_number" in before else {}
            yield self._numbered({**self._about[key], **number, "delta": held})
            self._inserted += 1

    def _numbered(self, event: Json) -> Json:
        """Return an event with its number counted on from those that were inserted before it."""
        number = event.get("sequence_number")
        if not isinstance(number, int):
            return event
        self._number = number + self._inserted
        return {**event, "sequence_number": self._number}

    def _text(self, *key: object, in_json: bool = False) -> TextStep:
        if key not in self._steps:
            self._steps[key] = self._texts.text(in_json=in_json)
        return self._steps[key]


def _objects(value: object) -> Iterator[Json]:
    if isinstance(value, list):
        yield from (inner for inner in value if isinstance(inner, dict))
