"""Whose turn a call is: the user's, who has just said something, or a model's, which goes on with what was said."""

from dataclasses import dataclass, field
from typing import Final

from plano_asgi.conversation import Conversation, Message, Role

ENVELOPES: Final = ("system-reminder", "user-prompt-submit-hook")
"""Tags around what an agent's harness, and not its user, puts into a user message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Where a conversation stands; its words are not in its `repr`.

    Attributes:
        is_new: Whether the user has just said something; else a model goes on with a turn that has begun.
        is_loop_open: Whether a tool's result, or a call of a tool, waits for what the model makes of it.
        said: What the user has said so far, message by message, without what a harness has put there.
        conversation: All up to what the user said last: what a decision on this turn is made on.
    """

    is_new: bool
    is_loop_open: bool
    said: tuple[str, ...] = field(repr=False)
    conversation: Conversation = field(repr=False)


def turn_of(conversation: Conversation) -> Turn:
    """Return whose turn it is.

    A user message that holds harness text only is nobody's: the conversation stands as it did before it. Where the user
    has said nothing yet, any call but one that follows a model's or a tool's message is a new turn.
    """
    last = len(conversation)
    while last and (conversation[last - 1].role is Role.SYSTEM or _is_harness(conversation[last - 1])):
        last -= 1
    latest = conversation[last - 1] if last else None
    spoken = [index for index, message in enumerate(conversation) if _is_users(message)]
    follows_model = latest is not None and latest.role in {Role.ASSISTANT, Role.TOOL}
    is_new = not follows_model
    end = spoken[-1] + 1 if spoken and not is_new else len(conversation)
    return Turn(
        is_new=is_new,
        is_loop_open=follows_model and latest is not None and (latest.role is Role.TOOL or bool(latest.tool_calls)),
        said=tuple(users_words(conversation[index].text) for index in spoken),
        conversation=conversation[:end] if end < len(conversation) else conversation,
    )


def users_words(text: str) -> str:
    """Return a user message without the envelopes of a harness, in time linear in its length."""
    if "<" not in text:
        return text
    for tag in ENVELOPES:
        text = _without(text, f"<{tag}>", f"</{tag}>")
    return text


def _without(text: str, opening: str, closing: str) -> str:
    kept: list[str] = []
    position = 0
    while (start := text.find(opening, position)) >= 0 and (end := text.find(closing, start)) >= 0:
        kept.append(text[position:start])
        position = end + len(closing)
    return "".join([*kept, text[position:]]) if kept else text


def _is_harness(message: Message) -> bool:
    """Return whether nothing of a user message is the user's; one without text has parts that no router reads."""
    if message.role is not Role.USER or message.has_image or not message.text:
        return False
    return not users_words(message.text).strip()


def _is_users(message: Message) -> bool:
    return message.role is Role.USER and not _is_harness(message)
