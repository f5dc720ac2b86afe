"""Marks for the cache of Anthropic's API: where they stand, and where none does."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from plano_asgi.testing import FixedClassifier
from plano_asgi.translate import with_cache_marks

MARK = {"type": "ephemeral"}
TEXT = {"type": "text", "text": "go on"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}


def marked(**body: Any) -> Any:
    """Return a body with marks, whatever its length."""
    return json.loads(with_cache_marks(json.dumps(body).encode(), least_tokens=1))


def test_marks_stand_after_tools_instructions_and_the_last_words() -> None:
    """Each part that is sent again with every call ends with a mark; nothing else changes."""
    tools = [{"name": "look"}, {"name": "run"}]
    said = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": "so"},
    ]

    body = marked(tools=tools, system="Be brief.", messages=said, n=12345678901234567890123)

    assert body["tools"] == [tools[0], {**tools[1], "cache_control": MARK}]
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": MARK}]
    assert body["messages"][:2] == said[:2]
    assert body["messages"][2]["content"] == [{"type": "text", "text": "so", "cache_control": MARK}]
    assert body["n"] == 12345678901234567890123


@pytest.mark.parametrize(
    "body",
    [
        {"system": [{**TEXT, "cache_control": MARK}], "messages": [{"role": "user", "content": "hi"}]},
        {"messages": [{"role": "assistant", "content": [TEXT, THOUGHT]}]},
        {"messages": [{"role": "user", "content": " "}], "system": ""},
        {"messages": [], "tools": []},
        {"messages": ["odd"], "tools": "odd", "system": 1},
    ],
    ids=["marked-already", "thoughts", "blank", "empty", "odd"],
)
def test_what_takes_no_mark_is_left_alone(body: Any) -> None:
    """A caller's own marks stand alone; thoughts and blank texts, which the API refuses marks on, get none."""
    assert marked(**body) == body


@given(
    st.lists(st.sampled_from([TEXT, THOUGHT, {"type": "text", "text": ""}, 1]), max_size=4),
    st.none() | st.text(max_size=3) | st.lists(st.just(TEXT), max_size=2),
)
def test_no_call_has_more_marks_than_the_api_takes(content: Any, system: Any) -> None:
    """There are at most four marks, whatever a body holds."""
    body = marked(messages=[{"role": "user", "content": content}], system=system, tools=[{"name": "a"}])

    assert json.dumps(body).count("cache_control") <= 4


@pytest.mark.parametrize(
    ("path", "maker", "inject", "marks"),
    [
        ("/v1/messages", "anthropic", "true", 2),
        ("/v1/chat/completions", "anthropic", "true", 2),
        ("/v1/messages", "anthropic", "false", 0),
        ("/v1/chat/completions", "openai", "true", 0),
    ],
    ids=["messages", "translated", "switched-off", "another-api"],
)
def test_calls_are_marked_where_that_is_set(  # noqa: PLR0913, PLR0917 - what is varied, and what it takes
    path: str,
    maker: str,
    inject: str,
    marks: int,
    provider: Any,
    app_of: Callable[..., Starlette],
    ask: Callable[..., httpx.Response],
) -> None:
    """A provider that is asked in Anthropic's API gets marks, whatever API its caller uses; no other does."""
    text = f"""
mode: forward
prompt_caching: {{inject: {inject}, min_prefix_tokens: 8}}
model_providers:
  - {{model: {maker}/fine, base_url: "{provider.url}/v1", access_key: a, default: true}}
"""
    system = {"system": "Be brief."} if path.endswith("messages") else {}
    said = [{"role": "user", "content": "hi"}]
    if not system:
        said.insert(0, {"role": "system", "content": "Be brief."})

    answer = ask(
        app_of(text, FixedClassifier({})),
        "POST",
        path,
        json={"model": "auto", "max_tokens": 9, "messages": said, **system},
    )

    assert answer.status_code == 200
    assert provider.heard[-1].body.count(b"cache_control") == marks
