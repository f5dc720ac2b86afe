"""Where tokenizer and `max_tokens` are known, what is really used never exceeds a limit. With a real redis-server."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tokenizers import Tokenizer

from plano_asgi import PlanoMiddleware
from plano_asgi.assembly import build_router, build_service
from plano_asgi.govern import Caller, Governor
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier
from plano_asgi.wire import read_document
from plano_asgi.wire.usage import Usage

LIMIT: Final = 20_000
CALLS: Final = 300
TEXTS: Final = (
    "Write a parser for ISO dates in Kotlin, please.",
    "請幫我把這段文字翻譯成英文,謝謝。",
    '{"rows": [{"id": 104729, "price": 19.95}, {"id": 1299709, "price": 0.5}]}',
    "def f(x):\n    return [y ** 2 for y in range(x) if y % 3]\n",
    "🚀🤖 9f86d081884c7d659a2feaa0c55ad015",
    "Übergrößenträger, ÀÉÎÕÜ!",
)


@dataclass(frozen=True)
class Model:
    """An LLM that writes a call out as its chat template says, and counts what it reads by its own tokenizer."""

    tokenizer: Tokenizer

    def count(self, text: str) -> int:
        """Return how many tokens a text has, marks as they are meant."""
        return len(self.tokenizer.encode(text, add_special_tokens=False))

    def read(self, messages: list[dict[str, str]]) -> int:
        """Return how many tokens the model has read of a call."""
        said = [f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages]
        return self.count("".join(said) + "<|im_start|>assistant\n")

    @property
    def overhead(self) -> dict[str, int]:
        """What its template adds to a message of a user's, and to a call, as an operator would write it down."""
        return {
            "message": self.count("<|im_start|>user\n<|im_end|>\n"),
            "call": self.count("<|im_start|>assistant\n"),
        }


@pytest.fixture
def model(tokenizer_json: Path) -> Model:
    """Return the LLM."""
    return Model(Tokenizer.from_file(str(tokenizer_json)))


@pytest.fixture(params=["memory", "redis"])
def governor(
    request: pytest.FixtureRequest,
    model: Model,
    tokenizer_json: Path,
    settings_of: Callable[[str], Settings],
    tmp_path: Path,
) -> Governor:
    """Return what holds callers to a limit of tokens, counted in memory or in Redis."""
    of_redis = f'redis: {{url: "{request.getfixturevalue("redis_url")}", prefix: "{tmp_path.name}:"}}\n'
    text = (
        "mode: forward\n"
        "model_providers:\n"
        f"  - {{model: own/llm, base_url: 'http://x/v1', default: true, tokenizer: '{tokenizer_json}',"
        f" chat_overhead: {json.dumps(model.overhead)}}}\n"
        f"ratelimits: [{{limit: {{tokens: {LIMIT}, unit: day}}}}]\n"
        f"governance: {{store: {request.param}, on_store_failure: fail_closed}}\n"
        f"{of_redis if request.param == 'redis' else ''}"
    )
    service = build_service(settings_of(text))
    service.tokens.load()
    assert service.governor
    return service.governor


def test_real_use_never_exceeds_the_limit_where_all_is_known(governor: Governor, model: Model) -> None:
    """300 calls at once, settled while others are admitted: at no time is more used than the limit."""
    chance = random.Random(7)  # noqa: S311 - a choice of texts
    used = refused = 0
    errors: list[int] = []

    async def call() -> None:
        """Make one call; its answer is as long as it may be, or shorter."""
        nonlocal used, refused
        messages = [
            {"role": "user", "content": " ".join(chance.choices(TEXTS, k=chance.randrange(1, 9)))}
            for _ in range(chance.randrange(1, 5))
        ]
        most = chance.randrange(1, 80)
        written = chance.choice((most, chance.randrange(most + 1)))
        document = read_document(json.dumps({"messages": messages, "max_tokens": most}).encode())
        admission = await governor.admission(Caller([]), document, route=None, models=["own/llm"])
        await anyio.sleep(chance.random() / 50)
        if await admission.admit("own/llm"):
            refused += 1
            return
        read = model.read(messages)
        errors.append(read + most - admission.counted[0].amount)
        used += read + written
        assert used <= LIMIT
        await anyio.sleep(chance.random() / 50)
        await admission.settle(Usage(input_tokens=read, output_tokens=written))

    async def run() -> None:
        """Make all of them at once."""
        async with anyio.create_task_group() as calls:
            for _ in range(CALLS):
                calls.start_soon(call)

    anyio.run(run)
    assert set(errors) == {0}
    assert refused > 20
    assert LIMIT * 0.9 < used <= LIMIT


async def _echo(request: Request) -> JSONResponse:
    """Answer anything."""
    return JSONResponse({"model": (await request.json())["model"]})


def test_an_apps_callers_are_held_to_what_their_model_counts(
    model: Model, tokenizer_json: Path, settings_of: Callable[[str], Settings]
) -> None:
    """Behind the middleware, what callers are told of is the count of the model's own tokenizer."""
    text = (
        f"model_providers: [{{model: own/llm, default: true, tokenizer: '{tokenizer_json}',"
        f" chat_overhead: {json.dumps(model.overhead)}}}]\n"
        "ratelimits: [{limit: {input_tokens: 1000, unit: day}}]\n"
    )
    messages = [{"role": "user", "content": said} for said in TEXTS]
    echo = Starlette(routes=[Route("/v1/chat/completions", _echo, methods=["POST"])])
    settings = settings_of(text)
    router = build_router(settings, classifier=FixedClassifier({}))
    router.start()
    app = PlanoMiddleware(echo, settings=settings, router=router)

    async def ask() -> httpx.Response:
        """Make one call."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://plano.test") as client:
            return await client.post("/v1/chat/completions", json={"model": "x", "messages": messages})

    answer: Any = anyio.run(ask)
    router.close()

    assert int(answer.headers["ratelimit"].split(";")[1].removeprefix("r=")) == 1_000 - model.read(messages)
