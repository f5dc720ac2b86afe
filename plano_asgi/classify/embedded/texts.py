"""What the embedded classifier reads: pure text work, the same in training and in serving."""

import re
from dataclasses import dataclass
from typing import Final

from plano_asgi.conversation import Conversation, Role
from plano_asgi.preferences import RoutingPreference

TURNS_BEFORE: Final = 4
CHARS_BEFORE: Final = {Role.USER: 160, Role.ASSISTANT: 80}
CHARS_OF_LATEST: Final = 8_000  # far beyond the encoder's window; bounds the tokenizer's work

_WORD_BREAK: Final = re.compile(r"[_\-.\s]+|(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class ConversationTexts:
    """What the encoder reads of a conversation.

    Attributes:
        latest: The latest user turn.
        before: The turns before it, each with its role in front; empty where there are none.
    """

    latest: str
    before: str


def conversation_texts(conversation: Conversation) -> ConversationTexts | None:
    """Return the texts to encode, or None where no user turn has any text."""
    spoken = [m for m in conversation if m.role in CHARS_BEFORE and m.text.strip()]
    last = next((i for i in range(len(spoken) - 1, -1, -1) if spoken[i].role is Role.USER), None)
    if last is None:
        return None
    before = (
        f"{message.role.value}: {_ends(message.text.strip(), CHARS_BEFORE[message.role])}"
        for message in spoken[max(0, last - TURNS_BEFORE) : last]
    )
    return ConversationTexts(_ends(spoken[last].text.strip(), CHARS_OF_LATEST), "\n".join(before))


def route_text(preference: RoutingPreference) -> str:
    """Return a route as one line: its name in words, then its description."""
    return route_line(preference.name, preference.description)


def route_line(name: str, description: str) -> str:
    """Return a name and a description as one line."""
    words = " ".join(_WORD_BREAK.split(name)).strip().lower()
    return f"{words}: {description.strip()}"


def _ends(text: str, limit: int) -> str:
    """Return the text, with its middle left out where it is longer than the limit: asks stand first or last."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]} ... {text[-limit // 2 :]}"
