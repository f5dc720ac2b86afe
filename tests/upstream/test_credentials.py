"""Which key a provider is sent, and how: by its style of authentication, in turns, and with none of anybody else's."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from plano_asgi.providers import ModelProvider, WeightedKey
from plano_asgi.secret import Secret
from plano_asgi.testing import FixedClassifier
from plano_asgi.upstream import Keys

ANSWER: Final = {
    "id": "c",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
MESSAGE: Final = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


class Door:
    """A provider that notes whom it lets in, and rejects some keys."""

    def __init__(self) -> None:
        """Let everybody in."""
        self.url = ""
        self.rejected: dict[str, int] = {}
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    async def answer(self, request: Request) -> Response:
        """Answer in the API of the path."""
        headers = dict(request.headers)
        query = f"?{request.url.query}" if request.url.query else ""
        self.seen.append((request.scope["raw_path"].decode() + query, headers, json.loads(await request.body())))
        status = self.rejected.get(self.keys[-1], 200)
        if status != 200:
            later = {"retry-after": "30"} if status == 429 else {}
            return JSONResponse({"error": {"message": f"no: {self.keys[-1]}", "type": "x"}}, status, later)
        return JSONResponse(MESSAGE if request.url.path.endswith("/messages") else ANSWER)

    @property
    def keys(self) -> list[str]:
        """The bearer tokens so far."""
        return [headers.get("authorization", "").removeprefix("Bearer ") for _, headers, _ in self.seen]


@pytest.fixture(scope="module")
def opened(serve: Callable[[Starlette], str]) -> Door:
    """Return a provider that is served."""
    door = Door()
    door.url = serve(Starlette(routes=[Route("/{path:path}", door.answer, methods=["POST"])]))
    return door


@pytest.fixture
def door(opened: Door) -> Door:
    """Return the provider, with nothing seen and nobody rejected."""
    opened.seen.clear()
    opened.rejected.clear()
    return opened


@pytest.fixture
def gateway(app_of: Callable[..., Starlette]) -> Callable[..., Starlette]:
    """Return what makes a service of some providers, each written as a mapping's inside; the first is the default."""

    def make(*entries: str, more: str = "") -> Starlette:
        first, *rest = entries
        lines = [f"  - {{{first}, default: true}}", *(f"  - {{{entry}}}" for entry in rest)]
        return app_of("\n".join(["mode: forward", "model_providers:", *lines, more, ""]), FixedClassifier({}))

    return make


STYLES: Final = [
    ("openai/gpt", "/v1", "/v1/chat/completions", {"authorization": "Bearer sk-own"}),
    ("groq/llama", "/openai/v1", "/openai/v1/chat/completions", {"authorization": "Bearer sk-own"}),
    ("perplexity/sonar", "", "/chat/completions", {"authorization": "Bearer sk-own"}),
    ("anthropic/claude", "", "/v1/messages", {"x-api-key": "sk-own", "anthropic-version": "2023-06-01"}),
    ("anthropic/claude", "/v1", "/v1/messages", {"x-api-key": "sk-own"}),
    (
        "azure_openai/my-gpt",
        "",
        "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
        {"api-key": "sk-own"},
    ),
    ("azure_openai/my-gpt", "/openai/v1", "/openai/v1/chat/completions", {"api-key": "sk-own"}),
    (
        "vertex_ai/google/gemini-2.5-flash",
        "/v1/projects/p/locations/l/endpoints/openapi",
        "/v1/projects/p/locations/l/endpoints/openapi/chat/completions",
        {"authorization": "Bearer sk-own"},
    ),
]
ALL_CREDENTIALS: Final = frozenset({"authorization", "x-api-key", "api-key"})


@pytest.mark.parametrize(("model", "below", "target", "expected"), STYLES, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("access", ["access_key: sk-own", "passthrough_auth: true"], ids=["own", "passed through"])
def test_each_provider_is_asked_at_its_place_with_the_one_key_in_its_style(  # noqa: PLR0913, PLR0917 - a table's columns, and where it is tried
    model: str,
    below: str,
    target: str,
    expected: dict[str, str],
    access: str,
    door: Door,
    gateway: Callable[..., Starlette],
    ask_chat: Callable[..., httpx.Response],
) -> None:
    """Path, header and body are the provider's own, with configured headers and host, and no other credential."""
    app = gateway(f"model: {model}, base_url: '{door.url}{below}', {access}, headers: {{x-team: a}}, http_host: b.test")

    answer = ask_chat(app, headers={"authorization": "Bearer sk-own", "cookie": "c=1"})

    assert answer.status_code == 200, answer.text
    ((asked, headers, body),) = door.seen
    assert asked == target
    assert expected.items() <= headers.items()
    assert ALL_CREDENTIALS & headers.keys() == ALL_CREDENTIALS & expected.keys()
    assert (headers["x-team"], headers["host"]) == ("a", "b.test")
    assert "cookie" not in headers
    assert body["model"] == model.partition("/")[2]


@pytest.mark.parametrize(
    ("version", "credential"),
    [
        ("2023-06-01", {"x-api-key": "sk-own"}),
        ("2026-10-21", {"authorization": "Bearer sk-own"}),
        ("2027-01-01", {"authorization": "Bearer sk-own"}),
    ],
)
def test_key_is_sent_as_the_clients_version_of_messages_wants_it(
    version: str, credential: dict[str, str], door: Door, gateway: Callable[..., Starlette], ask_in_messages: Any
) -> None:
    """From Claude's client to Claude the version goes on, and the key goes where that version has it."""
    app = gateway(f"model: anthropic/claude, base_url: '{door.url}', access_key: sk-own")

    ask_in_messages(app, {"anthropic-version": version, "anthropic-beta": "b"})

    headers = door.seen[0][1]
    assert (headers["anthropic-version"], headers["anthropic-beta"]) == (version, "b")
    assert {name: headers[name] for name in ALL_CREDENTIALS if name in headers} == credential


def test_translated_call_is_in_the_version_that_we_write(
    door: Door, gateway: Callable[..., Starlette], ask_chat: Callable[..., httpx.Response]
) -> None:
    """Sampling parameters of a Chat Completions call reach Claude, since the version that takes them is named."""
    later = "headers: {anthropic-version: '2027-01-01'}"
    app = gateway(f"model: anthropic/claude, base_url: '{door.url}', access_key: sk-own, {later}")

    ask_chat(app, temperature=0.5, headers={"anthropic-version": "2026-10-21", "anthropic-beta": "b"})

    _, headers, body = door.seen[0]
    assert (headers["anthropic-version"], headers["x-api-key"], body["temperature"]) == ("2023-06-01", "sk-own", 0.5)
    assert "anthropic-beta" not in headers


@pytest.fixture
def ask_in_messages(ask: Callable[..., httpx.Response]) -> Callable[..., httpx.Response]:
    """Return what makes one Messages call."""
    body = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    return lambda app, headers: ask(app, "POST", "/v1/messages", json=body, headers=headers)


@pytest.fixture
def ask_often(ask: Callable[..., httpx.Response]) -> Callable[..., list[httpx.Response]]:
    """Return what makes some Chat Completions calls, one after the other."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    return lambda app, times: [ask(app, "POST", "/v1/chat/completions", json=body) for _ in range(times)]


def test_keys_take_turns_by_their_weight(
    door: Door, gateway: Callable[..., Starlette], ask_often: Callable[..., list[httpx.Response]]
) -> None:
    """A key of weight 3 is sent three times as often as one of weight 1, and not three times in a row for ever."""
    keys = "[{key: heavy, weight: 3}, light]"

    ask_often(gateway(f"model: own/a, base_url: '{door.url}', access_key: {keys}"), 8)

    assert (door.keys.count("heavy"), door.keys.count("light")) == (6, 2)
    assert door.keys[:4] == door.keys[4:]


@pytest.mark.parametrize("status", [401, 403, 429])
def test_rejected_key_is_left_alone_and_the_others_go_on(
    status: int, door: Door, gateway: Callable[..., Starlette], ask_often: Callable[..., list[httpx.Response]]
) -> None:
    """A call whose key is rejected is answered by the same model at once with another, and the key is left alone."""
    door.rejected["bad"] = status
    app = gateway(f"model: own/a, base_url: '{door.url}', access_key: [bad, good, fine]")

    with capture_logs() as logs:
        answers = ask_often(app, 4)

    assert [answer.status_code for answer in answers] == [200] * 4
    assert door.keys.count("bad") == 1
    assert {"good", "fine"} <= set(door.keys)
    first = answers[0].headers["x-plano-attempts"]
    assert first.startswith(f"own/a;outcome={'rate_limited' if status == 429 else 'key_refused'};status={status}")
    told = json.dumps(logs, default=str) + "".join(f"{answer.headers}{answer.text}" for answer in answers)
    assert not [key for key in ("bad", "good", "fine") if f'"{key}"' in told or f"no: {key}" in told]


def test_model_whose_keys_are_all_rejected_has_failed(
    door: Door, gateway: Callable[..., Starlette], ask_often: Callable[..., list[httpx.Response]]
) -> None:
    """Where no key is left the model has failed as it would with its one key, and the error repeats nothing of it."""
    door.rejected |= {"one": 401, "two": 403}

    (answer,) = ask_often(gateway(f"model: own/a, base_url: '{door.url}', access_key: [one, two]"), 1)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_failed")
    assert "no: " not in answer.text
    assert set(door.keys) == {"one", "two"}


def test_route_goes_on_to_its_next_model_when_no_key_is_left(
    door: Door, app_of: Callable[..., Starlette], ask_often: Callable[..., list[httpx.Response]]
) -> None:
    """With all keys rejected the next model of the route is asked, with its own key."""
    door.rejected |= {"one": 401, "two": 429}
    app = app_of(
        "mode: forward\nmodel_providers:\n"
        f"  - {{model: own/a, default: true, base_url: '{door.url}', access_key: [one, two]}}\n"
        f"  - {{model: own/b, base_url: '{door.url}', access_key: spare}}\n"
        "routing_preferences: [{name: r, description: r, models: [own/a, own/b]}]\n",
        FixedClassifier({"r": 0.9}),
    )

    (answer,) = ask_often(app, 1)

    assert answer.headers["x-plano-model"] == "own/b"
    assert door.keys == ["one", "two", "spare"]


def keyed(*weights: int) -> ModelProvider:
    """Return a provider with a key of each weight, named by its place."""
    keys = tuple(WeightedKey(key=Secret(f"k{place}"), weight=weight) for place, weight in enumerate(weights))
    return ModelProvider(model="own/a", access_key=keys[0].key, access_keys=keys)


def test_key_rests_for_as_long_as_it_was_told_to() -> None:
    """A rejected key comes back after the provider's own time, or ours where it names none."""
    now = [0.0]
    keys, provider = Keys(rest_s=60, clock=lambda: now[0]), keyed(1, 1)

    assert keys.rejected(provider, Secret("k1"), 5.0)
    assert not keys.rejected(provider, Secret("k0"), None)
    assert keys.next(provider) == Secret("k1")  # both rest: the one that rests shortest
    now[0] = 6.0
    assert [keys.next(provider) for _ in range(3)] == [Secret("k1")] * 3
    now[0] = 61.0
    assert {keys.next(provider) for _ in range(2)} == {Secret("k0"), Secret("k1")}


def test_models_with_one_list_share_what_is_known_of_its_keys() -> None:
    """A key that one model's call has found rejected is not tried by the next model with the same list."""
    keys, first = Keys(), keyed(1, 1)
    other = ModelProvider(model="own/b", access_key=first.access_key, access_keys=first.access_keys)

    assert keys.rejected(first, Secret("k0"), None)

    assert keys.next(other) == Secret("k1")


def test_single_key_is_never_rested() -> None:
    """With one key there is nothing to choose: it is sent, and its refusal is the model's failure."""
    keys, provider = Keys(), ModelProvider(model="own/a", access_key=Secret("only"))

    assert not keys.rejected(provider, Secret("only"), None)
    assert keys.next(provider) == Secret("only")
    assert keys.next(ModelProvider(model="own/a")) is None


def test_calls_side_by_side_share_the_turns(door: Door, gateway: Callable[..., Starlette]) -> None:
    """Many calls at once are spread over the keys as calls one after the other are."""
    app = gateway(f"model: own/a, base_url: '{door.url}', access_key: [one, two, {{key: four, weight: 2}}]")
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}

    async def at_once() -> list[int]:
        """Make forty calls at once."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://plano.test") as client:
            asked = [client.post("/v1/chat/completions", json=body) for _ in range(40)]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert set(asyncio.run(at_once())) == {200}
    assert [door.keys.count(key) for key in ("one", "two", "four")] == [10, 10, 20]
