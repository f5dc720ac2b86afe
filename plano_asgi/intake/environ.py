"""Requests as CGI-like variables tell of them: a WSGI environment (PEP 3333), or Django's `request.META`."""

from collections.abc import Iterator, MutableMapping
from typing import Any, Final

from plano_asgi.intake.headers import Headers
from plano_asgi.intake.rewriting import is_stale

Environ = MutableMapping[str, Any]

_PREFIX: Final = "HTTP_"
_UNPREFIXED: Final = ("CONTENT_TYPE", "CONTENT_LENGTH")
_RAW_PATHS: Final = ("RAW_URI", "REQUEST_URI")  # Gunicorn's name, and that of most others


def headers_of(environ: Environ) -> Headers:
    """Return the request's headers."""
    return Headers.from_raw((_header(name), environ[name].encode("latin-1", "replace")) for name in _names(environ))


def path_of(environ: Environ) -> str:
    """Return the path within the app; empty where an encoded slash makes it say two things, as far as is known."""
    raw = next((environ[name] for name in _RAW_PATHS if environ.get(name)), "")
    return path_unless_ambiguous(environ.get("PATH_INFO", ""), raw.partition("?")[0].encode("latin-1", "replace"))


def path_unless_ambiguous(path: str, raw: bytes) -> str:
    """Return a path; empty where its raw form has an encoded slash, which is no separator (RFC 3986, section 2.2)."""
    return "" if b"%2f" in raw.lower() else path


def rewrite_environ(environ: Environ, *, length: int) -> None:
    """Say that the body has that length and no encoding, and forget a client's own `x-plano-*` headers."""
    for name in [name for name in _names(environ) if is_stale(_header(name))]:
        del environ[name]
    environ.pop("HTTP_CONTENT_LENGTH", None)  # which some servers set as well
    environ["CONTENT_LENGTH"] = str(length)


def _names(environ: Environ) -> Iterator[str]:
    """Yield the variables that are headers."""
    return (name for name, value in environ.items() if _is_header(name) and isinstance(value, str))


def _is_header(name: object) -> bool:
    """Return whether a variable is a header; what CGI names without a prefix is not taken with one as well."""
    if not isinstance(name, str):
        return False
    return name in _UNPREFIXED or (name.startswith(_PREFIX) and name.removeprefix(_PREFIX) not in _UNPREFIXED)


def _header(name: str) -> bytes:
    return name.removeprefix(_PREFIX).replace("_", "-").lower().encode("latin-1", "replace")
