"""The Flask adapter: settings, several apps, endpoints, commands, and bodies of every length."""

import gzip
import io
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from flask import Flask, Response, g, request
from hypothesis import given
from hypothesis import strategies as st

from plano_asgi.assembly import build_router
from plano_asgi.errors import ConfigurationError
from plano_asgi.intake import Headers
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier, failing, routed_by
from plano_asgi_flask import Plano, decision_endpoints
from plano_asgi_flask.bodies import take_body

PROVIDERS: Final = [
    {"model": "openai/gpt-4o-mini", "default": True, "access_key": "sk-any"},
    {
        "model": "openai/gpt-4o",
        "access_key": "sk-any",
        "routing_preferences": [{"name": "code", "description": "writing code"}],
    },
]
CHAT: Final = "/v1/chat/completions"
JSON: Final = {"Content-Type": "application/json"}
Make = Callable[..., Flask]


def call(text: str, **more: object) -> bytes:
    """Return a call's body."""
    return json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}], **more}).encode()


@pytest.fixture
def make() -> Make:
    """Return what makes an app with the extension of settings without their prefix; its view tells of its request."""

    def app_of(*, providers: object = PROVIDERS, config: Mapping[str, object] | None = None, **said: object) -> Flask:
        """Make one."""
        app = Flask("test")
        app.config["PLANO_CLASSIFIER__DEADLINE_MS"] = 20_000  # on a busy machine
        app.config.update({f"PLANO_{name.upper()}": value for name, value in said.items()})
        app.config.update(PLANO_MODEL_PROVIDERS=providers, **(config or {}))

        @app.post("/<path:path>")
        def tell(path: str) -> dict[str, Any]:
            """Tell of a request."""
            del path
            return {"body": request.get_data(as_text=True), "route": g.plano and g.plano.decision.route}

        Plano(app)
        app.register_blueprint(decision_endpoints)
        return app

    return app_of


def model_read(response: Any) -> str:
    """Return the model in the body that a view told of."""
    model: str = json.loads(response.json["body"])["model"]
    return model


def post(app: Flask, body: bytes, path: str = CHAT, **more: Any) -> Any:
    """Return the app's answer to a body."""
    return app.test_client().post(path, data=body, **{"headers": JSON, **more})


def test_config_wins_over_the_environment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """`app.config` has the last word, and what it does not say comes from the environment."""
    monkeypatch.setenv("PLANO_ROUTING__MODEL_FORM", "bare")
    monkeypatch.setenv("PLANO_RESPONSE_HEADERS", "false")

    with routed_by({"kotlin": "code"}):
        answer = post(make(routing__model_form="qualified"), call("in Kotlin"))

    assert model_read(answer) == "openai/gpt-4o"
    assert "x-plano-model" not in answer.headers


def test_sections_may_be_written_either_way(make: Make) -> None:
    """A section is a dict, its settings may stand beside it, and neither writes into the app's own dict."""
    routing = {"inline": "deny"}

    app = make(routing=routing, routing__model_form="qualified")

    settings: Settings = app.extensions["plano"].settings
    assert (settings.routing.inline, settings.routing.model_form) == ("deny", "qualified")
    assert routing == {"inline": "deny"}


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"mode": "forward"}, "a2wsgi"),
        ({"rooting": {}}, "did you mean routing"),
        ({"routing__inlin": "deny"}, "did you mean routing.inline"),
        ({"config_file": "/nowhere.yaml"}, "/nowhere.yaml"),
    ],
    ids=["forward", "section", "setting", "file"],
)
def test_app_that_cannot_be_routed_does_not_start(said: Mapping[str, Any], says: str, make: Make) -> None:
    """A configuration that cannot be used is refused when the extension is added, with all that is wrong."""
    with pytest.raises(ConfigurationError, match=says):
        make(**said)


def test_extension_is_added_once(make: Make) -> None:
    """A second extension of the same app is refused, since it would decide twice."""
    with pytest.raises(ConfigurationError, match="already"):
        Plano(make())


def test_apps_of_one_extension_have_their_own_settings() -> None:
    """One `Plano` made without an app, as a factory needs it, routes each app by that app's own settings."""
    plano, apps = Plano(), []
    for model in ("x/a", "x/b"):
        app = Flask(model.replace("/", ""))
        app.config["PLANO_MODEL_PROVIDERS"] = [{"model": model, "default": True}]
        app.add_url_rule(CHAT, "chat", request_model, methods=["POST"])
        plano.init_app(app)
        apps.append(app)

    with routed_by({}):
        assert [post(app, call("hello")).text for app in apps] == ["a", "b"]


def request_model() -> str:
    """Be a view that tells the model it reads."""
    model: str = request.get_json()["model"]
    return model


def test_router_made_elsewhere_decides(settings_of: Callable[[str], Settings]) -> None:
    """A test may hand over a router with a classifier of its own."""
    text = (
        "model_providers: [{model: x/a, default: true}, {model: x/b, routing_preferences: [{name: r, description: d}]}]"
    )
    router = build_router(settings_of(text), classifier=FixedClassifier({"r": 0.9}))
    app = Flask("test")
    app.config["PLANO_MODEL_PROVIDERS"] = [{"model": "x/a", "default": True}]
    app.add_url_rule(CHAT, "chat", request_model, methods=["POST"])

    Plano(app, router=router)

    assert post(app, call("hello")).text == "b"


def test_switched_off_changes_nothing_and_builds_nothing(make: Make) -> None:
    """With `enabled: false` calls pass, even where the classifier's files are missing; views still have `g.plano`."""
    app = make(enabled=False, classifier={"model_path": "/nowhere"})

    answer = post(app, call("in Kotlin"))

    assert (model_read(answer), answer.json["route"]) == ("auto", None)
    assert post(app, call("x"), f"/routing{CHAT}").status_code == 404


def test_request_hooks_of_the_app_see_the_decision() -> None:
    """`g.plano` is there before the app's own hooks run, those too that were there before the extension."""
    app, seen = Flask("test"), []
    app.config["PLANO_MODEL_PROVIDERS"] = PROVIDERS

    @app.before_request
    def hook() -> None:
        """Look."""
        seen.append(g.plano.decision.route)

    Plano(app)
    with routed_by({"kotlin": "code"}):
        post(app, call("in Kotlin"))

    assert seen == ["code"]


def test_limit_of_the_app_is_honoured(make: Make) -> None:
    """What is larger than `MAX_CONTENT_LENGTH` is not read by us, and is the app's own 413."""
    app = make(config={"MAX_CONTENT_LENGTH": 200})

    with routed_by({}) as decisions:
        assert post(app, call("x" * 300)).status_code == 413
        assert post(app, call("x")).status_code == 200

    assert len(decisions) == 1


def test_body_that_decodes_beyond_the_limit_of_the_app_goes_on_as_it_came(make: Make) -> None:
    """A small body that would be larger than `MAX_CONTENT_LENGTH` once decoded is passed on with its encoding."""
    body = gzip.compress(call("x" * 3_000))
    app = make(config={"MAX_CONTENT_LENGTH": 2_000})

    answer = post(app, body, headers={**JSON, "Content-Encoding": "gzip"})

    assert (answer.status_code, answer.json["route"]) == (200, None)


@pytest.mark.parametrize("is_strict", [False, True])
def test_chunked_body_is_read_where_the_server_ends_it(is_strict: bool, make: Make) -> None:  # noqa: FBT001
    """A body without a length is routed, or goes on whole where it is larger than the limit."""
    app = make(limits__body_bytes=500, strict=is_strict)

    def chunked(body: bytes) -> Any:
        """Return the answer to a body of no declared length."""
        environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "", "wsgi.input": io.BytesIO(body)}
        return app.test_client().post(CHAT, headers=JSON, environ_overrides=environ)

    with routed_by({}):
        assert model_read(chunked(call("hello"))) == "gpt-4o-mini"
    large = chunked(call("x" * 1_000))
    assert large.status_code == (413 if is_strict else 200)
    assert "connection" not in large.headers  # the server's to send
    assert is_strict or json.loads(large.text)["body"] == call("x" * 1_000).decode()


def test_body_without_an_end_is_not_waited_for(make: Make) -> None:
    """Where neither a length nor the server tells its end, a body is empty for Flask, and for us."""

    class Endless(io.RawIOBase):
        """An input that is not to be read."""

        def readinto(self, _: object) -> int:
            """Be read never."""
            raise AssertionError("this would wait for ever")

    environ = {"CONTENT_LENGTH": "", "wsgi.input": Endless()}
    answer = make().test_client().post(CHAT, headers=JSON, environ_overrides=environ)

    assert (answer.status_code, answer.json) == (200, {"body": "", "route": None})


def test_decision_endpoint_answers_without_touching_the_call(make: Make) -> None:
    """The endpoints read the call as the client wrote it, with its policy."""
    policy = [{"name": "mine", "description": "all", "models": ["openai/gpt-4o"]}]

    with routed_by({"hello": "mine"}):
        answer = post(make(), call("hello", routing_preferences=policy), f"/routing{CHAT}")

    assert (answer.json["route"], answer.json["policy"]) == ("mine", "inline")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [(b"{", JSON, 400), (b"x" * 3_000, JSON, 413), (call("x"), {"Content-Type": "text/plain"}, 415)],
    ids=["no JSON", "too large", "no JSON type"],
)
def test_decision_endpoint_answers_faults_in_the_callers_format(
    body: bytes, headers: Mapping[str, str], status: int, make: Make
) -> None:
    """Every fault is answered as the caller's API would, and without a header that is the server's."""
    answer = post(make(limits__body_bytes=2_000), body, f"/routing{CHAT}", headers=headers)

    assert answer.status_code == status
    assert answer.json["error"].keys() == {"message", "type", "param", "code"}
    assert "connection" not in answer.headers


def test_decision_endpoint_takes_post_only(make: Make) -> None:
    """A GET is a 405 that says so."""
    answer = make().test_client().get("/routing/v1/messages")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.get_json()["type"] == "error"


def test_endpoints_of_an_app_without_the_extension_say_so() -> None:
    """The blueprint alone is a mistake that is named."""
    app = Flask("test")
    app.register_blueprint(decision_endpoints)
    app.testing = True

    with pytest.raises(ConfigurationError, match=r"add Plano\(app\)"):
        post(app, call("x"), f"/routing{CHAT}")


def test_command_routes_a_text(make: Make) -> None:
    """`flask plano route TEXT` prints the decision as the endpoints give it."""
    with routed_by({"kotlin": "code"}):
        ran = make().test_cli_runner().invoke(args=["plano", "route", "in Kotlin"])

    assert (json.loads(ran.output)["route"], ran.exit_code) == ("code", 0)


def test_command_checks_the_model(make: Make) -> None:
    """`flask plano check` says what the configuration comes to."""
    with routed_by({}):
        ran = make().test_cli_runner().invoke(args=["plano", "check"])

    assert "1 routes, default openai/gpt-4o-mini" in ran.output


def test_commands_of_a_switched_off_app_say_so(make: Make) -> None:
    """Where routing is off, there is nothing to ask."""
    runner = make(enabled=False).test_cli_runner()

    assert "switched off" in runner.invoke(args=["plano", "check"]).output
    assert runner.invoke(args=["plano", "route", "hello"]).exit_code == 1


def test_model_is_loaded_by_the_first_call_which_waits_for_it(make: Make) -> None:
    """The very first call of a process is decided by the real model, not by `on_error`."""
    answer = post(make(classifier__deadline_ms=20_000), call("Write a Python function that implements binary search"))

    assert (answer.json["route"], answer.headers["x-plano-reason"]) == ("code", "matched")


def test_call_that_cannot_be_decided_is_refused_where_settings_say_so(make: Make) -> None:
    """Under `routing.on_error: reject` the caller is told in its own API's shape to try again."""
    with routed_by(failing):
        answer = post(make(routing__on_error="reject"), call("hello"))

    assert (answer.status_code, answer.json["error"]["code"]) == (503, "router_unavailable")
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("raw", ["/v1%2Fmessages", "/v1%2fmessages?x=1"], ids=["upper", "lower"])
def test_encoded_slash_makes_no_call(raw: str, make: Make) -> None:
    """A path that says two things is left alone, as far as the server lets us know it."""
    with routed_by({}) as decisions:
        post(make(), call("x"), "/v1/messages", environ_overrides={"RAW_URI": raw})

    assert decisions == []


def test_app_within_an_app_is_decided_once(make: Make) -> None:
    """Where one routed app is called by another, the first has decided the call."""
    inner, outer = make(), Flask("outer")
    outer.config["PLANO_MODEL_PROVIDERS"] = [{"model": "x/outer", "default": True}]

    @outer.post("/<path:path>")
    def pass_on(path: str) -> Any:
        """Call the inner app with the same request."""
        del path
        return Response.from_app(inner.wsgi_app, request.environ)

    Plano(outer)
    with routed_by(lambda _: None) as decisions:
        answer = post(outer, call("hello"))

    assert (model_read(answer), len(decisions)) == ("outer", 1)


@given(body=st.binary(max_size=300), limit=st.integers(0, 200), has_length=st.booleans(), step=st.integers(1, 50))
def test_taken_body_can_be_read_again_whole(body: bytes, limit: int, has_length: bool, step: int) -> None:  # noqa: FBT001
    """Whatever the limit and however the server hands out a body, the app reads all of it."""
    environ: dict[str, Any] = {"wsgi.input": _Dripping(body, step), "wsgi.input_terminated": True}
    raw = [(b"content-length", str(len(body)).encode())] if has_length else []

    taken = take_body(environ, Headers.from_raw(raw), limit=limit)

    assert taken.data == (body if len(body) <= limit else None)
    again: Any = taken.again or environ["wsgi.input"]
    read = b""
    while piece := again.read(step):
        read += piece
    assert read == body


class _Dripping:
    """An input that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        """Take the data, and the most bytes of a piece."""
        self._data, self._step = io.BytesIO(data), step

    def read(self, size: int) -> bytes:
        """Return at most one step."""
        return self._data.read(min(size, self._step))
