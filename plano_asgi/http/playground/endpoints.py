"""The page, its parts, what it shows of the configuration, and the form that takes the admin token."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from plano_asgi.assembly import Service
from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError
from plano_asgi.http.admin import (
    LOOKING,
    SESSION_COOKIE,
    SESSION_S,
    OperatorEndpoint,
    check_admin,
    check_method,
    is_token,
    new_session,
)
from plano_asgi.http.bodies import ClientDisconnectedError, read_body
from plano_asgi.http.endpoints import send_answer
from plano_asgi.intake import Headers, error_answer
from plano_asgi.secret import Secret

PLAYGROUND_PATH: Final = "/routing/playground"
CONFIGURATION_PATH: Final = f"{PLAYGROUND_PATH}/configuration.json"
LOGIN_PATH: Final = "/routing/login"  # beside what the cookie is for: browsers then send it there, below any root
MOST_FORM_BYTES: Final = 8_192
FORM_S: Final = 10.0

_FOLDER: Final = Path(__file__).parent
_PARTS: Final = {
    "style.css": "text/css",
    "playground.js": "text/javascript",
    "conversations.js": "text/javascript",
    "drawing.js": "text/javascript",
    "live.js": "text/javascript",
    "reading.js": "text/javascript",
    "reproducing.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def playground_endpoints(service: Service) -> Mapping[str, ASGIApp]:
    """Return the page and what belongs to it by their paths; all but its looks is for operators only."""
    token = service.settings.admin.token
    endpoints: dict[str, ASGIApp] = {
        PLAYGROUND_PATH: _Page(token),
        CONFIGURATION_PATH: OperatorEndpoint(_Configuration(service), token),
        **{f"{PLAYGROUND_PATH}/{name}": _part(name, kind) for name, kind in _PARTS.items()},
    }
    return endpoints if token is None else endpoints | {LOGIN_PATH: _Login(token)}


class _Page:
    """The page itself; whoever has yet to show the token is given the form for it."""

    def __init__(self, token: Secret | None) -> None:
        self._token = token
        form = Template(_text("login.html"))
        self._page, self._form = _html(_text("page.html")), _html(form.substitute(fault=""))
        self._refused_form = _html(form.substitute(fault="That is not the token."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._page
        try:
            check_method(scope, LOOKING)
            check_admin(scope, self._token)
        except CallError as error:
            if self._token is None or error.status != 401:  # noqa: PLR2004 - unauthorized
                await _refuse(error, scope, send)
                return
            response = self._refused_form if scope["query_string"] == b"refused" else self._form
        await response(scope, receive, send)


@dataclass(frozen=True, slots=True)
class _Login:
    """Takes the token from the form, and gives the browser a cookie that is good for looking."""

    token: Secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the way to the page: with the cookie, or back to its form."""
        try:
            check_method(scope, {"POST"})
            form = parse_qs((await read_body(receive, limit=MOST_FORM_BYTES, timeout_s=FORM_S)).decode("latin-1"))
        except CallError as error:
            await _refuse(error, scope, send)
            return
        except ClientDisconnectedError:
            return
        if not is_token(form.get("token", [""])[0].strip(), self.token):
            await RedirectResponse("playground?refused", 303, _HEADERS)(scope, receive, send)
            return
        response = RedirectResponse("playground", 303, _HEADERS)
        is_secure = scope.get("scheme") == "https"
        cookie = f"{SESSION_COOKIE}={new_session(self.token)}; Max-Age={SESSION_S}; HttpOnly; SameSite=Strict"
        response.headers.append("set-cookie", f"{cookie}; Secure" if is_secure else cookie)
        await response(scope, receive, send)


class _Configuration:
    """What the page shows of the configuration: routes, models and what is allowed; no key, and no URL."""

    def __init__(self, service: Service) -> None:
        settings, router = service.settings, service.router
        facts = {
            "classifier": router.classifier.kind,
            "default_model": settings.catalog.default_model,
            "has_decision_log": service.observation.observer.journal is not None,
            "is_inline_allowed": settings.routing.inline == "allow",
            "models": _models(service),
            "routes": [
                {
                    "name": preference.name,
                    "description": preference.description,
                    "models": preference.models,
                    "prefer": preference.selection_policy,
                }
                for preference in router.policy.preferences
            ],
            "version": version("plano-asgi"),
        }
        self._answer = orjson.dumps(facts)

    async def __call__(self, _: Request) -> Response:
        return Response(self._answer, media_type="application/json", headers=_HEADERS)


def _models(service: Service) -> list[str]:
    """Return the models that can be chosen: those declared by name, and those of routes."""
    declared = [provider.model for provider in service.settings.catalog.providers]
    routed = [model for preference in service.router.policy.preferences for model in preference.models]
    return [model for model in dict.fromkeys([*declared, *routed]) if not model.endswith("/*")]


def _part(name: str, kind: str) -> ASGIApp:
    return Response(_text(name), media_type=kind, headers=_HEADERS)


def _html(text: str) -> Response:
    return Response(text, media_type="text/html", headers=_HEADERS)


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


async def _refuse(error: CallError, scope: Scope, send: Send) -> None:
    request_id = Headers.from_raw(scope["headers"]).request_id()
    await send_answer(error_answer(error, api_format=ApiFormat.CHAT_COMPLETIONS, request_id=request_id), send)
