"""What an attempt's failure means: whether another model may do better, and what the provider is to be spared.

Providers say that a call is too long, or that a filter has stopped it, in codes and words of their own; the patterns
below are those of the well-known ones.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

import orjson

MOST_RETRY_AFTER_S: Final = 3_600.0
_BAD_REQUEST: Final = 400
_RATE_LIMITED: Final = 429
_SERVER_ERRORS: Final = 500
_TRANSIENT_STATUSES: Final = frozenset({408, 409, 424, 425})  # 424: a model of Bedrock's has failed
_KEY_STATUSES: Final = frozenset({401, 402})
_FORBIDDEN: Final = 403  # a filter's word, or another for a key that will not do
_MISSING_STATUSES: Final = frozenset({404, 405})
_TOO_LONG: Final = re.compile(
    r"context_length_exceeded|exceed_context_size|context (?:length|window|size|limit)|prompt is too long"
    r"|maximum (?:prompt|context) length|maximum number of tokens allowed|too many (?:input )?tokens|input is too long",
    re.IGNORECASE,
)
_KEY_SAID: Final = re.compile(
    r"invalid_api_key|incorrect api key|api key not valid|api_key_invalid|invalid api key|authentication_error",
    re.IGNORECASE,
)
_FILTERED: Final = re.compile(
    r"content_filter|content filter|content_policy|content management policy|responsible ?ai ?policy"
    r"|moderation|usage polic|safety system",
    re.IGNORECASE,
)
_SAID_IN_STREAMS: Final = {  # types and codes of errors that come as events
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "overloaded_error": 529,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "validationException": 400,
    "throttlingException": 429,
    "modelStreamErrorException": 502,
    "serviceUnavailableException": 503,
    "modelTimeoutException": 408,
}


class FailureKind(StrEnum):
    """What went wrong with an attempt; the value is what callers and logs are told."""

    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    NO_CONNECTION = "no_connection"
    SATURATED = "saturated"  # it is we who have no connection left
    TIMEOUT = "timeout"
    BROKEN_OFF = "broken_off"
    UNUSABLE = "unusable_answer"
    KEY_REFUSED = "key_refused"
    NOT_FOUND = "not_found"
    REJECTED = "rejected"
    TOO_LONG = "too_long"
    FILTERED = "content_filter"
    NOT_TRANSLATABLE = "not_translatable"  # it was not asked: its API has no place for the call


_TRANSIENT: Final = frozenset(
    {
        FailureKind.RATE_LIMITED,
        FailureKind.SERVER_ERROR,
        FailureKind.NO_CONNECTION,
        FailureKind.SATURATED,
        FailureKind.TIMEOUT,
        FailureKind.BROKEN_OFF,
        FailureKind.UNUSABLE,
    }
)
_OF_THE_CALL: Final = frozenset({FailureKind.REJECTED, FailureKind.TOO_LONG, FailureKind.FILTERED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt has no answer to give.

    Attributes:
        kind: What went wrong.
        status: HTTP status of the provider's answer; None where there was none.
        retry_after_s: Seconds for which the provider asks to be left alone; None where it says nothing.
    """

    kind: FailureKind
    status: int | None = None
    retry_after_s: float | None = None

    @property
    def is_transient(self) -> bool:
        """Whether the same model may answer the same call a little later."""
        return self.kind in _TRANSIENT

    @property
    def is_of_the_call(self) -> bool:
        """Whether the call is at fault, and not the provider."""
        return self.kind in _OF_THE_CALL


def failure_of(status: int, headers: Mapping[str, str], body: bytes, *, is_callers_key: bool = False) -> Failure:
    """Return what an answer that is no success means, by its status and by what its body says.

    Args:
        status: Its HTTP status.
        headers: Its headers by lower-case name.
        body: What it says.
        is_callers_key: Whether it was asked with the caller's own key, so that a refused one is the caller's affair.
    """
    kind = _kind_of(status, body, is_callers_key=is_callers_key)
    retry_after_s = retry_after(headers) if kind in _TRANSIENT else None
    return Failure(kind=kind, status=status, retry_after_s=retry_after_s)


def failure_in_stream(error: object) -> Failure:
    """Return what an error that came as a stream's event means; by it alone, since the status has said otherwise."""
    words = [error.get(key) for key in ("type", "code")] if isinstance(error, Mapping) else []
    told = (_SAID_IN_STREAMS.get(word) for word in words if isinstance(word, str))
    numbers = (word for word in words if isinstance(word, int) and _BAD_REQUEST <= word < 600)  # noqa: PLR2004 - statuses
    status = next(numbers, None) or next((status for status in told if status), _SERVER_ERRORS)
    return Failure(kind=_kind_of(status, _dumped(error), is_callers_key=False), status=status)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds a provider asks to be left alone, an hour at the most; a date counts from its own."""
    milliseconds, seconds = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    if wanted := _number(milliseconds):
        return min(wanted / 1000, MOST_RETRY_AFTER_S)
    wanted = _number(seconds)
    if wanted is None and seconds:
        try:
            after: timedelta = parsedate_to_datetime(seconds) - parsedate_to_datetime(headers.get("date", ""))
        except (ValueError, TypeError):
            return None
        wanted = after.total_seconds()
    return None if wanted is None else min(max(wanted, 0.0), MOST_RETRY_AFTER_S)


def _kind_of(status: int, body: bytes, *, is_callers_key: bool) -> FailureKind:
    kind = FailureKind.REJECTED
    if status == _RATE_LIMITED:
        kind = FailureKind.RATE_LIMITED
    elif status >= _SERVER_ERRORS or status in _TRANSIENT_STATUSES:
        kind = FailureKind.SERVER_ERROR
    elif status < _BAD_REQUEST:  # a redirect, which is not followed
        kind = FailureKind.UNUSABLE
    elif (status in _KEY_STATUSES or _KEY_SAID.search(_said_by(body))) and not is_callers_key:
        kind = FailureKind.KEY_REFUSED
    elif status in _MISSING_STATUSES:
        kind = FailureKind.NOT_FOUND
    elif _TOO_LONG.search(said := _said_by(body)):
        kind = FailureKind.TOO_LONG
    elif _FILTERED.search(said):
        kind = FailureKind.FILTERED
    elif status == _FORBIDDEN and not is_callers_key:
        kind = FailureKind.KEY_REFUSED
    return kind


def _said_by(body: bytes) -> str:
    """Return the codes and words of an error's body; of one that is no JSON, nothing."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    error = told.get("error", told) if isinstance(told, dict) else told
    return _dumped(error).decode(errors="replace")


def _dumped(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return b""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
