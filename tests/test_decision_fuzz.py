"""Any bytes at the decision endpoints: a decision or an error of the caller's API, never a failure of ours."""

import gzip
import json
import re
import zlib
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from plano_asgi.testing import FixedClassifier

SETTINGS: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing functions}]
limits: {body_bytes: 20000}
"""
CHAT, MESSAGES, RESPONSES = "/routing/v1/chat/completions", "/routing/v1/messages", "/routing/v1/responses"
DECISION_KEYS: Final = {
    "model",
    "route",
    "models",
    "would_use",
    "confidence",
    "threshold",
    "reason",
    "source",
    "policy",
    "scores",
    "classifier",
    "latency_ms",
    "trace_id",
    "pinned",
    "switched",
}
WORDS: Final = re.findall(
    r"\S+",
    """
    model messages input system instructions role user assistant tool content type text input_text output_text image
    refusal tool_use tool_result tool_calls function custom name id arguments stream max_tokens prompt function_call
    function_call_output output reasoning message routing_policy routing_preferences description models
    selection_policy prefer cheapest openai/gpt-4o other auto
    """,
)

words: Final = st.sampled_from(WORDS)
scalars: Final = st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=20)
documents: Final = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=6), max_leaves=25
)


def call_like(draw: st.DrawFn) -> bytes:
    """Return a body that has the outline of a call and arbitrary values here and there."""
    turn = {"role": draw(words | scalars), "content": draw(documents), **draw(st.dictionaries(words, documents))}
    turns = draw(st.lists(st.just(turn) | documents, min_size=1, max_size=3))
    body = {"messages": turns, "input": turns, "max_tokens": 1, **draw(st.dictionaries(words, documents, max_size=3))}
    return json.dumps(body).encode()


def damaged(draw: st.DrawFn) -> bytes:
    """Return a good body with some of its bytes replaced by others."""
    good = b'{"model": "auto", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}], "input": "hi"}'
    start = draw(st.integers(0, len(good)))
    end = draw(st.integers(start, min(len(good), start + 12)))
    return good[:start] + draw(st.binary(max_size=12)) + good[end:]


bodies: Final = (
    st.binary(max_size=200)
    | st.composite(call_like)()
    | st.composite(damaged)()
    | documents.map(lambda document: json.dumps(document).encode())
)
packings: Final[dict[str, Callable[[bytes], bytes]]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "x-gzip": bytes,
    "deflate": zlib.compress,
    "br": bytes,
    "\xff": bytes,
}


@pytest.fixture(scope="module")
def app(app_of: Callable[..., Starlette]) -> Starlette:
    """Return a service whose classifier is confident."""
    return app_of(SETTINGS, FixedClassifier({"code": 0.9}))


def check_error(path: str, answer: httpx.Response) -> None:
    """Check that an answer is an error as the API of a path writes it."""
    said: Any = answer.json()
    error = said["error"]
    assert answer.headers["x-should-retry"] == "false"
    if path == MESSAGES:
        assert said == {"type": "error", "error": error, "request_id": answer.headers["request-id"]}
        assert error.keys() == {"type", "message"}
    else:
        assert said == {"error": error}
        assert error.keys() == {"message", "type", "param", "code"}
        assert re.fullmatch(r"[a-z_]+", error["code"])
        assert error["param"] is None or error["param"].isprintable()
    assert re.fullmatch(r"[a-z_]+", error["type"])
    assert 0 < len(error["message"]) < 1_000
    assert error["message"].isprintable()


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES], ids=["chat", "messages", "responses"])
@settings(max_examples=150, deadline=None)
@given(body=bodies, encoding=st.just("") | st.sampled_from(list(packings)))
@example(
    body=b'{"messages": [{"role": "user", "content": [' + b'{"type": "tool_result", "content": [' * 200, encoding=""
)
@example(
    body=b'{"input": "hi", "max_tokens": 1, "messages": [{"role": "user", "content": ['
    + b'{"type": "tool_result", "content": [' * 120
    + b"]}" * 120
    + b"]}]}",
    encoding="",
)
@example(body=b'{"messages": [{"type": []}], "input": []}', encoding="")
@example(body=b'{"model": "\\ud83d\\ude00", "input": "x"}', encoding="")
@example(body=b'{"' + b"k" * 19_000 + b'": 1}', encoding="gzip")
def test_any_bytes_are_decided_or_refused_in_kind(
    path: str, body: bytes, encoding: str, app: Starlette, ask: Callable[..., httpx.Response]
) -> None:
    """No bytes make an endpoint fail: they get a decision, or a 4xx that the API's clients can read."""
    headers = {b"content-type": b"application/json", b"content-encoding": encoding.encode("latin-1")}

    answer = ask(app, "POST", path, content=packings[encoding](body), headers=headers)

    if answer.status_code == 200:
        assert answer.json().keys() - {"session_id"} == DECISION_KEYS
    else:
        assert answer.status_code in {400, 403, 413, 415}
        check_error(path, answer)
