"""The playground over HTTP: who is shown it, what it tells, and what it keeps to itself."""

import mimetypes
import re
from collections.abc import Callable
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette

from plano_asgi import PlanoMiddleware
from plano_asgi.errors import ConfigurationError
from plano_asgi.http import playground
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

HERE: Final = "http://127.0.0.1"
PAGE: Final = "/routing/playground"
TOKEN: Final = "canary-token"  # noqa: S105 - made up
KEY: Final = "sk-canary"
SETTINGS: Final = f"""\
model_providers:
  - {{model: openai/gpt-4o-mini, default: true, access_key: {KEY}, base_url: https://secret.example/v1}}
  - model: openai/gpt-4o
    routing_preferences: [{{name: code, description: writing functions}}]
"""
GUARDED: Final = f"{SETTINGS}admin: {{token: {TOKEN}}}\n"
PARTS: Final = [
    path.name for path in Path(playground.__file__).parent.iterdir() if path.suffix in {".css", ".js", ".svg"}
]

App = Callable[..., Starlette]
Ask = Callable[..., httpx.Response]


@pytest.fixture
def guarded(app_of: App) -> Starlette:
    """Return a service with an admin token."""
    return app_of(GUARDED, FixedClassifier({"code": 0.9}))


def logged_in(ask: Ask, app: Any, token: str = TOKEN) -> httpx.Response:
    """Return the answer to the form with a token in it."""
    return ask(app, "POST", f"{HERE}/routing/login", data={"token": token})


def test_server_shows_it_to_this_machine(app_of: App, ask: Ask) -> None:
    """Without a token, the page is for who asks from this machine by a name of it, and for nobody else."""
    app = app_of(SETTINGS, FixedClassifier({"code": 0.9}))

    assert "Conversation" in ask(app, "GET", f"{HERE}{PAGE}").text
    assert ask(app, "GET", f"http://plano.example{PAGE}").json()["error"]["code"] == "admin_only"
    assert ask(app, "GET", f"http://plano.example{PAGE}/configuration.json").status_code == 403
    assert ask(app, "POST", f"{HERE}/routing/login").status_code == 404


@pytest.mark.parametrize(
    ("setting", "status"), [("", 404), ("playground: {enabled: true}\n", 200)], ids=["unasked", "switched on"]
)
def test_app_shows_it_only_where_it_is_switched_on(
    behind: Callable[..., PlanoMiddleware], ask: Ask, setting: str, status: int
) -> None:
    """In somebody else's app there is no playground unless a setting says so."""
    app = behind(Starlette(), SETTINGS + setting, FixedClassifier({"code": 0.9}))

    assert ask(app, "GET", f"{HERE}{PAGE}").status_code == status


def test_server_can_go_without(app_of: App, ask: Ask) -> None:
    """`playground.enabled: false` takes the page out of the server, too."""
    app = app_of(f"{SETTINGS}playground: {{enabled: false}}\n", FixedClassifier({}))

    assert ask(app, "GET", f"{HERE}{PAGE}").status_code == 404


def test_page_without_decision_endpoints_is_a_fault(settings_of: Callable[[str], Settings]) -> None:
    """A playground that would have nobody to ask is refused at start-up."""
    with pytest.raises(ConfigurationError, match=r"playground\.enabled"):
        settings_of(f"{SETTINGS}endpoints: false\nplayground: {{enabled: true}}\n")


def test_configuration_holds_no_key_and_no_url(app_of: App, ask: Ask) -> None:
    """What the page shows of the configuration is routes, models and what is allowed."""
    answer = ask(app_of(SETTINGS, FixedClassifier({})), "GET", f"{HERE}{PAGE}/configuration.json")

    told = answer.json()
    assert told["routes"] == [
        {"name": "code", "description": "writing functions", "models": ["openai/gpt-4o"], "prefer": "none"}
    ]
    assert told["models"] == ["openai/gpt-4o-mini", "openai/gpt-4o"]
    assert told["default_model"] == "openai/gpt-4o-mini"
    assert told["is_inline_allowed"]
    assert told["has_decision_log"]
    assert not re.search(f"{KEY}|secret.example", answer.text)


def test_stranger_is_given_the_form(guarded: Starlette, ask: Ask) -> None:
    """Where there is a token, the page is a form for it, and nothing of the configuration is told."""
    page = ask(guarded, "GET", f"{HERE}{PAGE}")

    assert 'name="token"' in page.text
    assert "That is not the token" not in page.text
    assert TOKEN not in page.text
    assert ask(guarded, "GET", f"{HERE}{PAGE}/configuration.json").status_code == 401
    assert ask(guarded, "GET", f"{HERE}{PAGE}", headers={"authorization": f"Bearer {TOKEN}"}).text.count("route") > 5


def test_token_in_the_form_gives_a_cookie_for_looking(guarded: Starlette, ask: Ask) -> None:
    """The cookie shows page, configuration and decision log; scripts and other sites cannot use it."""
    answer = logged_in(ask, guarded)

    cookie = SimpleCookie(answer.headers["set-cookie"])["plano_admin"]
    shown = {"cookie": f"plano_admin={cookie.value}"}
    assert (answer.status_code, answer.headers["location"]) == (303, "playground")
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert not cookie["path"], "browsers keep it for what lies beside /routing/login, below any root"
    assert TOKEN not in answer.headers["set-cookie"]
    for path in (PAGE, f"{PAGE}/configuration.json", "/routing/v1/decisions"):
        assert ask(guarded, "GET", HERE + path, headers=shown).status_code == 200
    assert (
        "Secure"
        in ask(guarded, "POST", "https://plano.example/routing/login", data={"token": TOKEN}).headers["set-cookie"]
    )


@pytest.mark.parametrize("token", ["", "wrong", "Ünïcode", TOKEN[:-1]], ids=["none", "wrong", "unicode", "shorter"])
def test_wrong_token_gives_nothing(guarded: Starlette, ask: Ask, token: str) -> None:
    """Whatever else is typed leads back to the form, without a cookie."""
    answer = logged_in(ask, guarded, token)

    assert answer.headers["location"] == "playground?refused"
    assert "set-cookie" not in answer.headers
    assert "That is not the token" in ask(guarded, "GET", f"{HERE}{PAGE}?refused").text


@pytest.mark.parametrize(
    "change",
    [
        lambda value: f"9{value}",
        lambda value: value.replace(value[-1], "0" if value[-1] != "0" else "1"),
        lambda value: f"1.{value.partition('.')[2]}",
        lambda _: "",
        lambda _: "9" * 5_000,
        lambda _: f"99999999999.{'é' * 64}",
        lambda _: TOKEN,
    ],
    ids=["later", "other seal", "over", "empty", "long", "not ascii", "the token itself"],
)
def test_cookie_of_ones_own_making_shows_nothing(guarded: Starlette, ask: Ask, change: Callable[[str], str]) -> None:
    """A cookie counts only as it was given, and only until it is over."""
    value = SimpleCookie(logged_in(ask, guarded).headers["set-cookie"])["plano_admin"].value
    headers = {"cookie": f"plano_admin={change(value)}".encode()}

    assert ask(guarded, "GET", f"{HERE}/routing/v1/decisions", headers=headers).status_code == 401


def test_cookie_of_another_token_shows_nothing(guarded: Starlette, app_of: App, ask: Ask) -> None:
    """A new token ends all sessions of the old one."""
    value = SimpleCookie(logged_in(ask, guarded).headers["set-cookie"])["plano_admin"].value
    other = app_of(f"{SETTINGS}admin: {{token: another}}\n", FixedClassifier({}))

    answer = ask(other, "GET", f"{HERE}/routing/v1/decisions", headers={"cookie": f"plano_admin={value}"})

    assert answer.status_code == 401


def test_form_is_bounded(guarded: Starlette, ask: Ask) -> None:
    """Nobody fills the memory through the form."""
    assert logged_in(ask, guarded, "x" * 10_000).status_code == 413
    assert ask(guarded, "GET", f"{HERE}/routing/login").status_code == 405


def test_every_part_of_the_page_is_served(app_of: App, ask: Ask) -> None:
    """What lies beside the page is served with its type and under a policy that lets nothing else in."""
    app = app_of(SETTINGS, FixedClassifier({}))

    assert len(PARTS) == 8
    for name in PARTS:
        answer = ask(app, "GET", f"{HERE}{PAGE}/{name}")
        assert answer.status_code == 200, name
        kind = mimetypes.guess_type(name)[0]
        assert answer.headers["content-type"].partition(";")[0] == kind, name
    policy = ask(app, "GET", f"{HERE}{PAGE}").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
