"""Who may see what is the operator's alone: whoever shows `admin.token`, else who asks from the same machine."""

import hmac
from ipaddress import ip_address
from typing import Final

from starlette.types import Scope

from plano_asgi.errors import CallError
from plano_asgi.intake import Headers
from plano_asgi.secret import Secret

_PROXY_HEADERS: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def check_admin(scope: Scope, token: Secret | None) -> None:
    """Guarantee that a request may see what is the operator's.

    Without a token that is who asks from this machine, by a name of this machine, and through no proxy: a web page
    that makes a browser ask in its own name is refused, and so is the world behind a proxy on this machine.

    Raises:
        CallError: 401 without the token, 403 from elsewhere.
    """
    headers = Headers.from_raw(scope["headers"])
    if token is not None:
        shown = headers.get("authorization").partition(" ")[2].strip()
        if not hmac.compare_digest(shown.encode(), token.reveal().encode()):
            message = "show the setting admin.token as a bearer token: Authorization: Bearer ..."
            raise CallError(message, status=401, code="admin_token_required")
        return
    client = scope.get("client")
    is_proxied = any(headers.get(name) for name in _PROXY_HEADERS)
    if is_proxied or not client or not _is_loopback(client[0]) or not _names_loopback(headers.get("host")):
        message = "this is shown to this machine only; set admin.token to see it from elsewhere"
        raise CallError(message, status=403, code="admin_only")


def _names_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name == "localhost" or _is_loopback(name.strip("[]"))


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
