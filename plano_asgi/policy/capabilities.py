"""What a call asks of a model, and what of it a model is known not to do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from plano_asgi.conversation import LLMCall
from plano_asgi.providers import Capabilities

CHARACTERS_PER_TOKEN: Final = 8  # no text of people's has more, so that nothing is refused that would fit
_AUDIO_PARTS: Final = frozenset({"input_audio", "audio"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a call asks of a model.

    Attributes:
        vision: It shows images.
        tools: It offers tools.
        audio: It brings audio, or asks for some.
        tokens: How many tokens its text has at the least, whoever counts.
        tokens_of: The same as some qualified models count, where that is known better.
    """

    vision: bool = False
    tools: bool = False
    audio: bool = False
    tokens: int = 0
    tokens_of: Mapping[str, int] = field(default_factory=dict)

    def unmet_by(self, capabilities: Capabilities, model: str = "") -> tuple[str, ...]:
        """Return, in words, what a model, by its capabilities and its qualified name, is known not to do of it."""
        unmet = []
        if self.vision and capabilities.vision is False:
            unmet.append("images")
        if self.tools and capabilities.tools is False:
            unmet.append("tools")
        if self.audio and capabilities.audio is False:
            unmet.append("audio")
        if capabilities.window is not None and self.tokens_of.get(model, self.tokens) > capabilities.window:
            unmet.append("so long a conversation")
        return tuple(unmet)


def needs_of(call: LLMCall, body: Mapping[str, object]) -> Needs:
    """Return what a call needs; the body is read as far as the conversation does not tell."""
    characters = sum(len(message.text) for message in call.conversation)
    modalities = body.get("modalities")
    return Needs(
        vision=any(message.has_image for message in call.conversation),
        tools=bool(body.get("tools") or body.get("functions")),
        audio=(isinstance(modalities, Sequence) and "audio" in modalities) or any(_audio_parts(body)),
        tokens=characters // CHARACTERS_PER_TOKEN,
    )


def _audio_parts(body: Mapping[str, object]) -> Iterator[object]:
    for turns in (body.get("messages"), body.get("input")):
        for turn in turns if isinstance(turns, list) else ():
            content = turn.get("content") if isinstance(turn, dict) else None
            parts = content if isinstance(content, list) else ()
            yield from (part for part in parts if isinstance(part, dict) and part.get("type") in _AUDIO_PARTS)
