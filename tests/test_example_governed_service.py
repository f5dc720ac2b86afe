"""examples/governed_service: its README's commands start it, and its tenants get what it says."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "governed_service"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
PROVIDER, GATEWAY, CURL = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)
PATIENCE = {"PLANO_CLASSIFIER__DEADLINE_MS": "20000"}  # on a busy machine
CODE: Any = [{"role": "user", "content": "Write a Python function that implements binary search"}]


@pytest.fixture(scope="module")
def url(launch: Callable[..., Any]) -> str:
    """Return the URL of the gateway, both of its servers run as its README says, on other ports."""
    provider = launch(PROVIDER.replace("9000", "{port}").split(), folder=EXAMPLE, environ={}).url
    environ = {f"PLANO_MODEL_PROVIDERS__{number}__BASE_URL": f"{provider}/v1" for number in range(2)}
    started: str = launch(GATEWAY.replace("12000", "{port}").split(), folder=EXAMPLE, environ=environ | PATIENCE).url
    return started


def test_readme_tells_what_its_curl_answers(url: str) -> None:
    """`acme` gets the large model, is told the price and what is left, and is refused the sixth time."""
    words = shlex.split(CURL)
    path = next(word for word in words if word.startswith("http")).removeprefix("http://127.0.0.1:12000")
    head = dict(words[place + 1].split(": ") for place, word in enumerate(words) if word == "-H")
    body = words[words.index("-d") + 1]

    answers = [httpx.post(url + path, content=body, headers=head, trust_env=False, timeout=30) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[0].headers["x-plano-model"] == "openai/gpt-4o"
    assert answers[0].headers["x-plano-cost"] == re.findall(r"x-plano-cost: ([\d.]+)", README)[0]
    assert answers[0].headers["ratelimit"].startswith('"tries";r=4;t=')
    assert int(answers[5].headers["retry-after"]) <= 63


def test_free_tenant_gets_the_small_model_and_strangers_none(url: str) -> None:
    """By the SDK: the answer's model is the one that the tenant may use; a stranger is refused in a word."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", default_headers={"x-tenant": "free"}) as client:
        raw = client.chat.completions.with_raw_response.create(model="auto", messages=CODE, max_tokens=100)
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="any") as stranger,
        pytest.raises(openai.PermissionDeniedError) as refused,
    ):
        stranger.chat.completions.create(model="auto", messages=CODE)

    assert raw.parse().choices[0].message.content == "gpt-4o-mini was asked"
    assert raw.headers["x-plano-reason"] == "not_allowed"
    assert refused.value.code == "caller_unknown"
