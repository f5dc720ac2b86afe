"""A Chat Completions answer, read and written."""

from collections.abc import Iterator, Mapping
from typing import Final

from plano_asgi.errors import UnusableAnswerError
from plano_asgi.translate import usage
from plano_asgi.translate.answer import Answer, Said, Stop
from plano_asgi.translate.call import Refusal, Text, Thinking, ToolCall
from plano_asgi.translate.context import TranslationContext
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.options import without_none
from plano_asgi.translate.taking import Taking, children
from plano_asgi.wire.fields import an_array, required, wrong_type

STOPS: Final[Mapping[str, Stop]] = {
    "stop": Stop.END,
    "eos": Stop.END,  # this and the next two: what servers of open models say
    "end_turn": Stop.END,
    "stop_sequence": Stop.END,
    "length": Stop.MAX_TOKENS,
    "tool_calls": Stop.TOOL_CALLS,
    "content_filter": Stop.REFUSAL,
}
_FINISH: Final[Mapping[Stop, str]] = {
    Stop.END: "stop",
    Stop.STOP_SEQUENCE: "stop",
    Stop.PAUSE: "stop",
    Stop.MAX_TOKENS: "length",
    Stop.CONTEXT_WINDOW: "length",
    Stop.TOOL_CALLS: "tool_calls",
    Stop.REFUSAL: "content_filter",
}
BOOKKEEPING: Final = ("created", "object", "obfuscation", "system_fingerprint", "service_tier")
_NOT_ASKED: Final = "only the first choice is translated"


def read_answer(body: Taking) -> Answer:
    """Return what a provider answered.

    Raises:
        WireFormatError: The body does not have this API's shape.
    """
    body.ignore(*BOOKKEEPING)
    array = an_array(required({"choices": body.take("choices")}, "choices"), "choices")
    choice, *others = children(array, "choices", body.losses)
    for other in others:
        body.losses.add(other.at, _NOT_ASKED)
    parts = tuple(_parts(choice.required_child("message")))
    choice.lose("logprobs", _NOT_CARRIED)
    choice.ignore("index")
    answer = Answer(
        parts=parts,
        stop=stop_of(choice.text("finish_reason"), parts),
        id=body.text("id") or "",
        model=body.text("model") or "",
        usage=usage.read_openai(body.take("usage")),
    )
    choice.rest()
    body.rest()
    return answer


def stop_of(finish: str | None, parts: tuple[object, ...]) -> Stop:
    """Return why an answer of these parts ended; a tool's call or a refusal tells more than `stop`.

    Raises:
        UnusableAnswerError: It did not come to an end (`abort`, `error` and the like).
    """
    if finish and finish not in STOPS:
        raise UnusableAnswerError("the provider gave up its answer; try again, or another model")
    stop = STOPS.get(finish or "", Stop.END)
    if stop is Stop.END and any(isinstance(part, ToolCall) for part in parts):
        return Stop.TOOL_CALLS
    if stop is Stop.END and any(isinstance(part, Refusal) for part in parts):
        return Stop.REFUSAL
    return stop


def finish_of(stop: Stop, losses: Losses, *, has_refusal: bool) -> str:
    """Return the `finish_reason` for an end; what it does not tell is a loss."""
    if stop in {Stop.PAUSE, Stop.CONTEXT_WINDOW, Stop.STOP_SEQUENCE}:
        losses.add("stop_reason", f"{stop.value} is told as {_FINISH[stop]}")
    if stop is Stop.REFUSAL and has_refusal:
        return "stop"
    return _FINISH[stop]


_NOT_CARRIED: Final = "the other API has no such field"


def _parts(message: Taking) -> Iterator[Said]:
    for key in ("reasoning_content", "reasoning"):
        thoughts = message.text(key)
        if thoughts:
            yield Thinking(thoughts, at=message.place(key))
            break
    message.ignore("reasoning_content", "reasoning", "role")
    content = message.take("content")
    if isinstance(content, list):
        texts = [part.text("text") or "" for part in children(content, message.place("content"), message.losses)]
        content = "".join(texts)
    if content is not None and not isinstance(content, str):
        raise wrong_type(message.place("content"), "a string")
    if content:
        yield Text(content, message.place("content"))
    refusal = message.text("refusal")
    if refusal:
        yield Refusal(refusal, message.place("refusal"))
    for call in message.children("tool_calls"):
        yield _tool_call(call)
    message.rest()


def _tool_call(call: Taking) -> ToolCall:
    is_custom = call.text("type") == "custom"
    called = call.required_child("custom" if is_custom else "function")
    arguments = called.text("input" if is_custom else "arguments") or ""
    return ToolCall(call.text("id") or "", called.required_text("name"), arguments, is_custom, call.at)


def write_answer(answer: Answer, context: TranslationContext, losses: Losses) -> dict[str, object]:
    """Return the answer as this API's body; what it cannot carry is noted."""
    text = "".join(part.text for part in answer.parts if isinstance(part, Text))
    refusal = "".join(part.text for part in answer.parts if isinstance(part, Refusal))
    thoughts = [part for part in answer.parts if isinstance(part, Thinking)]
    for thought in thoughts:
        note_signature(thought, losses)
    calls = [write_tool_call(part) for part in answer.parts if isinstance(part, ToolCall)]
    said = "\n".join(thought.text for thought in thoughts if thought.text)
    optional = without_none({"tool_calls": calls or None, "reasoning_content": said or None})
    message = {"role": "assistant", "content": text or None, "refusal": refusal or None, **optional}
    finish = finish_of(answer.stop, losses, has_refusal=bool(refusal))
    body: dict[str, object] = {
        "id": answer.id or f"chatcmpl-{context.call_id}",
        "object": "chat.completion",
        "created": context.now,
        "model": answer.model or context.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
    }
    return body if answer.usage is None else body | {"usage": usage.as_chat(answer.usage)}


def note_signature(thinking: Thinking, losses: Losses) -> None:
    """Note a signature as lost: without it, the model does not know its thoughts again."""
    if thinking.signature:
        losses.add(thinking.at, "this API has no place for the signature of thoughts")


def write_tool_call(call: ToolCall) -> dict[str, object]:
    """Return a tool's call as this API writes it."""
    if call.is_custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}
