"""A Bedrock Converse answer, read."""

from collections.abc import Mapping
from typing import Final

from plano_asgi.translate import usage
from plano_asgi.translate.answer import Answer, Said, Stop
from plano_asgi.translate.call import Keeper, Text, Thinking, ToolCall
from plano_asgi.translate.taking import Taking
from plano_asgi.translate.tool_calls import as_text

STOPS: Final[Mapping[str, Stop]] = {
    "end_turn": Stop.END,
    "tool_use": Stop.TOOL_CALLS,
    "max_tokens": Stop.MAX_TOKENS,
    "stop_sequence": Stop.STOP_SEQUENCE,
    "guardrail_intervened": Stop.REFUSAL,
    "content_filtered": Stop.REFUSAL,
    "model_context_window_exceeded": Stop.CONTEXT_WINDOW,
}
CITATIONS: Final = "citations are not translated, their words are"
RUN_BY_PROVIDER: Final = "what its provider did is not translated"


def read_answer(body: Taking) -> Answer:
    """Return what a provider answered.

    Raises:
        WireFormatError: The body does not have this API's shape.
    """
    message = body.required_child("output").required_child("message")
    parts = [part for block in message.children("content") for part in _parts(block)]
    answer = Answer(
        parts=tuple(parts),
        stop=stop_of(body.text("stopReason") or "", body),
        usage=usage.read_bedrock(body.take("usage")),
    )
    body.ignore("metrics", "performanceConfig", "serviceTier")
    body.rest()
    return answer


def stop_of(reason: str, body: Taking) -> Stop:
    """Return why an answer ended; a reason that no other API knows is a loss."""
    if reason not in STOPS:
        body.losses.add(body.place("stopReason"), "the other API has no such reason to end")
    return STOPS.get(reason, Stop.END)


def _parts(block: Taking) -> list[Said]:
    text = block.text("text")
    if text is not None:
        return [Text(text, block.at)]
    call, reasoning, cited = block.child("toolUse"), block.child("reasoningContent"), block.child("citationsContent")
    if call is not None:
        arguments = as_text(call.fields("input") or {})
        return [ToolCall(call.required_text("toolUseId"), call.required_text("name"), arguments, at=block.at)]
    if reasoning is not None:
        return [_thought(reasoning)]
    if cited is not None:
        block.losses.add(cited.at, CITATIONS)
        return [Text(part.text("text") or "", part.at) for part in cited.children("content")]
    block.losses.add(block.at, RUN_BY_PROVIDER)
    return []


def _thought(reasoning: Taking) -> Thinking:
    redacted = reasoning.text("redactedContent")
    if redacted:
        return Thinking("", redacted, Keeper.ANTHROPIC, is_redacted=True, at=reasoning.at)
    said = reasoning.required_child("reasoningText")
    signature = said.text("signature") or None
    maker = Keeper.ANTHROPIC if signature else None
    return Thinking(said.text("text") or "", signature, maker, at=reasoning.at)
