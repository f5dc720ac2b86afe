"""`/v1/responses/{id}`: answers read again, listed by what they were made of and deleted, by those they belong to."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Literal

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from plano_asgi.testing import FixedClassifier

FIRST, SECOND = "Schreib etwas", "und noch etwas \U0001f680"
KEEPING = """\
mode: forward
model_providers: [{{model: openai/fine, default: true, base_url: '{url}/v1', access_key: sk-canary}}]
"""
KEPT_BY_PROVIDER = {"id": "resp_theirs", "object": "response", "status": "completed", "model": "fine", "output": []}


class KeepingProvider:
    """A provider that speaks Responses and keeps its answers.

    Attributes:
        asked: Method, target, key and content type of each request below an id.
        status: Of the answers to those.
    """

    def __init__(self) -> None:
        """Have heard nothing."""
        self.asked: list[tuple[str, str, str, str | None]] = []
        self.status = 200
        self.words = "Response with id 'resp_theirs' not found."

    @property
    def app(self) -> Starlette:
        """The provider."""
        stored = Route("/v1/responses/{rest:path}", self._stored, methods=["GET", "DELETE"])
        return Starlette(routes=[Route("/v1/responses", self._created, methods=["POST"]), stored])

    async def _created(self, _: Request) -> JSONResponse:
        """Answer a call."""
        return JSONResponse(KEPT_BY_PROVIDER)

    async def _stored(self, request: Request) -> JSONResponse:
        """Answer a request below an id, as `status` says."""
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        headers = request.headers
        self.asked.append((request.method, target, headers["authorization"], headers.get("content-type")))
        if self.status >= httpx.codes.BAD_REQUEST:
            error = {"message": self.words, "type": "invalid_request_error", "param": None, "code": None}
            return JSONResponse({"error": error}, self.status)
        if target.endswith("/input_items"):
            return JSONResponse({"object": "list", "data": [], "has_more": False})
        return JSONResponse(KEPT_BY_PROVIDER | {"status": "completed"}, headers={"x-request-id": "req_theirs"})


@pytest.fixture
def client_of(serve: Callable[[ASGIApp], str]) -> Iterator[Callable[..., openai.OpenAI]]:
    """Return what serves an app and gives OpenAI's client of it, with a key."""
    with ExitStack() as clients:

        def make(app: ASGIApp, key: str = "mine", prefix: str = "") -> openai.OpenAI:
            """Serve it."""
            client = openai.OpenAI(base_url=f"{serve(app)}{prefix}/v1", api_key=key, max_retries=0)
            return clients.enter_context(client)

        yield make


@pytest.fixture
def keeping(serve: Callable[[ASGIApp], str], app_of: Callable[..., Starlette]) -> tuple[KeepingProvider, Starlette]:
    """Return a provider that keeps its answers, and the service in front of it."""
    provider = KeepingProvider()
    return provider, app_of(KEEPING.format(url=serve(provider.app)), FixedClassifier({}))


def created(client: openai.OpenAI, said: Any = FIRST, *, stream: bool = False, **more: Any) -> Any:
    """Make a call, and return the whole answer."""
    if not stream:
        return client.responses.create(model="auto", input=said, **more)
    *_, last = client.responses.create(model="auto", input=said, stream=True, **more)
    assert last.type == "response.completed"
    return last.response


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("store", ["memory", "redis", "postgres"])
def test_an_answer_is_read_again_and_deleted_by_any_worker(
    store: str, *, stream: bool, mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], request: Any
) -> None:
    """It comes back as it was given, and after it is deleted neither it, nor its items, nor a call finds it."""
    more = f"responses_state: {{store: {store}}}"
    if store != "memory":
        more += f"\n{store}: {{url: '{request.getfixturevalue(f'{store}_url')}', timeout_ms: 5000}}"
    client = client_of(mixed("anthropic/fine", more=more))
    other = client if store == "memory" else client_of(mixed("anthropic/fine", more=more))
    given = created(client, stream=stream)

    assert other.responses.retrieve(given.id).to_dict() == given.to_dict()

    deleted = client.responses.with_raw_response.delete(given.id)
    assert deleted.http_response.json() == {"id": given.id, "object": "response", "deleted": True}
    for gone in (other.responses.retrieve, other.responses.delete, other.responses.input_items.list):
        with pytest.raises(openai.NotFoundError) as told:
            gone(given.id)
        assert (told.value.code, told.value.type) == ("response_not_found", "invalid_request_error")
    with pytest.raises(openai.BadRequestError):
        created(other, SECOND, previous_response_id=given.id)


def test_what_went_on_from_a_deleted_answer_stays(
    mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], provider: Any
) -> None:
    """A conversation is kept with each of its answers, so that deleting one does not tear the others."""
    client = client_of(mixed("anthropic/fine"))
    first = created(client)
    second = created(client, SECOND, previous_response_id=first.id)

    client.responses.delete(first.id)
    created(client, "Danke", previous_response_id=second.id)

    assert [turn["role"] for turn in provider.heard[-1].call["messages"]].count("user") == 3


def test_items_are_those_that_the_answer_was_made_of(
    mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI]
) -> None:
    """All of them, what was said before included, in full and the latest first unless told otherwise."""
    client = client_of(mixed("anthropic/fine"))
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    found = {"type": "function_call_output", "call_id": "c1", "output": "nothing"}
    first = created(client, [{"role": "user", "content": FIRST}, call, found, {"role": "assistant", "content": "So."}])
    second = created(client, SECOND, previous_response_id=first.id)

    items: list[Any] = [item.to_dict() for item in client.responses.input_items.list(second.id, order="asc")]

    told = [(item["type"], item.get("role"), item["content"][0] if "content" in item else None) for item in items]
    assert told[0] == ("message", "user", {"type": "input_text", "text": FIRST})
    assert [kind for kind, *_ in told[1:3]] == ["function_call", "function_call_output"]
    assert told[3] == ("message", "assistant", {"type": "output_text", "text": "So."})
    assert told[4][:2] == ("message", "assistant")
    assert items[4] == first.output[0].to_dict()
    assert told[5] == ("message", "user", {"type": "input_text", "text": SECOND})
    ids = [item["id"] for item in items]
    assert len(set(ids)) == len(ids) == 6
    assert ids[0].startswith("msg_")
    assert ids[1].startswith("fc_")
    assert [item.id for item in client.responses.input_items.list(second.id)] == ids[::-1]


def test_pages_have_every_item_once(mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI]) -> None:
    """The SDK turns the pages by itself, though one id was sent with two of the items; each page says where it ends."""
    client = client_of(mixed("anthropic/fine"))
    said = [{"type": "message", "role": "user", "content": str(number)} for number in range(25)]
    said[3]["id"] = said[17]["id"] = "msg_twice"
    given = created(client, said)

    orders: tuple[Literal["asc", "desc"], ...] = ("asc", "desc")
    for order, limit in itertools.product(orders, (1, 4, 20, 100)):
        page = client.responses.input_items.with_raw_response.list(given.id, order=order, limit=limit)
        raw = page.http_response.json()

        words = [item.to_dict()["content"][0]["text"] for item in page.parse()]  # type: ignore[index]  # of a message
        assert words == [str(number) for number in (range(25) if order == "asc" else reversed(range(25)))]
        assert len(raw["data"]) == min(limit, 25)
        assert (raw["first_id"], raw["last_id"]) == (raw["data"][0]["id"], raw["data"][-1]["id"])
        assert (raw["object"], raw["has_more"]) == ("list", limit < 25)


def test_queries_that_make_no_sense_are_refused(
    mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI]
) -> None:
    """The error names the field; an answer is not streamed again, whatever a client waits for."""
    client = client_of(mixed("anthropic/fine"))
    given = created(client)
    asked: list[tuple[str, object]] = [("limit", 0), ("limit", 101), ("limit", "x"), ("order", "up"), ("after", "msg_")]
    asked += [("limit", "0" * 8 + "1" + "9" * many) for many in (20, 5_000)]

    for field, value in asked:
        with pytest.raises(openai.BadRequestError) as told:
            client.responses.input_items.list(given.id, extra_query={field: value})
        assert (told.value.param, told.value.code) == (field, "invalid_value")
    with pytest.raises(openai.BadRequestError) as told:
        client.responses.retrieve(given.id, stream=True)
    assert told.value.param == "stream"


@pytest.mark.parametrize("model", ["anthropic/fine", "openai/fine"])
def test_an_answer_is_nobody_elses(
    model: str, mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], provider: Any
) -> None:
    """With another key, or none, it is not there to be read, listed or deleted, and no provider hears of it."""
    app = mixed(model)
    mine = client_of(app)
    given = created(mine)
    provider.heard.clear()

    for stranger in (mine.copy(api_key="another's"), mine.copy(default_headers={"api-key": "x"})):
        for asked in (stranger.responses.retrieve, stranger.responses.input_items.list, stranger.responses.delete):
            with pytest.raises(openai.NotFoundError) as told:
                asked(given.id)
            assert told.value.code == "response_not_found"

    assert provider.heard == []
    if model == "anthropic/fine":
        assert mine.responses.retrieve(given.id).id == given.id


def test_store_false_is_not_kept(mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI]) -> None:
    """An answer whose call forbids it cannot be read again."""
    client = client_of(mixed("anthropic/fine"))

    given = created(client, store=False)

    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(given.id)


def test_what_its_provider_keeps_is_read_listed_and_deleted_there(
    keeping: tuple[KeepingProvider, Starlette], client_of: Callable[..., openai.OpenAI]
) -> None:
    """The provider is asked with its own key, and once it has deleted an answer nothing leads there any more."""
    provider, app = keeping
    client = client_of(app)
    given = created(client)

    raw = client.responses.with_raw_response.retrieve(given.id, include=["reasoning.encrypted_content"])
    client.responses.input_items.list(given.id)
    client.responses.delete(given.id)

    assert (raw.parse().id, raw.headers["x-request-id"]) == ("resp_theirs", "req_theirs")
    assert provider.asked == [
        ("GET", "/v1/responses/resp_theirs?include%5B%5D=reasoning.encrypted_content", "Bearer sk-canary", None),
        ("GET", "/v1/responses/resp_theirs/input_items", "Bearer sk-canary", None),
        ("DELETE", "/v1/responses/resp_theirs", "Bearer sk-canary", None),
    ]
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(given.id)
    assert len(provider.asked) == 3


@pytest.mark.parametrize(
    ("status", "words", "told"),
    [
        (404, "not found", 404),
        (400, "no such include", 400),
        (401, "Incorrect API key provided: sk-canary", 502),
        (404, "not found with sk-canary", 502),
        (500, "out of order", 502),
        (400, "no such include " * 5_000, 502),
    ],
    ids=["gone", "wrong", "key refused", "key repeated", "down", "long"],
)
def test_a_provider_that_refuses_is_repeated_only_where_it_speaks_to_the_caller(
    status: int,
    words: str,
    told: int,
    keeping: tuple[KeepingProvider, Starlette],
    client_of: Callable[..., openai.OpenAI],
) -> None:
    """What it finds wrong with the request is told in its words; what is between it and us is not, and stays kept."""
    provider, app = keeping
    client = client_of(app)
    given = created(client)
    provider.status, provider.words = status, words

    for asked in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.APIStatusError) as error:
            asked(given.id)
        assert error.value.status_code == told
        assert "sk-canary" not in str(error.value)
        assert (words in str(error.value)) == (told == status)

    provider.status = 200
    assert client.responses.retrieve(given.id).id == given.id


def test_guardrails_let_nobody_read_what_its_provider_keeps(
    client_of: Callable[..., openai.OpenAI], serve: Callable[[ASGIApp], str], app_of: Callable[..., Starlette]
) -> None:
    """No guardrail has seen it, so it is refused, its items too, and no provider is asked; it may be deleted."""
    provider = KeepingProvider()
    guarded = KEEPING.format(url=serve(provider.app)) + "guardrails: {answers: [{filter: patterns, deny: ['heron']}]}\n"
    client = client_of(app_of(guarded, FixedClassifier({})))
    given = created(client)

    for asked in (client.responses.retrieve, client.responses.input_items.list):
        with pytest.raises(openai.PermissionDeniedError) as told:
            asked(given.id)
        assert told.value.code == "response_not_judged"
    client.responses.delete(given.id)

    assert [method for method, *_ in provider.asked] == ["DELETE"]


def test_a_store_that_is_away_is_no_missing_answer(
    mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], redis_server: Any
) -> None:
    """Nobody is told that an answer is gone because nobody can look."""
    more = f"responses_state: {{store: redis}}\nredis: {{url: '{redis_server.url}', timeout_ms: 5000}}"
    client = client_of(mixed("anthropic/fine", more=more))
    given = created(client)
    redis_server.stop()

    for asked in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.InternalServerError) as told:
            asked(given.id)
        assert (told.value.status_code, told.value.code) == (503, "responses_state_unavailable")


def test_allow_lists_hold_here_too(
    mixed: Callable[..., Starlette], client_of: Callable[..., openai.OpenAI], provider: Any
) -> None:
    """Whom the service does not know is refused, and reads nothing, not even that there is nothing."""
    more = "allow_lists: [{selector: {key: api_key, value: mine}, models: ['*']}]"
    client = client_of(mixed("anthropic/fine", more=more), "a stranger's")

    with pytest.raises(openai.PermissionDeniedError) as told:
        client.responses.retrieve("resp_x")

    assert told.value.code == "caller_unknown"
    assert provider.heard == []


def test_the_middleware_serves_them_below_the_prefix_of_its_calls(
    behind: Callable[..., ASGIApp], provider: Any, client_of: Callable[..., openai.OpenAI]
) -> None:
    """Where an app's calls are below a prefix their answers are, too; every other request still reaches the app."""

    async def app_own(_: Request) -> JSONResponse:
        """Answer as the app."""
        return JSONResponse({"from": "the app"})

    app = Starlette(routes=[Route("/{rest:path}", app_own, methods=["GET", "DELETE", "POST"])])
    model = f"{{model: anthropic/fine, default: true, base_url: '{provider.url}', access_key: sk-x}}"
    client = client_of(behind(app, f"mode: forward\nmodel_providers: [{model}]\n", FixedClassifier({})), prefix="/ai")
    given = created(client)

    assert client.responses.retrieve(given.id).id == given.id
    others = [("GET", "/responses"), ("GET", f"/responses/{given.id}/other"), ("GET", f"/responses/{given.id}%2Fx")]
    others += [("DELETE", f"/responses/{given.id}/input_items"), ("POST", f"/responses/{given.id}/cancel")]
    http = httpx.Client(base_url=str(client.base_url))
    with http:
        assert [http.request(*other).json() for other in others] == [{"from": "the app"}] * len(others)


def test_nothing_is_served_where_nothing_is_kept(mixed: Callable[..., Starlette], ask: Any) -> None:
    """Without a store there are no answers to read, and the path leads nowhere."""
    app = mixed("anthropic/fine", more="responses_state: {store: none}")

    answer = ask(app, "GET", "/v1/responses/resp_1")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
