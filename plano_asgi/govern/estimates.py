"""How many tokens a call will use, before anybody has counted them.

Input: a token for every four bytes of UTF-8 of all that the call says, tools and their schemas included, rounded up;
three for each message; a thousand for each image or file. Output: what the call allows at the most, times the answers
that it asks for; where it says nothing, a setting.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from plano_asgi.govern.counting import MOST_AMOUNT
from plano_asgi.wire.usage import Usage

BYTES_PER_TOKEN: Final = 4
TOKENS_PER_MESSAGE: Final = 3
TOKENS_PER_FILE: Final = 1_000
MOST_ANSWERS: Final = 128

_TURNS: Final = ("messages", "input")
_SAID: Final = (*_TURNS, "system", "instructions", "tools", "functions", "response_format", "text")
_MOST_OUTPUT: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_FILES: Final = frozenset(
    {"image", "image_url", "input_image", "file", "input_file", "document", "audio", "input_audio"}
)
_STRUCTURE: Final = frozenset({"role", "content", "type", "text"})


def estimate_of(body: Mapping[str, object], *, output_tokens: int | None) -> Usage:
    """Return how many tokens a call is thought to use.

    Args:
        body: The call.
        output_tokens: What its answer takes where it does not say; None where answers are not counted at all.
    """
    turns = next((found for name in _TURNS if isinstance(found := body.get(name), list)), [])
    said_bytes, files = _weigh([body[name] for name in _SAID if name in body])
    read = -(-said_bytes // BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * max(1, len(turns)) + TOKENS_PER_FILE * files
    if output_tokens is None:
        return Usage(input_tokens=read, output_tokens=0)
    limits = (_count(body.get(name), most=MOST_AMOUNT) for name in _MOST_OUTPUT)
    most = next((limit for limit in limits if limit is not None), output_tokens)
    answers = _count(body.get("n"), most=MOST_ANSWERS) or 1
    return Usage(input_tokens=read, output_tokens=min(most * answers, MOST_AMOUNT))


def _weigh(said: list[object]) -> tuple[int, int]:
    """Return how many bytes of text something holds, and how many images and files."""
    to_weigh: list[object] = [said]
    text_bytes = files = 0
    while to_weigh:
        part = to_weigh.pop()
        if isinstance(part, dict):
            kind = part.get("type")
            if isinstance(kind, str) and kind in _FILES:
                files += 1
                continue
            text_bytes += sum([len(name) for name in part if name not in _STRUCTURE])
            inner: Iterable[object] = part.values()
        elif isinstance(part, list):
            inner = part
        else:
            continue
        for value in inner:
            if isinstance(value, str):
                text_bytes += len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
            else:
                to_weigh.append(value)
    return text_bytes, files


def _count(value: object, *, most: int) -> int | None:
    """Return a number that a caller wrote, bounded; None where it is no number that can be meant."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        return None
    return min(value, most)
