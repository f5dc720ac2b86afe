"""What a classifier reads of a call, for people who want to see it: how many tokens, and which words they are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from plano_asgi.classify import Classifier
from plano_asgi.conversation import Conversation
from plano_asgi.preferences import RoutingPolicy

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPart:
    """One part of what a classifier reads.

    Attributes:
        name: `latest`, `before` or `conversation`, which are the caller's; `routes` with all that stands around them.
        tokens: How many tokens it has.
        limit: Most tokens of it; None where only the whole has a limit.
        pieces: The caller's words as the tokens divide them, None where something between them is not read; empty for
            what is not the caller's. They are not in its `repr`.
    """

    name: str
    tokens: int
    limit: int | None = None
    pieces: tuple[str | None, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one classifier reads of one call.

    Attributes:
        classifier: Its kind.
        tokens: How many tokens that is.
        limit: Most tokens that it reads of such a call.
        is_estimate: Whether the tokens are counted by a rule, since the tokenizer is elsewhere.
        parts: What they are made of.
    """

    classifier: str
    tokens: int
    limit: int
    is_estimate: bool = False
    parts: tuple[ReadPart, ...]


@runtime_checkable
class ReadsTokens(Protocol):
    """A classifier that can say what it reads."""

    def readings(self, conversation: Conversation, policy: RoutingPolicy) -> tuple[Reading, ...]:
        """Return what it reads of a conversation, for each model that it may ask; nothing where the user said nothing.

        Raises:
            PlanoError: It cannot tell, as it could not answer.
        """


def readings_of(classifier: Classifier, conversation: Conversation, policy: RoutingPolicy) -> tuple[Reading, ...]:
    """Return what a classifier reads of a conversation; nothing of one that cannot say.

    Raises:
        PlanoError: It cannot tell.
    """
    return classifier.readings(conversation, policy) if isinstance(classifier, ReadsTokens) else ()


def pieces_of(text: str, spans: Iterable[Span | None]) -> tuple[str | None, ...]:
    """Return a text as tokens divide it, each with the spaces before it; tokens within a character are its own piece.

    Args:
        text: What was divided.
        spans: Where each token begins and ends, in order; None where something is left out.
    """
    pieces: list[str | None] = []
    at: int | None = 0
    for span in spans:
        if span is None:
            pieces.append(None)
            at = None
            continue
        start, end = span
        begin = start if at is None else at
        if end > begin:
            pieces.append(text[begin:end])
            at = end
    return tuple(pieces)


def within(spans: Sequence[Span], begin: int, end: int) -> list[Span]:
    """Return those of the tokens that begin in a stretch of the text."""
    return [span for span in spans if begin <= span[0] < end]
