"""What of a conversation is put into a prompt when it cannot all be.

The last user message is what the decision is about, so it comes first; then the others, newest first, until one does
not fit. A last user message that does not fit by itself keeps its ends and loses its middle.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from plano_asgi.conversation import Conversation, Message, Role

ELLIPSIS: Final = "…"
MOST_PROBES: Final = 24  # one in two halves what is left to search
_CHARACTERS_OF_A_BARE_MESSAGE: Final = 30  # as JSON, without its text
_MOST_COMBINING: Final = 16
_JOINER: Final = "\u200d"


@dataclass(frozen=True, slots=True)
class Ranking:
    """The messages that have a say, by how much they matter; no more than could possibly be used.

    Attributes:
        asked: The last user message; the last message where the user said nothing.
        messages: Those that have a say, oldest first.
        order: Places in `messages`: of `asked`, then of the others, newest first.
    """

    asked: Message
    messages: Sequence[Message] = field(repr=False)
    order: Sequence[int]

    @classmethod
    def of(cls, conversation: Conversation, *, most_characters: int) -> "Ranking | None":
        """Return the ranking of user's and assistant's messages with text, None where there are none.

        What does not fit into `most_characters` is left out; `asked` is cut in `messages` where it alone is longer.
        """
        messages = [m for m in conversation if m.text and m.role in {Role.USER, Role.ASSISTANT}]
        if not messages:
            return None
        newest_first = range(len(messages) - 1, -1, -1)
        asked_at = next((place for place in newest_first if messages[place].role is Role.USER), newest_first[0])
        asked, order, left = messages[asked_at], [asked_at], most_characters
        messages[asked_at] = shortened(asked, most_characters)
        left -= len(messages[asked_at].text)
        for place in newest_first:
            if place != asked_at:
                left -= len(messages[place].text) + _CHARACTERS_OF_A_BARE_MESSAGE
                if left < 0:
                    break
                order.append(place)
        return cls(asked, messages, order)

    def first(self, count: int) -> list[Message]:
        """Return the messages that matter most, oldest first."""
        return [self.messages[place] for place in sorted(self.order[:count])]


def shortened(message: Message, characters: int) -> Message:
    """Return the message with so many of its characters, from both ends; whole where it has no more."""
    text = message.text
    if len(text) <= characters:
        return message
    head, tail = (characters + 1) // 2, len(text) - characters // 2
    for _ in range(_MOST_COMBINING):
        head -= head > 0 and _is_inside_a_character(text, head)
        tail += tail < len(text) and _is_inside_a_character(text, tail)
    return replace(message, text=f"{text[:head]}{ELLIPSIS}{text[tail:]}")


def most_that_fit(high: int, tokens_at: Callable[[int], int], *, limit: int, slack: int = 0) -> int:
    """Return the greatest amount up to `high` that was found to take at most `limit` tokens; 0 where none was.

    At most 26 amounts are tried, and none further once `slack` or fewer tokens would be left unused.
    """
    high_tokens = tokens_at(high)
    if high_tokens <= limit:
        return high
    low, low_tokens = 0, tokens_at(0)
    for probe in range(MOST_PROBES):
        if high - low <= 1 or limit - low_tokens <= slack:
            break
        share = 0.5 if probe % 2 else (limit - slack // 2 - low_tokens) / (high_tokens - low_tokens)
        amount = min(max(low + int((high - low) * share), low + 1), high - 1)
        tokens = tokens_at(amount)
        if tokens <= limit:
            low, low_tokens = amount, tokens
        else:
            high, high_tokens = amount, tokens
    return low


def _is_inside_a_character(text: str, place: int) -> bool:
    """Return whether what people see as one character would be torn by a cut before this place."""
    after = text[place]
    return (
        unicodedata.category(after).startswith("M")
        or "\udc00" <= after <= "\udfff"
        or after == _JOINER
        or text[place - 1 : place] == _JOINER
    )
