"""The gateway as a client of llmock, which is not ours, breaks things on purpose, and judges how clients take it."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import anthropic
import anyio
import httpx2
import openai
import pytest
from llmock.pytest_plugin import LLMock
from starlette.applications import Starlette

from plano_asgi.testing import FixedClassifier

ANSWER: Final = "Sunny in Ulm, with some clouds in the late afternoon"
every_provider = pytest.mark.parametrize("provider", ["openai", "anthropic"])
every_way = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
Call = Callable[..., str]


@pytest.fixture
def call(app_of: Callable[..., Starlette], llmock: LLMock) -> Call:
    """Return what asks a gateway whose one model, or two, llmock serves, and reads the answer by OpenAI's SDK."""

    def ask(provider: str, *, stream: bool, models: int = 1, retries: int = 0, attempts: int = 3) -> str:
        """Ask, and as often again as `retries` says where the answer is an error."""
        names = [f"{provider}/m{number}" for number in range(models)]
        url = llmock.base_url(provider)
        declared = [f"{{model: {name}, base_url: '{url}', access_key: sk-x}}" for name in names]
        text = (
            "mode: forward\nforward: {first_byte_s: 5, stall_s: 0.4, answer_s: 5}\n"
            f"failover: {{attempts: {attempts}, backoff_s: 0.06}}\nrouting: {{unmatched: requested}}\n"
            f"model_providers: [{', '.join(declared)}]\n"
            f"routing_preferences: [{{name: all, description: all, models: [{', '.join(names)}]}}]\n"
        )
        app = app_of(text, FixedClassifier({"all": 0.9}))
        return anyio.run(partial(asked, app, stream=stream, retries=retries))

    llmock.reply(ANSWER, times=None).pace(2)
    return ask


async def asked(app: Starlette, *, stream: bool, retries: int) -> str:
    """Make a call to a gateway without a server between, and return the words of its answer."""
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport) as http,
        openai.AsyncOpenAI(base_url="http://plano.test/v1", api_key="mine", max_retries=0, http_client=http) as client,
    ):
        for left in reversed(range(retries + 1)):
            try:
                return await read(client, stream=stream)
            except openai.APIError:
                if not left:
                    raise
    raise AssertionError


async def read(client: openai.AsyncOpenAI, *, stream: bool) -> str:
    """Make a call, and return the words of its answer."""
    turns: Any = [{"role": "user", "content": "How is the weather?"}]
    create = client.chat.completions.create
    if not stream:
        answer = await create(model="auto", messages=turns, max_tokens=99)
        return answer.choices[0].message.content or ""
    chunks = [chunk async for chunk in await create(model="auto", messages=turns, max_tokens=99, stream=True)]
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@every_way
@every_provider
def test_a_rate_limit_is_waited_for(provider: str, call: Call, llmock: LLMock, *, stream: bool) -> None:
    """One model, limited for 0.3 s: it is asked again then and not before."""
    llmock.rate_limit(retry_after=0.3)

    assert call(provider, stream=stream) == ANSWER

    assert [record.status for record in llmock.requests] == [429, 200]
    llmock.assert_resilient(strict=True)


@every_way
@every_provider
@pytest.mark.parametrize("status", [408, 500])
def test_failures_are_tried_again_with_a_growing_pause(
    status: int, provider: str, call: Call, llmock: LLMock, *, stream: bool
) -> None:
    """Twice in a row: the third attempt answers, and each pause is longer than the one before."""
    llmock.fail(status, times=2)

    assert call(provider, stream=stream) == ANSWER

    assert [record.status for record in llmock.requests] == [status, status, 200]
    llmock.assert_resilient(strict=True)


@every_way
@every_provider
@pytest.mark.parametrize("status", [503, 529])
def test_a_provider_that_says_when_is_asked_then(
    status: int, provider: str, call: Call, llmock: LLMock, *, stream: bool
) -> None:
    """`Retry-After` is heeded of failures as of rate limits."""
    llmock.fail(status, retry_after=0.15)

    assert call(provider, stream=stream) == ANSWER

    assert [record.status for record in llmock.requests] == [status, 200]
    llmock.assert_resilient(strict=True)


@every_way
def test_an_outage_makes_no_storm(call: Call, llmock: LLMock, *, stream: bool) -> None:
    """A provider that is down for good is asked as often as the settings say, and the caller hears of it."""
    llmock.fail(500, times=None)

    with pytest.raises(openai.InternalServerError):
        call("openai", stream=stream, attempts=4)

    assert len(llmock.requests) == 4
    llmock.assert_resilient(strict=True)


@every_way
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_cannot_be_mended_by_trying_again_is_not_tried_again(
    status: int, call: Call, llmock: LLMock, *, stream: bool
) -> None:
    """One attempt, and an error."""
    llmock.fail(status, times=None)

    with pytest.raises(openai.APIStatusError):
        call("openai", stream=stream)

    assert len(llmock.requests) == 1
    llmock.assert_resilient(strict=True)


@pytest.mark.parametrize("after_chunks", [0, 1, 3])
@pytest.mark.parametrize("fault", ["disconnect", "truncate", "corrupt"])
@every_provider
def test_a_broken_stream_is_never_taken_for_a_whole_one(
    provider: str, fault: str, after_chunks: int, call: Call, llmock: LLMock
) -> None:
    """Before the first word the gateway tries again; after it the caller gets an error, asks again, and gets it all."""
    getattr(llmock, fault)(after_chunks=after_chunks)

    assert call(provider, stream=True, retries=1) == ANSWER

    assert len(llmock.requests) == 2
    llmock.assert_resilient(strict=True)


@every_provider
def test_a_stalled_stream_is_given_up(provider: str, call: Call, llmock: LLMock) -> None:
    """Nobody sits through a silence of 30 s."""
    llmock.stall(after_chunks=3, seconds=30)

    assert call(provider, stream=True, retries=1) == ANSWER

    llmock.assert_resilient(strict=True)


@every_way
def test_another_model_answers_at_once(call: Call, llmock: LLMock, *, stream: bool) -> None:
    """Where one model of two is limited for a long time, the other one answers and the first is left alone."""
    llmock.fail(429, retry_after=30, model="m0", times=None)

    assert call("openai", stream=stream, models=2) == ANSWER

    assert [record.model for record in llmock.requests] == ["m0", "m1"]
    assert not llmock.verdict().errors


def test_real_quotas_are_kept(
    app_of: Callable[..., Starlette], serve: Callable[[Starlette], str], llmock: LLMock
) -> None:
    """Three requests a minute: the caller's SDK is told so in its own API, and the gateway does not ask on and on."""
    llmock.limits(rpm=3)
    text = (
        "mode: forward\nfailover: {backoff_max_s: 0.5}\nmodel_providers: [{model: anthropic/m, default: true, "
        f"base_url: '{llmock.base_url('anthropic')}', access_key: sk-x}}]\n"
    )
    turns: Any = [{"role": "user", "content": "Hello"}]
    url = serve(app_of(text, FixedClassifier({})))

    with anthropic.Anthropic(base_url=url, api_key="mine", max_retries=0) as client:
        for _ in range(3):
            client.messages.create(model="auto", max_tokens=9, messages=turns)
        for _ in range(3):
            with pytest.raises(anthropic.RateLimitError) as told:
                client.messages.create(model="auto", max_tokens=9, messages=turns)

    assert float(told.value.response.headers["retry-after"]) > 0.5
    assert [record.status for record in llmock.requests] == [200, 200, 200, 429]
    assert not llmock.verdict().errors
