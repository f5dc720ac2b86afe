"""What stands around a Flask app: its LLM calls, rewritten in place."""

from collections.abc import Iterable
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from plano_asgi.assembly import Adapted
from plano_asgi.conversation import ApiFormat
from plano_asgi.hops import carrying
from plano_asgi.intake import Answer, Headers, RoutedCall
from plano_asgi.intake.environ import headers_of, path_of, rewrite_environ
from plano_asgi.intake.rewriting import RawHeaders
from plano_asgi_flask.bodies import take_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ENVIRON_KEY: Final = "plano.call"


class RoutedApp:
    """Routes the calls to a WSGI app and leaves every other request as it is; answers are never buffered."""

    def __init__(self, app: "WSGIApplication", adapted: Adapted) -> None:
        """Stand around an app."""
        self._app = app
        self._adapted = adapted

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Return the app's answer to a request, or ours in its place."""
        calls, path = self._adapted.calls, path_of(environ)
        api_format = calls.format_of(path) if environ["REQUEST_METHOD"] == "POST" else None
        if api_format is None or calls.is_decision_path(path) or _is_rewritten(environ):
            return self._app(environ, start_response)
        headers = headers_of(environ)
        told = self._take_in(api_format, headers, environ)
        if isinstance(told, Answer):
            start_response(f"{told.status} {_phrase(told.status)}", told.end_to_end_headers)
            return [told.body]
        with carrying(headers.hops):
            return self._app(environ, _telling(start_response, told) if told else start_response)

    def _take_in(self, api_format: ApiFormat, headers: Headers, environ: "WSGIEnvironment") -> RawHeaders | Answer:
        """Decide a call and put what the app is to read into its environment; return what its answer tells, or ours."""
        calls = self._adapted.calls
        body = take_body(environ, headers, limit=calls.body_bytes)
        if body.again:
            environ["wsgi.input"] = body.again
        self._adapted.first_call.begin()
        outcome = calls.take_in(api_format, headers, body.data)
        if isinstance(outcome, Answer):
            return outcome
        if outcome is None:
            return []
        environ[ENVIRON_KEY] = outcome.routed
        if outcome.body is not None:
            environ["wsgi.input"] = BytesIO(outcome.body)
            rewrite_environ(environ, length=len(outcome.body))
        return outcome.told


def routed_call(environ: "WSGIEnvironment") -> RoutedCall | None:
    """Return what was decided about a request, or None where it was not routed; ASGI's middleware may have done so."""
    found = environ.get(ENVIRON_KEY)
    return found if isinstance(found, RoutedCall) else RoutedCall.in_scope(environ.get("asgi.scope"))


def _is_rewritten(environ: "WSGIEnvironment") -> bool:
    before = routed_call(environ)
    return before is not None and not before.is_observed


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"


def _telling(start_response: "StartResponse", told: RawHeaders) -> "StartResponse":
    own = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in told]

    def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:  # noqa: ANN401 - as PEP 3333 has it
        return start_response(status, [*headers, *own], *error)

    return start
