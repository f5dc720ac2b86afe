"""The middleware in front of an existing app: what the app reads, and what it never notices."""

import gzip
import json
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from itertools import pairwise
from typing import Any, Final

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import plano_asgi
from plano_asgi import PlanoMiddleware
from plano_asgi.assembly import build_router
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: "deep thought", description: hard problems}]
  - model: anthropic/claude-sonnet-4-20250514
    access_key: sk-of-the-provider
    routing_preferences: [{name: code, description: writing code}]
limits: {body_bytes: 5000}
"""
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
TURNS: Final = [{"role": "user", "content": "write a parser"}]
BODIES: Final[Mapping[str, Mapping[str, Any]]] = {
    CHAT: {"model": "gpt-4", "messages": TURNS},
    MESSAGES: {"model": "claude", "max_tokens": 5, "messages": TURNS},
    RESPONSES: {"model": "gpt-4", "input": "write a parser"},
}
JSON: Final = {"content-type": "application/json"}

Wrapped = Callable[..., httpx.Response]


async def echo(request: Request) -> Response:
    """Answer with what the app was given."""
    decision = plano_asgi.decision(request)
    body = await request.body()
    told = {
        "body": body.decode("latin-1"),
        "headers": dict(request.headers),
        "route": decision.route if decision else None,
        "reason": decision.reason.value if decision else None,
    }
    return JSONResponse(told)


@pytest.fixture
def send(settings_of: Callable[[str], Settings], ask: Wrapped) -> Wrapped:
    """Return what sends a body through the middleware to an app that echoes what it was given."""

    def request(  # noqa: PLR0913 - what the tests vary
        path: str = CHAT,
        content: bytes | None = None,
        *,
        more: str = "",
        chances: Mapping[str, float] | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
        before: Callable[[], object] = lambda: None,
    ) -> httpx.Response:
        settings = settings_of(CONFIG + more)
        router = build_router(
            settings, classifier=FixedClassifier({"deep thought": 0.9} if chances is None else chances, before=before)
        )
        app = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])
        wrapped = PlanoMiddleware(app, settings=settings, router=router)
        body = json.dumps(BODIES[path]).encode() if content is None else content
        answer = ask(wrapped, method, path, content=body, headers={**JSON, **(headers or {})})
        router.close()
        return answer

    return request


@pytest.mark.parametrize(
    ("path", "chances", "model"),
    [
        (CHAT, {"deep thought": 0.9}, "gpt-4o"),
        (RESPONSES, {"deep thought": 0.9}, "gpt-4o"),
        (MESSAGES, {"code": 0.9}, "claude-sonnet-4-20250514"),
        (CHAT, {}, "gpt-4o-mini"),
    ],
    ids=["chat", "responses", "messages", "no match"],
)
def test_app_reads_the_decided_model_and_nothing_else_is_changed(
    path: str, chances: Mapping[str, float], model: str, send: Wrapped
) -> None:
    """The app reads the decided model by its provider's own name; all other bytes are the client's."""
    content = json.dumps({**BODIES[path], "seed": 12345678901234567890, "x": [1.0, {"model": "inner"}]}, indent=1)

    got = send(path, content.encode(), chances=chances).json()

    assert got["body"] == content.replace(json.dumps(BODIES[path]["model"]), json.dumps(model), 1)
    assert got["headers"]["content-length"] == str(len(got["body"]))


def test_answer_tells_of_the_decision(send: Wrapped) -> None:
    """The answer's headers name the model in full, the route percent-encoded, the confidence and the reason."""
    told = send().headers

    assert (told["x-plano-model"], told["x-plano-route"]) == ("openai/gpt-4o", "deep%20thought")
    assert (told["x-plano-confidence"], told["x-plano-reason"]) == ("0.9000", "matched")


def test_handler_reads_the_decision(send: Wrapped) -> None:
    """`plano_asgi.decision(request)` gives the handler the decision on its call."""
    assert (send().json()["route"], send().json()["reason"]) == ("deep thought", "matched")


@pytest.mark.parametrize("form", ["routing_policy", "routing_preferences"])
def test_inline_policy_is_obeyed_and_cut(form: str, send: Wrapped) -> None:
    """A call's own policy decides, and the app never sees it."""
    route = {"name": "mine", "description": "all"}
    policies = {
        "routing_policy": [{"model": "openai/gpt-4o", "routing_preferences": [route]}],
        "routing_preferences": [{**route, "models": ["openai/gpt-4o"]}],
    }

    got = send(content=json.dumps({**BODIES[CHAT], form: policies[form]}).encode(), chances={"mine": 0.9}).json()

    assert json.loads(got["body"]) == {**BODIES[CHAT], "model": "gpt-4o"}


UNREADABLE: Final = {
    "empty": b"",
    "not JSON": b'{"model": "gpt-4", ',
    "array": b"[]",
    "no messages": b'{"model": "gpt-4"}',
    "wrong shape": b'{"model": "gpt-4", "messages": "hi"}',
    "latin-1": b'{"model": "\xe9", "messages": []}',
    "too large": json.dumps({**BODIES[CHAT], "pad": "x" * 6_000}).encode(),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_reaches_the_app_as_it_is(content: bytes, send: Wrapped) -> None:
    """A body that is no call of its API goes on byte for byte, unrouted; the app stays the judge of it."""
    answer = send(content=content)

    assert answer.json()["body"].encode("latin-1") == content
    assert answer.json()["reason"] is None
    assert "x-plano-reason" not in answer.headers


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_strict_answers_what_it_cannot_read(content: bytes, send: Wrapped) -> None:
    """Under `strict` the same bodies are answered with an error of the caller's API, and the app is not asked."""
    answer = send(content=content, more="strict: true\n")

    assert answer.status_code in {400, 413}
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


REFUSED: Final = {
    "model twice": (b'{"model": "a", "model": "b", "messages": []}', 400, "duplicate_key"),
    "malformed policy": (json.dumps({**BODIES[CHAT], "routing_policy": {}}).encode(), 400, "invalid_type"),
    "undeclared model": (
        json.dumps(
            {**BODIES[CHAT], "routing_preferences": [{"name": "a", "description": "b", "models": ["x/y"]}]}
        ).encode(),
        403,
        "model_not_allowed",
    ),
}


@pytest.mark.parametrize(("content", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_ambiguity_and_refused_policies_are_answered_always(
    content: bytes, status: int, code: str, send: Wrapped
) -> None:
    """A doubled key or a policy that is malformed or not allowed is refused in every mode, never passed on."""
    answer = send(content=content)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("content", [case[0] for case in REFUSED.values()], ids=REFUSED)
def test_observing_refuses_nothing(content: bytes, send: Wrapped) -> None:
    """In `observe` mode even what would be refused reaches the app as it came, and so it does under `reject`."""

    def fail() -> None:
        raise RuntimeError

    more = "mode: observe\nrouting: {on_error: reject}\n"
    assert send(content=content, more=more).json()["body"].encode("latin-1") == content
    assert send(more=more, before=fail).status_code == 200


UNTOUCHED: Final = {
    "observe": {"more": "mode: observe\n"},
    "sampled out": {"more": "routing: {sample: 0.0}\n"},
    "not enabled": {"more": "enabled: false\n"},
}


@pytest.mark.parametrize("how", UNTOUCHED.values(), ids=UNTOUCHED)
def test_calls_that_are_only_observed_are_not_touched(how: dict[str, str], send: Wrapped) -> None:
    """Body and headers reach the app as they came, an inline policy and all, and the answer tells nothing."""
    route = {"name": "mine", "description": "all", "models": ["openai/gpt-4o"]}
    content = json.dumps({**BODIES[CHAT], "routing_preferences": [route]}).encode()

    answer = send(content=content, **how)

    assert answer.json()["body"].encode() == content
    assert "x-plano-model" not in answer.headers
    assert answer.json()["reason"] == (None if "enabled" in how["more"] else "no_match")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", CHAT), ("POST", "/v1/messages/count_tokens"), ("POST", "//v1/messages"), ("POST", "/v1/messages/")],
)
def test_what_is_no_call_passes(method: str, path: str, send: Wrapped) -> None:
    """Other methods and paths reach the app untouched."""
    content = json.dumps(BODIES[CHAT]).encode()

    got = send(path, content, method=method).json()

    assert (got["body"].encode(), got["reason"]) == (content, None)


def test_encoded_body_is_sent_on_plain(send: Wrapped) -> None:
    """A gzip body is read, rewritten and sent on without its encoding."""
    got = send(content=gzip.compress(json.dumps(BODIES[CHAT]).encode()), headers={"content-encoding": "gzip"}).json()

    assert json.loads(got["body"])["model"] == "gpt-4o"
    assert "content-encoding" not in got["headers"]


def test_models_of_another_api_are_no_candidates(send: Wrapped) -> None:
    """A route whose models do not speak the call's API falls to the default, unless the app translates."""
    kept = send(chances={"code": 0.9})
    crossed = send(chances={"code": 0.9}, more="routing: {cross_format: true}\n")

    assert (json.loads(kept.json()["body"])["model"], kept.headers["x-plano-reason"]) == ("gpt-4o-mini", "format")
    assert json.loads(crossed.json()["body"])["model"] == "claude-sonnet-4-20250514"


def test_client_keeps_its_model_where_not_even_the_default_speaks_its_api(send: Wrapped) -> None:
    """A Messages call is not given a model that does not speak Messages; the client's stands."""
    answer = send(MESSAGES, chances={})

    assert json.loads(answer.json()["body"])["model"] == "claude"
    assert answer.headers["x-plano-reason"] == "format"


@pytest.mark.parametrize(
    ("more", "headers"),
    [("", {"x-plano-routing": "off"}), ("routing: {applies_to: [auto]}\n", {})],
    ids=["bypassed", "not applicable"],
)
def test_call_that_is_not_to_be_routed_keeps_its_model(more: str, headers: dict[str, str], send: Wrapped) -> None:
    """The model stays as the client wrote it."""
    assert json.loads(send(more=more, headers=headers).json()["body"]) == BODIES[CHAT]


def test_forged_headers_do_not_reach_the_app(send: Wrapped) -> None:
    """A client cannot tell the app of a decision that was never made."""
    assert "x-plano-route" not in send(headers={"x-plano-route": "forged"}).json()["headers"]


@pytest.mark.parametrize(("on_error", "status"), [("default", 200), ("reject", 503)])
def test_broken_classifier_is_survived(on_error: str, status: int, send: Wrapped) -> None:
    """A classifier that fails costs a call nothing but its route, or is told, as the settings say."""

    def fail() -> None:
        raise RuntimeError

    assert send(before=fail, more=f"routing: {{on_error: {on_error}}}\n").status_code == status


def test_qualified_form_writes_the_provider_too(send: Wrapped) -> None:
    """`routing.model_form: qualified` writes the model in full."""
    assert json.loads(send(more="routing: {model_form: qualified}\n").json()["body"])["model"] == "openai/gpt-4o"


def test_decision_endpoints_are_served_or_left_to_the_app(send: Wrapped) -> None:
    """The middleware serves the decision endpoints, unless they are switched off."""
    path, content = "/routing/v1/chat/completions", json.dumps(BODIES[CHAT]).encode()

    assert send(path, content).json()["route"] == "deep thought"
    assert "body" in send(path, content, more="endpoints: false\n").json()


def test_provider_comes_with_its_key_as_a_secret(settings_of: Callable[[str], Settings], ask: Wrapped) -> None:
    """The handler finds where the decided model is served, and its key, which shows itself to nobody by chance."""
    seen: list[plano_asgi.PlanoState] = []

    async def handler(request: Request) -> Response:
        """Keep the state."""
        seen.append(request.state.plano)
        return Response(repr(request.state.plano))

    loaded = settings_of(CONFIG)
    router = build_router(loaded, classifier=FixedClassifier({"code": 0.9}))
    app = Mount("/api", Starlette(routes=[Route(MESSAGES, handler, methods=["POST"])]))
    answer = ask(
        PlanoMiddleware(Starlette(routes=[app]), settings=loaded, router=router),
        "POST",
        f"/api{MESSAGES}",
        json=BODIES[MESSAGES],
    )

    router.close()
    key = seen[0].provider.access_key if seen[0].provider else None
    assert key
    assert key.reveal() == "sk-of-the-provider"
    assert "sk-of-the-provider" not in answer.text


def drive(
    wrapped: Callable[..., Awaitable[None]], messages: list[dict[str, Any]], path: str = CHAT
) -> list[dict[str, Any]]:
    """Return what an app behind the middleware receives, up to and with the disconnect."""
    left = iter([*messages, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        """Give the next message."""
        return next(left)

    async def send(message: object) -> None:
        """Take what the app says."""
        del message

    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"content-type", b"application/json")]}
    anyio.run(wrapped, scope, receive, send)
    return received


received: list[dict[str, Any]] = []


async def listener(scope: Mapping[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: object) -> None:
    """Note all messages up to the disconnect."""
    del scope, send
    received.clear()
    while not received or received[-1]["type"] != "http.disconnect":
        received.append(await receive())


@pytest.fixture(scope="module")
def listening(settings_of: Callable[[str], Settings]) -> PlanoMiddleware:
    """Return the middleware before an app that notes what it receives."""
    loaded = settings_of(CONFIG)
    router = build_router(loaded, classifier=FixedClassifier({"deep thought": 0.9}))
    return PlanoMiddleware(listener, settings=loaded, router=router)  # type: ignore[arg-type]  # an app that never sends


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 75), max_size=8))
def test_any_chunking_of_a_body_gives_the_same_call(cuts: list[int], listening: PlanoMiddleware) -> None:
    """However a body is cut, the app receives one rewritten message, and after it the disconnect."""
    body = json.dumps(BODIES[CHAT]).encode()
    places = [0, *sorted(cuts), len(body)]
    chunks = [body[a:b] for a, b in pairwise(places)]
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    got = drive(listening, messages)

    rewritten = body.replace(b'"gpt-4"', b'"gpt-4o"')
    assert got == [{"type": "http.request", "body": rewritten, "more_body": False}, {"type": "http.disconnect"}]


def test_disconnect_within_a_body_reaches_the_app(listening: PlanoMiddleware) -> None:
    """A client that goes away while it sends is the app's to notice: it receives what came, then the disconnect."""
    begun = {"type": "http.request", "body": b'{"model"', "more_body": True}

    assert drive(listening, [begun]) == [begun, {"type": "http.disconnect"}]


def test_what_receive_raises_is_raised_where_the_app_reads(
    settings_of: Callable[[str], Settings], ask: Wrapped
) -> None:
    """A host's own bound on bodies, raised out of `receive`, is answered as it was without the middleware."""

    def bounded(app: ASGIApp) -> ASGIApp:
        """Return an app that may not read a body."""

        async def refuse() -> Message:
            """Refuse the body."""
            raise HTTPException(413)

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            """Serve the app."""
            del receive
            await app(scope, refuse, send)

        return serve

    loaded = settings_of(CONFIG)
    router = build_router(loaded, classifier=FixedClassifier({}))
    app = Starlette(
        routes=[Route(CHAT, echo, methods=["POST"])],
        middleware=[Middleware(bounded), Middleware(PlanoMiddleware, settings=loaded, router=router)],
    )

    assert ask(app, "POST", CHAT, json=BODIES[CHAT]).status_code == 413
    router.close()


@pytest.mark.parametrize("mode", ["rewrite", "observe"])
def test_middleware_in_front_sees_what_the_app_left(
    mode: str, settings_of: Callable[[str], Settings], ask: Wrapped
) -> None:
    """What a handler leaves in its state, and the route, are seen in front; our decision and headers are not."""
    scopes: list[Scope] = []
    seen: list[str] = []

    async def handler(request: Request) -> Response:
        """Leave something in the state."""
        copy(request.scope)["mine"] = request.state.usage = 5
        seen.append(request.state.plano.decision.reason.value)
        return Response()

    def watched(app: ASGIApp) -> ASGIApp:
        """Return the app with its scopes noted."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            """Note the scope."""
            scopes.append(scope)
            await app(scope, receive, send)

        return serve

    loaded = settings_of(f"{CONFIG}mode: {mode}\n")
    router = build_router(loaded, classifier=FixedClassifier({}))
    app = Starlette(
        routes=[Route(CHAT, handler, methods=["POST"])],
        middleware=[Middleware(watched), Middleware(PlanoMiddleware, settings=loaded, router=router)],
    )
    ask(app, "POST", CHAT, json=BODIES[CHAT], headers={"x-plano-route": "mine"})

    router.close()
    assert seen == ["no_match"]
    assert scopes[0]["state"] == {"usage": 5}
    assert scopes[0]["endpoint"] is handler
    assert "mine" not in scopes[0]
    assert (b"x-plano-route", b"mine") in scopes[0]["headers"]


def test_body_beyond_the_bound_is_handed_on_as_it_comes(listening: PlanoMiddleware) -> None:
    """A chunked body that grows too large is passed on whole: what was read, then the rest as it comes."""
    chunks = [{"type": "http.request", "body": b"x" * 2_000, "more_body": n < 4} for n in range(5)]

    read = {"type": "http.request", "body": b"x" * 6_000, "more_body": True}
    assert drive(listening, chunks) == [read, *chunks[3:], {"type": "http.disconnect"}]


@pytest.mark.parametrize("model", ["claude", "meta-llama/Llama-3-8b", "anthropic/claude-not-declared"])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_undeclared_model_of_the_client_stands_as_written(path: str, model: str, send: Wrapped) -> None:
    """Under `routing.unmatched: requested` a client's own model reaches the app as it was written, slashes and all."""
    content = json.dumps({**BODIES[path], "model": model}).encode()

    answer = send(path, content, chances={}, more="routing: {unmatched: requested}\n")

    assert answer.json()["body"].encode() == content
    assert answer.headers["x-plano-reason"] == "no_match"


def test_failure_is_not_told_as_a_matter_of_format(send: Wrapped) -> None:
    """A classifier's failure is told as `error`, also where the default model does not speak the call's API."""

    def fail() -> None:
        raise RuntimeError

    assert send(MESSAGES, before=fail).headers["x-plano-reason"] == "error"


def test_tiny_chunks_cost_no_more_than_their_bytes(listening: PlanoMiddleware) -> None:
    """A body in a hundred thousand empty and one-byte chunks reaches the app as one message."""
    chunks = [{"type": "http.request", "body": b"x" * (n % 25 == 0), "more_body": True} for n in range(100_000)]
    chunks.append({"type": "http.request", "body": b"", "more_body": False})

    got = drive(listening, chunks)

    assert got == [{"type": "http.request", "body": b"x" * 4_000, "more_body": False}, {"type": "http.disconnect"}]
