"""The Django adapter: settings, checks, commands, endpoints, and whoever else reads a request's body."""

import io
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from importlib import import_module
from typing import Any, Final

import anyio
import httpx
import pytest
from django.core.checks import run_checks
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import CommandError, call_command
from django.http import HttpRequest, JsonResponse
from django.test import Client, override_settings
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from structlog.testing import capture_logs

from plano_asgi import PlanoMiddleware
from plano_asgi.errors import ConfigurationError
from plano_asgi.testing import routed_by, slow

PLANO: Final[Mapping[str, Any]] = {
    "model_providers": [
        {"model": "openai/gpt-4o-mini", "default": True},
        {"model": "openai/gpt-4o", "routing_preferences": [{"name": "code", "description": "writing code"}]},
    ],
    "classifier": {"deadline_ms": 20_000},  # on a busy machine
    "limits": {"body_bytes": 5_000},
}
SERVED: Final = {"model_providers": [{"model": "openai/gpt-4o", "default": True, "access_key": "sk-any"}]}
MIDDLEWARE: Final = ["plano_asgi_django.PlanoMiddleware"]
CHAT: Final = "/v1/chat/completions"
JSON: Final = "application/json"
Project = Callable[..., AbstractContextManager[Any]]


def call(text: str, **more: object) -> bytes:
    """Return a call's body."""
    return json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}], **more}).encode()


@pytest.fixture
def opened(django_project: Project) -> Iterator[Any]:
    """Yield what opens a project with the middleware, whose views tell of their requests."""

    @csrf_exempt
    def tell(request: HttpRequest) -> JsonResponse:
        """Tell of a request."""
        routed = getattr(request, "plano", "missing")
        return JsonResponse(
            {"body": request.body.decode(), "route": getattr(getattr(routed, "decision", None), "route", routed)}
        )

    with ExitStack() as projects:

        def open_project(urls: Any = (), **changed: Any) -> None:
            """Open one."""
            patterns = [*urls, path("", include("plano_asgi_django.urls")), re_path("", tell)]
            given = {"MIDDLEWARE": ["plano_asgi_django.PlanoMiddleware"], "PLANO": PLANO, **changed}
            projects.enter_context(django_project(patterns, **given))

        yield open_project


@pytest.fixture
def post() -> Callable[..., Any]:
    """Return what posts a body to the project by Django's own client."""

    def send(body: bytes, path: str = CHAT, content_type: str = JSON, **more: Any) -> Any:
        """Send it."""
        return Client(raise_request_exception=False).post(path, body, content_type, **more)

    return send


def model_read(response: Any) -> str:
    """Return the model in the body that a view told of."""
    model: str = json.loads(response.json()["body"])["model"]
    return model


@pytest.mark.parametrize(
    ("variable", "model"), [(None, "openai/gpt-4o"), ("bare", "gpt-4o")], ids=["PLANO", "the environment wins"]
)
def test_environment_wins_over_the_projects_settings(
    variable: str | None, model: str, opened: Any, post: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `PLANO` says holds, unless an environment variable says otherwise."""
    if variable:
        monkeypatch.setenv("PLANO_ROUTING__MODEL_FORM", variable)
    opened(PLANO={**PLANO, "routing": {"model_form": "qualified"}})

    with routed_by({"kotlin": "code"}):
        assert model_read(post(call("in Kotlin"))) == model


def test_project_says_which_file_unless_the_environment_does(
    opened: Any, post: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`config_file` names the file, the rest of `PLANO` lies over it, and `PLANO_CONFIG_FILE` wins."""
    for name, model in (("project", "a"), ("environment", "b")):
        text = f"model_providers: [{{model: x/{model}, default: true}}]\nresponse_headers: true\n"
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    plano = {"config_file": tmp_path / "project.yaml", "response_headers": False}
    opened(PLANO=plano)
    with routed_by({}):
        response = post(call("hello"))
    assert model_read(response) == "a"
    assert "x-plano-model" not in response.headers

    monkeypatch.setenv("PLANO_CONFIG_FILE", str(tmp_path / "environment.yaml"))
    opened(PLANO=plano)
    with routed_by({}):
        assert model_read(post(call("hello"))) == "b"


def test_changed_settings_hold_at_once(opened: Any, post: Any) -> None:
    """`override_settings(PLANO=...)` in a test of the project's own holds for its next request, and ends with it."""
    opened()
    with routed_by({"kotlin": "code"}):
        with override_settings(PLANO={**PLANO, "mode": "observe"}):
            observed = post(call("in Kotlin"))
        assert (model_read(observed), observed.json()["route"]) == ("auto", "code")
        assert model_read(post(call("in Kotlin"))) == "gpt-4o"


def test_switched_off_changes_nothing_and_builds_nothing(opened: Any, post: Any) -> None:
    """With `enabled: false` calls pass, even where the classifier's files are missing; views still have `plano`."""
    opened(PLANO={**PLANO, "enabled": False, "classifier": {"model_path": "/nowhere"}})

    response = post(call("in Kotlin"))

    assert (model_read(response), response.json()["route"]) == ("auto", None)
    assert post(call("x"), f"/routing{CHAT}").status_code == 404


@pytest.mark.parametrize(
    ("plano", "says"),
    [
        ({**SERVED, "mode": "forward"}, "get_asgi_application"),
        ({**PLANO, "rooting": {}}, "did you mean routing"),
        ({}, "model_providers"),
        ("plano.yaml", "expected a dict"),
        ({**PLANO, "config_file": 3}, "path of a YAML file"),
    ],
    ids=["forward", "unknown", "nothing", "no dict", "no path"],
)
def test_project_that_cannot_be_routed_does_not_start(plano: Any, says: str, opened: Any) -> None:
    """A configuration that cannot be used stops the project when its middleware is loaded, and says why."""
    opened(PLANO=plano)

    with pytest.raises(ConfigurationError, match=says):
        WSGIHandler()


@pytest.mark.parametrize(
    ("changed", "ids"),
    [
        ({"DATA_UPLOAD_MAX_MEMORY_SIZE": 5_000}, []),
        ({"PLANO": {**PLANO, "rooting": {}, "mode": "sideways"}}, ["plano.E001", "plano.E002"]),
        ({"PLANO": {**PLANO, "classifier": {"model_path": "/nowhere"}}}, ["plano.E002"]),
        ({"DATA_UPLOAD_MAX_MEMORY_SIZE": 4_999}, ["plano.W002"]),
        ({"DATA_UPLOAD_MAX_MEMORY_SIZE": None}, []),
        ({"MIDDLEWARE": ["plano_asgi_django.PlanoMiddleware"] * 2}, ["plano.W001"]),
        (
            {"MIDDLEWARE": ["plano_asgi_django.PlanoMiddleware", "django.middleware.security.SecurityMiddleware"]},
            ["plano.W001"],
        ),
        ({"MIDDLEWARE": []}, []),
    ],
    ids=["fine", "unknown and wrong", "no model", "uploads", "no limit", "twice", "order", "not listed"],
)
def test_checks_find_what_is_wrong(changed: Mapping[str, Any], ids: list[str], opened: Any) -> None:
    """`manage.py check` reports each fault by its stable id, and nothing of a project that is in order."""
    opened(**changed)

    assert sorted(str(found.id) for found in run_checks(tags=["plano"])) == ids


def test_unknown_setting_is_told_with_the_nearest_one(opened: Any) -> None:
    """An unknown key is named with the one that was probably meant, and its value is not shown."""
    opened(PLANO={**PLANO, "classifer": {"kind": "of-the-value"}})

    (found,) = run_checks(tags=["plano"])
    assert "did you mean classifier?" in found.msg
    assert "of-the-value" not in found.msg


@pytest.mark.parametrize(
    ("key", "ids"),
    [("sk-written-out", ["plano.W003"]), ("$A_KEY", []), ("sk-of-the-environment", [])],
    ids=["plain", "reference", "environment"],
)
def test_plain_keys_are_told_of_before_deployment(
    key: str, ids: list[str], opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check --deploy` warns of a key that stands in the settings file itself, and never shows it."""
    monkeypatch.setenv("A_KEY", "sk-of-the-environment")
    opened(PLANO={**PLANO, "model_providers": [{"model": "openai/gpt-4o", "default": True, "access_key": key}]})

    found = [one for one in run_checks(tags=["plano"], include_deployment_checks=True) if one.id == "plano.W003"]

    assert [one.id for one in found] == ids
    assert not [one for one in found if key in one.msg]


def test_command_routes_a_text(opened: Any) -> None:
    """`plano_route TEXT` prints the decision as the endpoints give it."""
    opened()
    out = io.StringIO()

    with routed_by({"kotlin": "code"}):
        call_command("plano_route", "in Kotlin", stdout=out)

    assert (json.loads(out.getvalue())["route"], json.loads(out.getvalue())["model"]) == ("code", "openai/gpt-4o")


def test_command_checks_the_model(opened: Any) -> None:
    """`plano_check` says what the configuration comes to."""
    opened()
    out = io.StringIO()

    with routed_by({}):
        call_command("plano_check", stdout=out)

    assert "1 routes, default openai/gpt-4o-mini" in out.getvalue()


@pytest.mark.parametrize("command", [("plano_check",), ("plano_route", "hello")], ids=lambda words: words[0])
def test_command_says_what_is_wrong(command: tuple[str, ...], opened: Any) -> None:
    """A configuration that cannot be used is a `CommandError` with its faults, and no traceback."""
    opened(PLANO={**PLANO, "rooting": {}})

    with pytest.raises(CommandError, match="did you mean routing"):
        call_command(*command)


def test_decision_endpoint_answers_without_touching_the_call(opened: Any, post: Any) -> None:
    """The endpoints read the call as the client wrote it, the middleware being in front of them or not."""
    opened()
    policy = [{"name": "mine", "description": "all", "models": ["openai/gpt-4o"]}]

    with routed_by({"hello": "mine"}):
        response = post(call("hello", routing_preferences=policy), f"/routing{CHAT}")

    assert (response.json()["route"], response.json()["policy"]) == ("mine", "inline")


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        (lambda post: post(b"{"), 400),
        (lambda post: post(b"x" * 6_000), 413),
        (lambda post: post(call("x"), content_type="text/plain"), 415),
    ],
    ids=["no JSON", "too large", "no JSON type"],
)
def test_decision_endpoint_answers_faults_in_the_callers_format(
    request_of: Callable[[Any], Any], status: int, opened: Any, post: Any
) -> None:
    """Every fault is answered as the caller's API would, whatever Django's own limits are."""
    opened(DATA_UPLOAD_MAX_MEMORY_SIZE=5_500, PLANO={**PLANO, "limits": {"body_bytes": 8_000}})

    response = request_of(lambda *said, **more: post(*said, path=f"/routing{CHAT}", **more))

    assert response.status_code == status
    assert response.json()["error"].keys() == {"message", "type", "param", "code"}


def test_decision_endpoint_takes_post_only(opened: Any) -> None:
    """A GET is a 405 that says so."""
    opened()

    response = Client().get(f"/routing{CHAT}")

    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_upload_limit_of_django_is_the_views_business(opened: Any, post: Any) -> None:
    """A call beyond `DATA_UPLOAD_MAX_MEMORY_SIZE` is not read by us: the view meets Django's own answer to it."""
    opened(DATA_UPLOAD_MAX_MEMORY_SIZE=100)

    assert post(call("x" * 200)).status_code == 400


def test_strict_project_answers_what_it_cannot_read(opened: Any, post: Any) -> None:
    """Under `strict` a body beyond the limit is a 413 in the caller's API format."""
    opened(PLANO={**PLANO, "strict": True})

    assert post(call("x" * 6_000)).json()["error"]["code"] == "request_too_large"


def test_other_readers_of_the_body_see_the_decided_model(opened: Any, post: Any) -> None:
    """Django REST framework and django-ninja parse the rewritten body, as plain views do."""
    opened()

    needed = ("rest_framework.decorators", "rest_framework.response", "ninja")
    rest_framework, responses, ninja = map(import_module, needed)

    @rest_framework.api_view(["POST"])  # type: ignore[untyped-decorator]
    @rest_framework.renderer_classes([import_module("rest_framework.renderers").JSONRenderer])  # type: ignore[untyped-decorator]
    def rest(request: Any) -> Any:
        """Answer by REST framework."""
        return responses.Response({"body": json.dumps(request.data)})

    api = ninja.NinjaAPI(urls_namespace="of this test", docs_url=None)

    @api.post("/v1/chat/completions")  # type: ignore[untyped-decorator]
    def chat(request: Any, body: ninja.Body[dict[str, Any]]) -> dict[str, Any]:  # type: ignore[name-defined]
        """Answer by ninja."""
        return {"body": json.dumps(body), "route": request.plano.decision.route}

    opened([path("rest/v1/chat/completions", rest), path("ninja/", api.urls)])

    with routed_by({"kotlin": "code"}):
        answers = [post(call("in Kotlin"), f"/{name}{CHAT}") for name in ("rest", "ninja")]

    assert [model_read(answer) for answer in answers] == ["gpt-4o", "gpt-4o"]


def test_body_that_is_being_streamed_is_left_alone(opened: Any, post: Any) -> None:
    """Where middleware in front has begun to read the body as a stream, the call goes on as it came."""
    opened(MIDDLEWARE=[f"{__name__}.reads_first", "plano_asgi_django.PlanoMiddleware"])

    with routed_by({}) as decisions:
        response = post(call("hello"))

    assert (response.status_code, decisions) == (500, [])  # the view of this test asks for `body`, too


def reads_first(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Be a middleware that reads the first byte."""

    def middleware(request: Any) -> Any:
        """Read it."""
        request.read(1)
        return get_response(request)

    return middleware


def test_headers_that_somebody_has_read_before_are_right_again(opened: Any, post: Any) -> None:
    """What Django has derived from the client's headers is derived anew from those of the rewritten body."""
    seen = []

    @csrf_exempt
    def lengths(request: HttpRequest) -> JsonResponse:
        """Note what a view is told of the length."""
        seen.append((request.headers["content-length"], str(len(request.body))))
        return JsonResponse({})

    opened([path(f"own{CHAT}", lengths)], MIDDLEWARE=[f"{__name__}.reads_headers", *MIDDLEWARE])

    with routed_by({}):
        post(call("hello"), f"/own{CHAT}")

    ((told, real),) = seen
    assert told == real


def reads_headers(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Be a middleware that reads the headers."""

    def middleware(request: Any) -> Any:
        """Read them."""
        assert request.headers
        return get_response(request)

    return middleware


@pytest.mark.parametrize(("words", "model"), [(1, "gpt-4o-mini"), (2_000, "auto")], ids=["within", "beyond"])
def test_chunked_body_is_measured_under_asgi(words: int, model: str, opened: Any) -> None:
    """A body without a length is routed within Django's limit, and beyond it left to views that stream it."""

    @csrf_exempt
    def stream(request: HttpRequest) -> JsonResponse:
        """Tell of a body, read as a stream."""
        return JsonResponse({"body": request.read().decode()})

    opened([path(CHAT[1:], stream)], DATA_UPLOAD_MAX_MEMORY_SIZE=1_000)
    project: Any = ASGIHandler()

    async def pieces() -> AsyncIterator[bytes]:
        """Yield a call in two pieces."""
        body = call("hello " * words)
        yield body[:20]
        yield body[20:]

    async def send() -> httpx.Response:
        """Send it."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(project), base_url="http://test") as client:
            return await client.post(CHAT, content=pieces(), headers={"content-type": JSON})

    with routed_by({}):
        assert model_read(anyio.run(send)) == model


def test_model_is_loaded_by_the_first_call_under_asgi_too(opened: Any) -> None:
    """The first call waits for the model on a thread, and is decided by it."""
    opened(PLANO={**PLANO, "classifier": {"deadline_ms": 20_000}})
    project: Any = ASGIHandler()

    async def send() -> httpx.Response:
        """Send a call."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(project), base_url="http://test") as client:
            return await client.post(CHAT, content=call("hello"), headers={"content-type": JSON})

    with capture_logs() as logs:
        response = anyio.run(send)

    assert response.headers["x-plano-reason"] == "no_match"
    assert [line["event"] for line in logs][:2] == ["plano.classifier_ready", "plano.call_routed"]


def test_model_is_loaded_by_the_first_call_which_waits_for_it(opened: Any, post: Any) -> None:
    """The very first call of a process is decided by the real model, not by `on_error`."""
    opened(PLANO={**PLANO, "classifier": {"deadline_ms": 20_000}})

    response = post(call("Write a Python function that implements binary search"))

    assert (response.json()["route"], response.headers["x-plano-reason"]) == ("code", "matched")


def test_event_loop_runs_while_a_call_is_decided(opened: Any) -> None:
    """Under ASGI a slow decision holds up no other request."""
    opened(PLANO={**PLANO, "classifier": {"deadline_ms": 5_000}})
    order: list[str] = []

    async def both() -> None:
        """Send a slow call and, beside it, a request that is none."""
        project: Any = ASGIHandler()
        transport = httpx.ASGITransport(project)
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
            anyio.create_task_group() as tasks,
        ):

            async def send(path: str) -> None:
                """Send one."""
                await client.post(path, content=call("hello"), headers={"content-type": JSON})
                order.append(path)

            tasks.start_soon(send, CHAT)
            await anyio.sleep(0.02)
            tasks.start_soon(send, "/other")

    with routed_by(slow(0.2)):
        anyio.run(both)

    assert order == ["/other", CHAT]


def test_call_decided_by_the_asgi_middleware_is_not_decided_again(opened: Any, settings_of: Any) -> None:
    """Behind the ASGI middleware the view reads its decision, made once."""
    opened()
    project: Any = ASGIHandler()
    app = PlanoMiddleware(project, settings=settings_of("model_providers: [{model: x/outer, default: true}]"))

    async def send() -> httpx.Response:
        """Send a call."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post(CHAT, content=call("hello"), headers={"content-type": JSON})

    with routed_by(lambda _: None) as decisions:
        response = anyio.run(send)

    assert (model_read(response), len(decisions)) == ("outer", 1)
