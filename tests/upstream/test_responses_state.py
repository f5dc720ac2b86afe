"""`previous_response_id`: kept for providers that keep nothing, sent to those that do, and nobody else's."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import openai
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

TEXT = "Guten Tag, 日本語 \U0001f680!"
FIRST, SECOND = "Schreib etwas", "und noch etwas"


@pytest.fixture
def client_of(serve: Callable[[Starlette], str]) -> Iterator[Callable[..., openai.OpenAI]]:
    """Return what serves an app and gives OpenAI's client of it, with a key."""
    with ExitStack() as clients:

        def make(app: Starlette, key: str = "mine") -> openai.OpenAI:
            """Serve it."""
            client = openai.OpenAI(base_url=f"{serve(app)}/v1", api_key=key, max_retries=0)
            return clients.enter_context(client)

        yield make


def answered(client: openai.OpenAI, text: str = FIRST, *, stream: bool = False, **more: Any) -> Any:
    """Make a call, and return the whole answer."""
    if not stream:
        return client.responses.create(model="auto", input=text, **more)
    *_, last = client.responses.create(model="auto", input=text, stream=True, **more)
    return getattr(last, "response", None)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", ["anthropic/fine", "mistral/fine"])
def test_a_provider_of_another_api_is_told_all_that_was_said(
    model: str, *, stream: bool, mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], provider: Any
) -> None:
    """Three turns by ids alone: each goes on from the one before, and the provider is sent the whole conversation."""
    client = client_of(mixed(model))

    first = answered(client, stream=stream)
    second = answered(client, SECOND, stream=stream, previous_response_id=first.id)
    answered(client, "Danke", stream=stream, previous_response_id=second.id)

    said = [[turn["role"] for turn in heard.call["messages"]] for heard in provider.heard]
    assert said == [["user"], ["user", "assistant", "user"], ["user", "assistant", "user", "assistant", "user"]]
    sent = provider.heard[-1].body.decode()
    assert [word in sent for word in (FIRST, SECOND, "Danke", "Guten Tag, ")] == [True] * 4
    assert (second.previous_response_id, second.store, first.previous_response_id) == (first.id, True, None)
    assert first.id.startswith("resp_")
    assert first.id != second.id


def test_keeping_is_no_loss(mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI]) -> None:
    """`store: true` and `previous_response_id` are ours to answer for, so no header names them."""
    client = client_of(mixed("anthropic/fine"))
    first = answered(client)

    raw = client.responses.with_raw_response.create(
        model="auto", input=SECOND, previous_response_id=first.id, store=True, max_output_tokens=9
    )

    assert "x-plano-losses" not in raw.headers


def test_a_conversation_goes_on_with_another_model(
    mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], provider: Any
) -> None:
    """What one model has said is told to the next, one that speaks Responses included, and failover goes on working."""
    client = client_of(mixed("anthropic/flaps", "openai/fine", more="failover: {attempts: 2}"))
    provider.counts["flaps"] = 1  # it fails every second time, beginning with the next but one

    first = answered(client)
    second = answered(client, SECOND, previous_response_id=first.id)

    assert {first.model, second.model} == {"flaps", "fine"}
    native = next(heard.call for heard in provider.heard if heard.path == "/v1/responses")
    assert "previous_response_id" not in native
    if second.model == "fine":
        assert [item["role"] for item in native["input"]] == ["user", "assistant", "user"]


def test_a_provider_that_keeps_its_answers_is_asked_to_go_on(
    mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], provider: Any
) -> None:
    """The id goes to the model that gave the answer, the call's bytes as they came, whatever the route says now."""
    client = client_of(mixed("anthropic/recovering", "openai/fine", more="failover: {to_default: true}"))
    first = answered(client)
    provider.is_down = False

    raw = client.responses.with_raw_response.create(model="auto", input=SECOND, previous_response_id=first.id)

    assert (first.id, raw.headers["x-plano-model"]) == ("r", "openai/fine")
    assert provider.heard[-1].call == {"model": "fine", "input": SECOND, "previous_response_id": "r"}


def test_nobody_stands_in_for_the_provider_that_keeps_it(
    mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], provider: Any
) -> None:
    """Where the owner fails the call fails: another model would not know what was said."""
    more = "failover: {attempts: 2, to_default: true, backoff_s: 0.01}"
    client = client_of(mixed("anthropic/down", "openai/recovering", more=more))
    provider.is_down = False
    first = answered(client)
    provider.is_down = True
    provider.heard.clear()

    with pytest.raises(openai.InternalServerError):
        answered(client, SECOND, previous_response_id=first.id)

    assert {heard.call["model"] for heard in provider.heard} == {"recovering"}


@pytest.mark.parametrize("model", ["anthropic/fine", "openai/fine"])
def test_an_id_is_of_use_to_nobody_else(
    model: str, mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], provider: Any
) -> None:
    """With another key, or without one, it is as unknown as one that was never given; the provider hears nothing."""
    app = mixed(model)
    first = answered(client_of(app))
    provider.heard.clear()

    for key, response_id in (("another's", first.id), ("mine", "resp_of_nobody")):
        with pytest.raises(openai.BadRequestError) as told:
            answered(client_of(app, key), SECOND, previous_response_id=response_id)
        assert (told.value.code, told.value.param) == ("previous_response_not_found", "previous_response_id")

    assert provider.heard == []


@pytest.mark.parametrize("model", ["anthropic/fine", "openai/fine"])
def test_store_false_keeps_nothing(
    model: str, mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI]
) -> None:
    """Its answer cannot be gone on from."""
    client = client_of(mixed(model))

    first = answered(client, store=False)

    with pytest.raises(openai.BadRequestError):
        answered(client, SECOND, previous_response_id=first.id)


@pytest.mark.parametrize("model", ["anthropic/cut", "openai/cut", "anthropic/unterminated"])
def test_a_stream_that_breaks_off_is_not_kept(
    model: str, mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI]
) -> None:
    """Nobody goes on from half an answer."""
    client = client_of(mixed(model, more="failover: {attempts: 1}"))
    events: list[Any] = []

    with suppress(openai.APIError):
        events += client.responses.create(model="auto", input=FIRST, stream=True)

    response_id = next(event.response.id for event in events if event.type == "response.created")
    with pytest.raises(openai.BadRequestError):
        answered(client, SECOND, previous_response_id=response_id)


@pytest.mark.parametrize("store", ["redis", "postgres"])
def test_workers_share_what_is_kept(
    store: str, mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], request: Any, provider: Any
) -> None:
    """What one worker has kept, another goes on from; neither key nor id can be read in the store."""
    url = request.getfixturevalue(f"{store}_url")
    more = f"responses_state: {{store: {store}}}\n{store}: {{url: '{url}', timeout_ms: 5000}}"
    first = answered(client_of(mixed("anthropic/fine", more=more)))

    answered(client_of(mixed("anthropic/fine", more=more)), SECOND, previous_response_id=first.id)

    assert [turn["role"] for turn in provider.heard[-1].call["messages"]] == ["user", "assistant", "user"]


def test_a_store_that_is_away_is_a_clear_error(
    mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], redis_server: Any, provider: Any
) -> None:
    """An answer is given even so, and says that it cannot be gone on from; what needs its beginning is refused."""
    more = f"responses_state: {{store: redis}}\nredis: {{url: '{redis_server.url}', timeout_ms: 5000}}"
    client = client_of(mixed("anthropic/fine", more=more))
    first = answered(client)
    redis_server.stop()

    with capture_logs() as logs:
        raw = client.responses.with_raw_response.create(model="auto", input=SECOND, max_output_tokens=9)
        streamed = answered(client, stream=True)
    with pytest.raises(openai.InternalServerError) as told:
        answered(client, SECOND, previous_response_id=first.id)

    assert raw.headers["x-plano-losses"] == "store"
    assert streamed.output_text == TEXT
    assert [log["event"] for log in logs].count("plano.response_not_kept") == 2
    assert (told.value.status_code, told.value.code) == (503, "responses_state_unavailable")
    assert len(provider.heard) == 3


def test_a_conversation_that_is_too_long_is_not_kept(
    mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI]
) -> None:
    """Its answer says so, and no call goes on from it."""
    client = client_of(mixed("anthropic/fine", more="responses_state: {conversation_bytes: 2000}"))

    long = client.responses.with_raw_response.create(model="auto", input="x" * 3000)
    growing = client.responses.with_raw_response.create(model="auto", input="x" * 1850)

    assert [raw.headers["x-plano-losses"].split(", ")[-1] for raw in (long, growing)] == ["store", "store"]
    assert json.loads(long.content)["store"] is False
    with pytest.raises(openai.BadRequestError):
        answered(client, SECOND, previous_response_id=growing.parse().id)


def test_ids_pass_as_they_are_where_nothing_is_kept(
    mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], provider: Any
) -> None:
    """`responses_state.store: none` leaves ids to providers, and tells those lost that a provider has no place for."""
    off = "responses_state: {store: none}"
    answered(client_of(mixed("openai/fine", more=off)), previous_response_id="resp_1")
    raw = client_of(mixed("anthropic/fine", more=off)).responses.with_raw_response.create(
        model="auto", input=FIRST, previous_response_id="resp_1", max_output_tokens=9
    )

    assert provider.heard[0].call["previous_response_id"] == "resp_1"
    assert raw.headers["x-plano-losses"] == "previous_response_id"


@pytest.mark.parametrize(("field", "value"), [("previous_response_id", 7), ("previous_response_id", ""), ("store", 1)])
def test_fields_of_another_type_are_refused(
    field: str, value: object, mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI]
) -> None:
    """The error names the field."""
    client = client_of(mixed("anthropic/fine"))

    with pytest.raises(openai.BadRequestError) as told:
        answered(client, extra_body={field: value})

    assert told.value.param == field
