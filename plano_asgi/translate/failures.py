"""A provider's error, in the words of the caller's API."""

import re
from http import HTTPStatus
from typing import Final

from plano_asgi.errors import CallError
from plano_asgi.translate.answer import MOST_MESSAGE_CHARS, Failed
from plano_asgi.translate.context import TranslationContext
from plano_asgi.wire import error_body, error_status
from plano_asgi.wire.error_bodies import OVERLOADED
from plano_asgi.wire.exact_json import read_json

CONTEXT_LENGTH: Final = "context_length_exceeded"
_TOO_LONG: Final = re.compile(
    r"prompt is too long|input is too long|context window|context length|too many (?:input )?tokens", re.IGNORECASE
)
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
_CREDENTIALS: Final = frozenset({401, 403})
_LEAST_ERROR: Final = 400


def translate_error(status: int, body: bytes, context: TranslationContext) -> tuple[int, bytes]:
    """Return status and body of a provider's error as the caller's API has them.

    The provider's message is kept, but for one about credentials, which may quote a key; a body that is no error of its
    API is not repeated.
    """
    if context.is_native:
        return status, body
    return _written(failure_in(status, body), context)


def error_without_words(status: int, context: TranslationContext) -> tuple[int, bytes]:
    """Return status and body, in the caller's API, of an error whose own words are not repeated."""
    return _written(failure_in(status, b""), context)


def _written(failure: Failed, context: TranslationContext) -> tuple[int, bytes]:
    error = call_error(failure)
    return error_status(error, context.source), error_body(error, context.source, request_id=context.call_id)


def failure_in(status: int, body: bytes) -> Failed:
    """Return what an error's body tells."""
    try:
        told = read_json(body)
    except ValueError:
        told = None
    fields = told if isinstance(told, dict) else {}
    inner = fields.get("error", fields)
    detail = inner if isinstance(inner, dict) else {"message": inner}
    messages = (detail.get(key) for key in ("message", "Message", "detail"))
    message = next((text for text in messages if isinstance(text, str) and text), None)
    names = (detail.get("code"), detail.get("type"))
    code = next((name for name in names if isinstance(name, str) and _CODE.fullmatch(name)), "upstream_error")
    said = message or f"the provider answered with status {status} and no error of its API"
    return Failed(status, said[:MOST_MESSAGE_CHARS], code)


def call_error(failure: Failed) -> CallError:
    """Return a failure as an error that is answered in the caller's own API."""
    status = failure.status if failure.status >= _LEAST_ERROR else HTTPStatus.BAD_GATEWAY
    if status == OVERLOADED:
        status = HTTPStatus.SERVICE_UNAVAILABLE
    message, code = failure.message, failure.code
    if status in _CREDENTIALS:
        message = "the provider refused the credentials that it was called with"
    elif status < HTTPStatus.INTERNAL_SERVER_ERROR and _TOO_LONG.search(message):
        code = CONTEXT_LENGTH
    return CallError(message, status=int(status), code=code)
