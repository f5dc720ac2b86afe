"""The settings of how tokens are counted."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field, Strict

from plano_asgi.settings.fields import Milliseconds, Seconds, Text, fault
from plano_asgi.settings.section import Section
from plano_asgi.tokens.loading import ENCODINGS

RULE: Final = "rule"
FILE_END: Final = ".json"


def _tokenizer(text: str) -> str:
    """Return what names a tokenizer: a file, one of tiktoken's encodings, or the rule."""
    if text.endswith(FILE_END) or text in ENCODINGS or text == RULE:
        return text
    encodings = ", ".join(sorted(ENCODINGS))
    raise fault(f"names no tokenizer; write the path of a tokenizer.json, one of {encodings}, or {RULE}")


TokenizerName = Annotated[Text, AfterValidator(_tokenizer)]
Tokens = Annotated[int, Strict(), Field(ge=0, le=100_000)]


class TokensSettings(Section):
    """What counting may take.

    Attributes:
        deadline_ms: Most processor time of one call's counting; what is left then is counted by the rule.
        cache: How many texts' counts each tokenizer keeps.
        load_s: How long a start waits for tokenizers to be loaded.
    """

    deadline_ms: Milliseconds = 100.0
    cache: Annotated[int, Strict(), Field(ge=0, le=10_000_000)] = 20_000
    load_s: Seconds = 10.0


class ChatOverheadSettings(Section):
    """Tokens that a model reads beside the texts of a call.

    Attributes:
        message: For each message.
        call: For each call.
    """

    message: Tokens = 4
    call: Tokens = 3
