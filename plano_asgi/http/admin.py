"""Who may see what is the operator's alone: whoever shows `admin.token`, else who asks from the same machine."""

import hmac
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError
from plano_asgi.http.endpoints import send_answer
from plano_asgi.intake import Headers, error_answer
from plano_asgi.secret import Secret

SESSION_COOKIE: Final = "plano_admin"
SESSION_S: Final = 43_200  # twelve hours

_PROXY_HEADERS: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
LOOKING: Final = frozenset({"GET", "HEAD"})

_Answering = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class OperatorEndpoint:
    """Answers GET requests of those who may see what is the operator's.

    Attributes:
        answer: What answers them.
        token: What they show; None where who asks from this machine may see it.
    """

    answer: _Answering
    token: Secret | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; errors have the shape of OpenAI's."""
        try:
            check_method(scope, LOOKING)
            check_admin(scope, self.token)
            response = await self.answer(Request(scope, receive))
        except CallError as error:
            request_id = Headers.from_raw(scope["headers"]).request_id()
            answer = error_answer(error, api_format=ApiFormat.CHAT_COMPLETIONS, request_id=request_id)
            await send_answer(answer, send)
            return
        await response(scope, receive, send)


def check_admin(scope: Scope, token: Secret | None) -> None:
    """Guarantee that a request may see what is the operator's.

    Without a token that is who asks from this machine, by a name of this machine, and through no proxy: a web page
    that makes a browser ask in its own name is refused, and so is the world behind a proxy on this machine. A browser
    in which the token was typed has a cookie instead, which is good for looking and changes nothing: no other site can
    make a browser do something here.

    Raises:
        CallError: 401 without the token, 403 from elsewhere.
    """
    headers = Headers.from_raw(scope["headers"])
    if token is not None:
        shown = headers.get("authorization").partition(" ")[2].strip()
        is_looking = scope["method"] in LOOKING
        if not is_token(shown, token) and not (is_looking and _is_session(Request(scope), token)):
            message = "show the setting admin.token as a bearer token: Authorization: Bearer ..."
            raise CallError(message, status=401, code="admin_token_required")
        return
    client = scope.get("client")
    is_proxied = any(headers.get(name) for name in _PROXY_HEADERS)
    if is_proxied or not client or not _is_loopback(client[0]) or not _names_loopback(headers.get("host")):
        message = "this is shown to this machine only; set admin.token to see it from elsewhere"
        raise CallError(message, status=403, code="admin_only")


def is_token(shown: str, token: Secret) -> bool:
    """Return whether what is shown is the token, in a time that tells nothing of it."""
    return hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), token.reveal().encode())


def new_session(token: Secret) -> str:
    """Return the value of a cookie that is good for looking for twelve hours; the token cannot be told from it."""
    return _sealed(int(_now()) + SESSION_S, token)


def _is_session(request: Request, token: Secret) -> bool:
    value = request.cookies.get(SESSION_COOKIE, "")
    until = value.partition(".")[0]
    if not (until.isascii() and until.isdecimal() and len(until) <= len(str(2**53))) or int(until) < _now():
        return False
    return hmac.compare_digest(value.encode("utf-8", "surrogateescape"), _sealed(int(until), token).encode())


def _sealed(until: int, token: Secret) -> str:
    return f"{until}.{hmac.digest(token.reveal().encode(), b'plano-admin-until-%d' % until, 'sha256').hex()}"


def _now() -> float:
    return datetime.now(UTC).timestamp()


def check_method(scope: Scope, allowed: AbstractSet[str]) -> None:
    """Guarantee that a request has one of the methods.

    Raises:
        CallError: 405.
    """
    if scope["method"] not in allowed:
        message = f"this path takes {' and '.join(sorted(allowed - {'HEAD'}))} only"
        raise CallError(message, status=405, code="method_not_allowed")


def _names_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name == "localhost" or _is_loopback(name.strip("[]"))


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
