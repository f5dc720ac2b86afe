"""examples/local_llm: a real model answers behind the gateway, in every pair of APIs, at once and word by word."""

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "local_llm"
_, MODEL, GATEWAY, CURL = re.findall(
    r"```sh\n(.*?)\n```", (EXAMPLE / "README.md").read_text(encoding="utf-8"), re.DOTALL
)
PATIENCE: Final = {"PLANO_CLASSIFIER__DEADLINE_MS": "20000"}  # on a busy machine
QUESTION: Final = "Write a long story about a cat."
PATHS: Final = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
LIMITS: Final = {"/v1/responses": "max_output_tokens"}
every_pair = pytest.mark.parametrize(
    ("path", "model"),
    [(path, model) for path in PATHS for model in ("local/smollm2", "openai/smollm2", "anthropic/smollm2")],
)


@pytest.fixture(scope="module")
def gateway(launch: Callable[..., Any]) -> Iterator[httpx.Client]:
    """Return a client of the gateway, both servers run as the README says, on other ports."""
    model = launch(MODEL.replace("9001", "{port}").split(), folder=EXAMPLE, environ={}).url
    settings = yaml.safe_load((EXAMPLE / "plano.yaml").read_text(encoding="utf-8"))
    urls = [provider["base_url"].replace("http://127.0.0.1:9001", model) for provider in settings["model_providers"]]
    environ = {f"PLANO_MODEL_PROVIDERS__{number}__BASE_URL": url for number, url in enumerate(urls)}
    keys = {"OPENAI_API_KEY": "any", "ANTHROPIC_API_KEY": "any"}
    command = GATEWAY.replace("12000", "{port}").split()
    url = launch(command, folder=EXAMPLE, environ=environ | keys | PATIENCE).url
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        until = time.monotonic() + 60
        while client.post(PATHS[0], json=call(PATHS[0], "local/smollm2")).status_code != 200:  # the model is loading
            assert time.monotonic() < until
            time.sleep(0.1)
        yield client


def call(path: str, model: str, **more: Any) -> dict[str, Any]:
    """Return a call."""
    turns = [{"role": "user", "content": QUESTION}]
    said = {"input": QUESTION} if path == PATHS[2] else {"messages": turns}
    return {"model": model, LIMITS.get(path, "max_tokens"): 8, "temperature": 0, **said, **more}


def told(path: str, answer: Mapping[str, Any]) -> tuple[str, str, int, int]:
    """Return an answer's words, why it ended, and the tokens read and written."""
    usage = answer["usage"]
    if path == PATHS[0]:
        choice = answer["choices"][0]
        return choice["message"]["content"], choice["finish_reason"], usage["prompt_tokens"], usage["completion_tokens"]
    if path == PATHS[1]:
        text = "".join(block["text"] for block in answer["content"])
        read = usage["input_tokens"] + usage["cache_read_input_tokens"]
        return text, answer["stop_reason"], read, usage["output_tokens"]
    parts = [part["text"] for item in answer["output"] for part in item.get("content") or ()]
    return "".join(parts), answer["status"], usage["input_tokens"], usage["output_tokens"]


def words_of(path: str, event: Mapping[str, Any]) -> str:
    """Return what an event of a stream says."""
    if path == PATHS[0]:
        return "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))
    if path == PATHS[1]:
        return str(event.get("delta", {}).get("text", ""))
    return str(event["delta"]) if event["type"] == "response.output_text.delta" else ""


@every_pair
def test_the_model_answers_at_once_and_word_by_word(path: str, model: str, gateway: httpx.Client) -> None:
    """Its words, its token counts and its end come back in the caller's API, native or translated, in either way."""
    off = {"x-plano-routing": "off"}
    answer = gateway.post(path, json=call(path, model), headers=off)
    streamed = gateway.post(path, json=call(path, model, stream=True), headers=off)

    text, end, read, written = told(path, answer.json())
    assert answer.headers["x-plano-model"] == streamed.headers["x-plano-model"] == model
    assert end in {"length", "max_tokens", "incomplete", "completed"}  # llama.cpp's own Responses tells no limit
    assert read > 5
    assert 0 < written <= 9

    data = [line[6:] for line in streamed.text.splitlines() if line.startswith("data: ")]
    words = [words_of(path, json.loads(event)) for event in data if event != "[DONE]"]
    assert "".join(words) == text
    assert len([word for word in words if word]) > 3
    assert re.search(r'\[DONE\]|"message_stop"|"response\.(completed|incomplete)"', data[-1])


@pytest.mark.parametrize("model", ["local/smollm2", "anthropic/smollm2"])
def test_the_model_is_told_what_was_said_before(model: str, gateway: httpx.Client) -> None:
    """`previous_response_id` gives it the whole conversation: it reads more tokens than of the question alone."""
    off = {"x-plano-routing": "off"}
    first = gateway.post(PATHS[2], json=call(PATHS[2], model), headers=off).json()

    second = gateway.post(PATHS[2], json=call(PATHS[2], model, previous_response_id=first["id"]), headers=off).json()

    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"] + first["usage"]["output_tokens"]


def test_readme_tells_what_its_curl_answers(gateway: httpx.Client) -> None:
    """Small talk is routed to the model, and Messages events come back."""
    words = shlex.split(CURL)
    path = next(word for word in words if word.startswith("http")).removeprefix("http://127.0.0.1:12000")

    answer = gateway.post(path, content=words[words.index("-d") + 1], headers={"content-type": "application/json"})

    assert answer.headers["x-plano-model"] == "local/smollm2"
    assert answer.text.startswith("event: message_start")
    assert answer.text.rstrip().endswith('{"type":"message_stop"}')
