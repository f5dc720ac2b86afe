"""What a caller said: messages, and the LLM call that carries them."""

from dataclasses import dataclass, field
from enum import StrEnum

from plano_asgi.preferences import RoutingPolicy


class ApiFormat(StrEnum):
    """The API whose shape a call has, and in which it is answered."""

    CHAT_COMPLETIONS = "chat_completions"
    MESSAGES = "messages"
    RESPONSES = "responses"


class Role(StrEnum):
    """Who a message is from."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation, reduced to what a router reads; its words are not in its `repr`.

    Attributes:
        role: Who it is from; a developer message counts as system.
        text: All text parts, joined by a newline; empty when there are none.
        tool_calls: Names of the tools that an assistant message calls.
        has_image: Whether an image is part of the message.
    """

    role: Role
    text: str = field(repr=False)
    tool_calls: tuple[str, ...] = ()
    has_image: bool = False


Conversation = tuple[Message, ...]


def has_user_text(conversation: Conversation) -> bool:
    """Return whether the user said anything that can be read."""
    return any(message.role is Role.USER and message.text.strip() for message in conversation)


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMCall:
    """One LLM request as we understood it.

    Attributes:
        api_format: The API whose shape the call has.
        model: The model the client named, as written; None when it named none.
        conversation: The messages, oldest first; instructions come first, as system messages.
        is_stream: Whether the client asked for a stream.
        inline_policy: The policy the call brought along, or None.
        tools: Names of the tools that the model may call, in their order.
        previous_response: What the provider keeps of the conversation is known by this id; None where it keeps nothing.
        stored_conversation: The id of a conversation that the provider keeps, or None.
        latest_signature: A digest of the latest signed or sealed thought in the messages; None where there is none.
        affinity: By what the client says that calls belong together, or None.
        switch_budget_pct: Most that switches of its session may cost, in percent of never switching, where the client
            says so.
        tenant: Whose call it is, where clients are told apart; calls of two tenants never belong together.
    """

    api_format: ApiFormat
    conversation: Conversation
    model: str | None = None
    is_stream: bool = False
    inline_policy: RoutingPolicy | None = None
    tools: tuple[str, ...] = ()
    previous_response: str | None = None
    stored_conversation: str | None = None
    latest_signature: str | None = None
    affinity: str | None = field(default=None, repr=False)
    switch_budget_pct: float | None = None
    tenant: str | None = field(default=None, repr=False)

    @classmethod
    def from_text(cls, text: str) -> "LLMCall":
        """Return a chat call with one user message; for consoles, tests and examples."""
        message = Message(role=Role.USER, text=text)
        return cls(api_format=ApiFormat.CHAT_COMPLETIONS, conversation=(message,))
