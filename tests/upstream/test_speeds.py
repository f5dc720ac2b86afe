"""How fast models answer is measured where calls are served, and orders a pool that prefers the fastest."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from plano_asgi.testing import FixedClassifier


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("prefer", "expected"), [("fastest", "fine"), ("none", "recovering")])
def test_model_that_has_answered_is_known_to_be_faster(  # noqa: PLR0913, PLR0917 - what is varied, and what it takes
    prefer: str,
    expected: str,
    is_stream: bool,  # noqa: FBT001 - a parameter of the test
    provider: Any,
    app_of: Callable[..., Starlette],
    ask: Callable[..., httpx.Response],
) -> None:
    """After a call in which the second model stood in, that is the one whose speed is known: it comes first."""
    text = f"""
mode: forward
failover: {{attempts: 2, backoff_s: 0.01}}
model_providers:
  - {{model: openai/recovering, base_url: "{provider.url}/v1", access_key: a}}
  - {{model: openai/fine, base_url: "{provider.url}/v1", access_key: a, default: true}}
routing_preferences:
  - name: work
    description: work of all kinds
    models: [openai/recovering, openai/fine]
    selection_policy: {{prefer: {prefer}}}
"""
    app = app_of(text, FixedClassifier({"work": 0.9}))
    told = {"stream": True, "stream_options": {"include_usage": True}} if is_stream else {}
    served = []
    for words, is_down in (("one", True), ("two", False)):
        provider.is_down = is_down
        body = {"model": "auto", "messages": [{"role": "user", "content": words}], **told}
        served.append(ask(app, "POST", "/v1/chat/completions", json=body).headers["x-plano-model"])

    assert served == ["openai/fine", f"openai/{expected}"]
