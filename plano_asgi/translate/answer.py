"""An answer in no API's words, whole or as the events of a stream."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from plano_asgi.translate.call import Refusal, Text, Thinking, ToolCall

MOST_MESSAGE_CHARS: Final = 2000  # of a provider's message that is repeated
STATUSES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "invalid_request_error": 400,
        "context_length_exceeded": 400,
        "authentication_error": 401,
        "billing_error": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "rate_limit_exceeded": 429,
        "insufficient_quota": 429,
        "api_error": 500,
        "server_error": 500,
        "timeout_error": 504,
        "overloaded_error": 503,
    }
)  # the status that an error within a stream would have had, by its type or code


class Stop(StrEnum):
    """Why an answer ended."""

    END = "end"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    TOOL_CALLS = "tool_calls"
    REFUSAL = "refusal"
    PAUSE = "pause"
    CONTEXT_WINDOW = "context_window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call.

    Attributes:
        input_tokens: All tokens of the prompt, those read from a cache or written to one among them.
        output_tokens: All tokens of the answer, reasoning among them.
        cached_tokens: Those of the prompt that were read from the provider's cache.
        cache_write_tokens: Those of the prompt that were written to it.
        reasoning_tokens: Those of the answer that were thought, not said; None where the provider does not tell.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int | None = None

    @property
    def total_tokens(self) -> int:
        """Prompt and answer together."""
        return self.input_tokens + self.output_tokens

    @property
    def fresh_tokens(self) -> int:
        """Those of the prompt that no cache had to do with."""
        return max(0, self.input_tokens - self.cached_tokens - self.cache_write_tokens)


Said = Text | Refusal | Thinking | ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider answered.

    Attributes:
        id: The provider's id of the answer; empty where it gives none.
        model: The model that the provider says it used; empty where it does not say.
        parts: What was said, in order.
        stop: Why it ended.
        stop_sequence: The caller's sequence that ended it, where the provider tells.
        usage: Tokens, None where the provider does not tell.
    """

    parts: tuple[Said, ...]
    stop: Stop
    id: str = ""
    model: str = ""
    stop_sequence: str | None = None
    usage: Usage | None = None


class Kind(StrEnum):
    """What a part of a streamed answer is."""

    TEXT = "text"
    REFUSAL = "refusal"
    THINKING = "thinking"
    TOOL_CALL = "tool_call"


PartKey = str | int | tuple[int, int] | tuple[str, int]


@dataclass(frozen=True, slots=True)
class Began:
    """The provider has begun to answer."""

    id: str = ""
    model: str = ""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """More of one part; the first one of a part begins it.

    Attributes:
        key: Which part, in the provider's own count.
        kind: What it is.
        text: More of its words, thoughts or arguments; may be empty.
        id: Of a tool call, with its first delta.
        name: Of the tool, with its first delta.
        thinking: A signature for thoughts, when it comes.
        is_custom: Whether the tool takes free text.
    """

    key: PartKey
    kind: Kind
    text: str = field(default="", repr=False)
    id: str = ""
    name: str = ""
    thinking: Thinking | None = None
    is_custom: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """A part is complete."""

    key: PartKey


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is complete; nothing follows."""

    stop: Stop
    usage: Usage | None = None
    stop_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer broke off; nothing follows."""

    status: int
    message: str = field(repr=False)
    code: str = "upstream_error"

    @classmethod
    def cut_off(cls) -> "Failed":
        """Return the failure of a stream that ends without saying so."""
        return cls(502, "the provider's stream ended before its answer was complete", "upstream_incomplete")

    @classmethod
    def from_body(cls, error: object) -> "Failed":
        """Return the failure that an `error` object of OpenAI's or Anthropic's tells of."""
        fields = error if isinstance(error, dict) else {}
        kind, code, message = (fields.get(key) for key in ("type", "code", "message"))
        names = [name for name in (code, kind) if isinstance(name, str)]
        status = next((STATUSES[name] for name in names if name in STATUSES), 502)
        told = message if isinstance(message, str) else "the provider's stream broke off"
        return cls(status, told[:MOST_MESSAGE_CHARS], names[0] if names else "upstream_error")


StreamEvent = Began | Delta | Ended | Finished | Failed
