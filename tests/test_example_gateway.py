"""examples/gateway: its README's commands start it, and calls in every API are answered by the model that can."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
import yaml

EXAMPLE = Path(__file__).parents[1] / "examples" / "gateway"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
PROVIDERS, GATEWAY, CURL = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)
PATIENCE = {"PLANO_CLASSIFIER__DEADLINE_MS": "20000"}  # on a busy machine
CODE: Any = [{"role": "user", "content": "Write a Python function that implements binary search"}]


@pytest.fixture(scope="module")
def url(launch: Callable[..., Any]) -> str:
    """Return the URL of the gateway, both of its servers run as its README says, on other ports."""
    providers = launch(PROVIDERS.replace("9000", "{port}").split(), folder=EXAMPLE, environ={}).url
    settings = yaml.safe_load((EXAMPLE / "plano.yaml").read_text(encoding="utf-8"))
    urls = [
        declared["base_url"].replace("http://127.0.0.1:9000", providers) for declared in settings["model_providers"]
    ]
    environ = {f"PLANO_MODEL_PROVIDERS__{number}__BASE_URL": url for number, url in enumerate(urls)}
    started: str = launch(GATEWAY.replace("12000", "{port}").split(), folder=EXAMPLE, environ=environ | PATIENCE).url
    return started


def test_readme_tells_what_its_curl_answers(url: str) -> None:
    """The first model fails, and the one of another API answers in its stead."""
    words = shlex.split(CURL)
    path = next(word for word in words if word.startswith("http")).removeprefix("http://127.0.0.1:12000")
    head = {"content-type": "application/json"}

    answer = httpx.post(url + path, content=words[words.index("-d") + 1], headers=head, trust_env=False, timeout=30)

    assert answer.headers["x-plano-route"] == "complex_reasoning"
    assert answer.headers["x-plano-model"] == "anthropic/claude-sonnet-4-20250514"
    assert answer.headers["x-plano-attempts"].startswith("openai/gpt-4o;outcome=server_error;status=503;")
    assert answer.json()["choices"][0]["message"]["content"] == "claude-sonnet-4-20250514 was asked"


def test_every_client_is_answered_in_its_own_api(url: str) -> None:
    """Both SDKs, in three APIs, get Claude's words for code."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any") as client:
        chunks = list(client.chat.completions.create(model="auto", messages=CODE, stream=True))
        response = client.responses.create(model="auto", input=CODE)
    with anthropic.Anthropic(base_url=url, api_key="any") as other:
        message: Any = other.messages.create(model="auto", max_tokens=9, messages=CODE)

    said = "claude-sonnet-4-20250514 was asked"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == said
    assert (response.output_text, message.content[0].text) == (said, said)
