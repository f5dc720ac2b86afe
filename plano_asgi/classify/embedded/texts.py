"""The texts that the sentence encoder reads: of a conversation, and of a route.

A short follow-up ("now in Go") means nothing by itself, and a long history drowns a change of subject, so a
conversation is read twice: its latest user turn alone, and that turn behind the turns before it.
"""

import re
from dataclasses import dataclass
from typing import Final

from plano_asgi.conversation import Conversation, Role
from plano_asgi.preferences import RoutingPreference

TURNS_BEFORE: Final = 4
CHARS_PER_TURN_BEFORE: Final = 240
CHARS_OF_LATEST: Final = 8_000  # far beyond the encoder's window; bounds the tokenizer's work

_WORD_BREAK: Final = re.compile(r"[_\-.\s]+|(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class ConversationTexts:
    """What the encoder reads of a conversation.

    Attributes:
        latest: The latest user turn.
        in_context: The turns before it and it; the same as `latest` where there are none.
    """

    latest: str
    in_context: str


def conversation_texts(conversation: Conversation) -> ConversationTexts | None:
    """Return the texts to encode, or None where no user turn has any text."""
    spoken = [m for m in conversation if m.text.strip() and m.role in {Role.USER, Role.ASSISTANT}]
    last = next((i for i in range(len(spoken) - 1, -1, -1) if spoken[i].role is Role.USER), None)
    if last is None:
        return None
    latest = _ends(spoken[last].text.strip(), CHARS_OF_LATEST)
    before = [
        _ends(message.text.strip(), CHARS_PER_TURN_BEFORE) for message in spoken[max(0, last - TURNS_BEFORE) : last]
    ]
    return ConversationTexts(latest, "\n".join([*before, latest]))


def route_text(preference: RoutingPreference) -> str:
    """Return a route as one line: its name in words, then its description."""
    words = " ".join(_WORD_BREAK.split(preference.name)).strip().lower()
    return f"{words}: {preference.description.strip()}"


def _ends(text: str, limit: int) -> str:
    """Return the text, with its middle left out where it is longer than the limit: asks stand first or last."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]} ... {text[-limit // 2 :]}"
