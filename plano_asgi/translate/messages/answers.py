"""An Anthropic Messages answer, read and written."""

from collections.abc import Callable, Mapping
from typing import Final

from plano_asgi.translate import usage
from plano_asgi.translate.answer import Answer, Said, Stop, Usage
from plano_asgi.translate.call import Keeper, Refusal, Text, Thinking, ToolCall
from plano_asgi.translate.context import TranslationContext
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.taking import NO_SUCH_FIELD, Taking
from plano_asgi.translate.thoughts import marked
from plano_asgi.translate.tool_calls import as_object, as_text
from plano_asgi.wire.fields import missing

STOPS: Final[Mapping[str, Stop]] = {
    "end_turn": Stop.END,
    "max_tokens": Stop.MAX_TOKENS,
    "stop_sequence": Stop.STOP_SEQUENCE,
    "tool_use": Stop.TOOL_CALLS,
    "refusal": Stop.REFUSAL,
    "pause_turn": Stop.PAUSE,
    "model_context_window_exceeded": Stop.CONTEXT_WINDOW,
}
REASONS: Final[Mapping[Stop, str]] = {stop: reason for reason, stop in STOPS.items()}
RUN_BY_PROVIDER: Final = "what its provider did is not translated"


def read_answer(body: Taking) -> Answer:
    """Return what a provider answered.

    Raises:
        WireFormatError: The body does not have this API's shape.
    """
    if body.take("content") is None:
        raise missing("content")
    parts = [part for block in body.children("content") if (part := _part(block)) is not None]
    stop = stop_of(body)
    details = body.child("stop_details")
    explanation = details.text("explanation") if details else None
    if details:
        details.ignore("type")
        details.rest()
    if explanation:
        parts.append(Refusal(explanation, "stop_details.explanation"))
    body.ignore("type", "role")
    answer = Answer(
        parts=tuple(parts),
        stop=stop,
        id=body.text("id") or "",
        model=body.text("model") or "",
        stop_sequence=body.text("stop_sequence"),
        usage=usage.read_anthropic(body.take("usage")),
    )
    body.rest()
    return answer


def stop_of(body: Taking, *, before: Stop = Stop.END) -> Stop:
    """Return why an answer ended; a reason that is unknown here is a loss, and told as the one before."""
    reason = body.text("stop_reason")
    if reason and reason not in STOPS:
        body.losses.add(body.place("stop_reason"), "the other API has no such reason to end")
    return STOPS.get(reason or "", before)


def _part(block: Taking) -> Said | None:
    read = _BLOCKS.get(block.required_text("type"))
    if read is None:
        block.losses.add(block.at, RUN_BY_PROVIDER)
        return None
    part = read(block)
    block.ignore("caller")
    block.rest(NO_SUCH_FIELD)
    return part


def _tool_use(block: Taking) -> Said:
    arguments = as_text(block.fields("input") or {})
    return ToolCall(block.required_text("id"), block.required_text("name"), arguments, at=block.at)


def _thinking(block: Taking) -> Said:
    signature = block.text("signature")
    maker = Keeper.ANTHROPIC if signature else None
    return Thinking(block.text("thinking") or "", signature or None, maker, at=block.at)


def _redacted(block: Taking) -> Said:
    return Thinking("", block.required_text("data"), Keeper.ANTHROPIC, is_redacted=True, at=block.at)


_BLOCKS: Final[Mapping[str, Callable[[Taking], Said]]] = {
    "text": lambda block: Text(block.required_text("text"), block.at),
    "tool_use": _tool_use,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
}


def write_answer(answer: Answer, context: TranslationContext, losses: Losses) -> dict[str, object]:
    """Return the answer as this API's body; what it cannot carry is noted."""
    return {
        "id": answer.id or f"msg_{context.call_id}",
        "type": "message",
        "role": "assistant",
        "model": answer.model or context.model,
        "content": [_block(part, losses) for part in answer.parts],
        "stop_reason": REASONS[answer.stop],
        "stop_sequence": answer.stop_sequence,
        "usage": usage.as_messages(answer.usage or Usage()),
    }


def _block(part: Said, losses: Losses) -> object:
    match part:
        case Text() | Refusal():
            return {"type": "text", "text": part.text}
        case ToolCall():
            arguments = as_object(part.arguments, part.at, losses)
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments}
        case Thinking():
            return write_thought(part)


def write_thought(thinking: Thinking) -> dict[str, object]:
    """Return thoughts as a block; a signature that is not Anthropic's is marked with its maker."""
    if thinking.is_redacted:
        return {"type": "redacted_thinking", "data": thinking.signature}
    return {"type": "thinking", "thinking": thinking.text, "signature": signature_of(thinking)}


def signature_of(thinking: Thinking) -> str:
    """Return the signature that a block bears; empty where the thoughts have none."""
    return thinking.signature or "" if thinking.maker is Keeper.ANTHROPIC else marked(thinking)
