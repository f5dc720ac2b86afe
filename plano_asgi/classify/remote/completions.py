"""One exchange in the shape of OpenAI's Chat Completions API: the body that asks, and the answer read. Pure."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from plano_asgi.classify.remote.scoring import Step
from plano_asgi.errors import ClassificationError

MOST_ALTERNATIVES: Final = 20  # the API's own bound, and vLLM's unless it is told otherwise


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote; not in its `repr`, for it may repeat a prompt.

    Attributes:
        text: Its words.
        steps: Its tokens with their alternatives; empty where the server told none.
    """

    text: str = field(repr=False)
    steps: tuple[Step, ...] = field(default=(), repr=False)


def request_body(model: str, prompt: str, *, most_tokens: int, with_log_probabilities: bool) -> bytes:
    """Return the body that asks for the likeliest answer to one user message."""
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": most_tokens,
    }
    if with_log_probabilities:
        body |= {"logprobs": True, "top_logprobs": MOST_ALTERNATIVES}
    return json.dumps(body).encode()


def read_completion(body: bytes) -> Completion:
    """Return what an answer of status 200 holds; log-probabilities of any other shape count as none.

    Raises:
        ClassificationError: It is no JSON, or holds no text by a model; it is not quoted.
    """
    try:
        choice: Any = json.loads(body)["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, RecursionError):
        raise ClassificationError("answered something that is not JSON; check classifier.base_url") from None
    except (LookupError, TypeError):
        text = None
    if not isinstance(text, str):
        raise ClassificationError("answered without a message; check classifier.base_url and classifier.model")
    try:
        steps = tuple(_steps(choice["logprobs"]["content"]))
    except (AttributeError, LookupError, TypeError, ValueError):
        steps = ()
    return Completion(text, steps)


def _steps(positions: Any) -> Iterator[Step]:  # noqa: ANN401 - JSON, whose shape is checked by reading it
    for position in positions:
        token = _bytes_of(position)
        chances = {_bytes_of(other): _chance(other) for other in position.get("top_logprobs") or ()}
        yield Step(token, {token: _chance(position), **chances})


def _bytes_of(token: Any) -> bytes:  # noqa: ANN401
    """Return a token's bytes: a part of a character has no text of its own."""
    found = token.get("bytes")
    return bytes(found) if isinstance(found, list) else str(token["token"]).encode(errors="surrogatepass")


def _chance(token: Any) -> float:  # noqa: ANN401
    logarithm = float(token["logprob"])
    if math.isnan(logarithm):
        raise ValueError("a log-probability is not a number")
    return math.exp(min(logarithm, 0.0))
