"""Errors in the shape that each API's clients parse."""

import re
from http import HTTPStatus
from typing import Final

import orjson

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError
from plano_asgi.wire.sse import write_event

_OPENAI_TYPES: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
OVERLOADED: Final = 529  # Anthropic's own status
_SERVER_ERRORS: Final = 500
_INDEX: Final = re.compile(r"\[(\d+)\]")


def error_status(error: CallError, api_format: ApiFormat) -> int:
    """Return the HTTP status that this API uses for the error: Anthropic says 529 where others say 503."""
    if api_format is ApiFormat.MESSAGES and error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return OVERLOADED
    return error.status


def error_body(error: CallError, api_format: ApiFormat, *, request_id: str) -> bytes:
    """Return the error as a JSON body of this API.

    OpenAI's has all four keys of its `Error` schema; Anthropic's has `request_id`, and its message leads with the field
    at fault in its own notation (`messages.0.role: ...`).
    """
    if api_format is ApiFormat.MESSAGES:
        return orjson.dumps(_anthropic(error, request_id))
    return orjson.dumps(_openai(error))


def error_event(error: CallError, api_format: ApiFormat, *, request_id: str, sequence_number: int = 0) -> bytes:
    """Return the error as the event by which a stream of this API says that it has failed.

    Args:
        error: What went wrong.
        api_format: The API of the stream.
        request_id: As in `error_body`.
        sequence_number: The number that Responses gives the event.
    """
    if api_format is ApiFormat.RESPONSES:
        event = {
            "type": "error",
            "code": error.code,
            "message": error.message,
            "param": error.param,
            "sequence_number": sequence_number,
        }
        return write_event(orjson.dumps(event), name="error")
    body = error_body(error, api_format, request_id=request_id)
    return write_event(body, name="error" if api_format is ApiFormat.MESSAGES else "")


def _openai(error: CallError) -> object:
    kind = "server_error" if error.status >= _SERVER_ERRORS else "invalid_request_error"
    return {
        "error": {
            "message": error.message,
            "type": _OPENAI_TYPES.get(error.status, kind),
            "param": error.param,
            "code": error.code,
        }
    }


def _anthropic(error: CallError, request_id: str) -> object:
    status = error_status(error, ApiFormat.MESSAGES)
    kind = "api_error" if status >= _SERVER_ERRORS else "invalid_request_error"
    message = error.message
    if error.param:
        message = message.replace(error.param, _INDEX.sub(r".\1", error.param), 1)
    return {
        "type": "error",
        "error": {"type": _ANTHROPIC_TYPES.get(status, kind), "message": message},
        "request_id": request_id,
    }
