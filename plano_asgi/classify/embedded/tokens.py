"""A conversation as the tokens that the encoder reads: the latest user turn, then what was said before it.

`[CLS] latest [SEP] user: ... assistant: ... [SEP]`, the second part marked as the other kind of token. One run of the
encoder reads both: "now in Go" means nothing by itself, and a long history must not drown a change of subject.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plano_asgi.classify.embedded.texts import ConversationTexts
from plano_asgi.classify.readings import ReadPart, Span, pieces_of
from plano_asgi.errors import ArtifactIntegrityError

Tokenizer = Any  # tokenizers.Tokenizer; the room imports it when a model is loaded


@dataclass(frozen=True, slots=True)
class Window:
    """Most tokens of each part, special ones included.

    Longer parts are read at both ends, what was said before at its end.
    """

    latest: int = 128
    before: int = 96
    route: int = 96


SERVED: Final = Window()


@dataclass(frozen=True, slots=True)
class EncoderInput:
    """Tokens of one run.

    Attributes:
        ids: Token ids, special ones included.
        kinds: For each token 0 where it belongs to the latest turn or to a route, 1 where it was said before.
    """

    ids: Sequence[int]
    kinds: Sequence[int]


def open_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer in a file, neither padding nor truncating.

    Raises:
        ArtifactIntegrityError: The file is no tokenizer.
    """
    from tokenizers import Tokenizer as FastTokenizer  # noqa: PLC0415 - slow to import

    try:
        tokenizer = FastTokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ArtifactIntegrityError(path, problem="it cannot be loaded as a tokenizer") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def conversation_tokens(tokenizer: Tokenizer, texts: ConversationTexts, window: Window = SERVED) -> EncoderInput:
    """Return the tokens of a conversation: the latest turn, then what was said before."""
    latest = both_ends(ids_of(tokenizer, texts.latest), window.latest)
    if not texts.before:
        return EncoderInput(latest, [0] * len(latest))
    before = ids_of(tokenizer, texts.before)[1:][-window.before :]
    return EncoderInput(latest + before, [0] * len(latest) + [1] * len(before))


def read_parts(tokenizer: Tokenizer, texts: ConversationTexts, window: Window = SERVED) -> tuple[ReadPart, ...]:
    """Return what `conversation_tokens` keeps of each text."""
    latest = tokenizer.encode(_encodable(texts.latest)).offsets
    kept = both_ends(list(range(len(latest))), window.latest)
    parts = [_read_part("latest", texts.latest, latest, kept, limit=window.latest)]
    if texts.before:
        before = tokenizer.encode(_encodable(texts.before)).offsets
        kept = list(range(1, len(before)))[-window.before :]
        parts.append(_read_part("before", texts.before, before, kept, limit=window.before))
    return tuple(parts)


def _read_part(name: str, text: str, offsets: Sequence[Span], kept: Sequence[int], *, limit: int) -> ReadPart:
    """Return the tokens of a text that are kept, by their numbers; special ones, which have no words, count."""
    steps = zip((0, *kept), kept, strict=False)
    spans = (span for last, at in steps for span in ((None, offsets[at]) if at - last > 1 else (offsets[at],)))
    return ReadPart(name=name, tokens=len(kept), limit=limit, pieces=pieces_of(_encodable(text), spans))


def route_tokens(tokenizer: Tokenizer, text: str, window: Window = SERVED) -> EncoderInput:
    """Return the tokens of a route."""
    ids = both_ends(ids_of(tokenizer, text), window.route)
    return EncoderInput(ids, [0] * len(ids))


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of a text between the special tokens."""
    ids: list[int] = tokenizer.encode(_encodable(text)).ids
    return ids


def _encodable(text: str) -> str:
    """Return a text without lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def both_ends(ids: list[int], most: int) -> list[int]:
    """Return at most so many tokens, the first and the last ones: asks stand first or last."""
    if len(ids) <= most:
        return ids
    half = most // 2
    return ids[:half] + ids[-half:]
