"""What an answer says of where it came from: `response_metadata["plano"]`, and the target's own name."""

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from plano_asgi.decisions import Attempt, RoutingDecision
from plano_asgi.providers import bare_model
from plano_asgi_langchain.keeping import METADATA_KEY


def told(decision: RoutingDecision, model: str, failed: Iterable[Attempt] = ()) -> dict[str, Any]:
    """Return what an answer says of a decision and of the model that has answered; `failed` is there where one did."""
    said: dict[str, Any] = {
        "route": decision.route,
        "model": model,
        "provider": model.partition("/")[0],
        "confidence": None if decision.confidence is None else round(decision.confidence, 4),
        "latency_ms": round(decision.latency_ms, 2),
        "reason": decision.reason.value,
        "source": decision.source.value,
    }
    outcomes = {attempt.model: attempt.outcome for attempt in failed}
    return said | ({"failed": outcomes} if outcomes else {})


def response_id_of(message: BaseMessage) -> str | None:
    """Return the id under which an answer's provider may keep it, None where it has told none."""
    told = message.response_metadata.get("id")
    return told if isinstance(told, str) and told else None


def mark_result(result: ChatResult, said: Mapping[str, Any]) -> ChatResult:
    """Return a target's result, each of its messages saying where it came from."""
    for generation in result.generations:
        mark(generation.message, said)
    return result


def mark(message: BaseMessage, said: Mapping[str, Any]) -> None:
    """Let a message say where it came from; what the target has said itself stands."""
    message.response_metadata = {
        "model_name": bare_model(said["model"]),
        "model_provider": said["provider"],
        **message.response_metadata,
        METADATA_KEY: dict(said),
    }


class StreamTail:
    """The last chunk of a stream, which says where it came from; the target's own last one is one before it.

    One chunk alone says it: where two do, LangChain joins their texts.

    Attributes:
        response_id: Under which id the stream's provider may keep what was streamed; None where it has told none.
    """

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.response_id: str | None = None
        self._is_list = False
        self._seen: set[str] = set()

    def after(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """Return a target's chunk, no longer marked as the last."""
        message = chunk.message
        self.response_id = self.response_id or response_id_of(message)
        self._is_list = isinstance(message.content, list)
        self._seen |= message.response_metadata.keys() | (chunk.generation_info or {}).keys()
        if isinstance(message, AIMessageChunk):
            message.chunk_position = None
        return chunk

    def chunk(self, said: Mapping[str, Any]) -> ChatGenerationChunk:
        """Return the last chunk."""
        message = AIMessageChunk(content=[] if self._is_list else "", chunk_position="last")
        mark(message, said)
        message.response_metadata = {
            key: value for key, value in message.response_metadata.items() if key not in self._seen
        }
        return ChatGenerationChunk(message=message)


def as_chunk(message: BaseMessage) -> ChatGenerationChunk:
    """Return a whole message as the one chunk of a stream."""
    assert isinstance(message, AIMessage), "chat models answer with an AIMessage"  # noqa: S101 - LangChain's own promise
    return ChatGenerationChunk(
        message=AIMessageChunk(
            content=message.content,
            additional_kwargs=message.additional_kwargs,
            response_metadata=message.response_metadata,
            id=message.id,
            name=message.name,
            tool_calls=message.tool_calls,
            invalid_tool_calls=message.invalid_tool_calls,
            usage_metadata=message.usage_metadata,
        )
    )
