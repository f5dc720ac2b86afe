"""Which of a route's models is asked, and whether a failure is one that another may not have."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final

import orjson

from plano_asgi.decisions import Attempt
from plano_asgi.upstream.failures import Failure, FailureKind, failure_of

_NO_ANSWER: Final = frozenset({"APIConnectionError", "TransportError", "ServiceUnavailable", "EndpointConnectionError"})
_STATUSES: Final = range(400, 600)


class Attempts:
    """The candidates of one call, one after the other, for as long as a failure is none of the call's own."""

    def __init__(self, models: tuple[str, ...]) -> None:
        """Take the models, the first to be tried first."""
        self._models = models
        self._has_begun = False
        self.failed: tuple[Attempt, ...] = ()

    def __iter__(self) -> Iterator[str]:
        """Yield the models."""
        return iter(self._models)

    def begin(self) -> None:
        """Let what follows be the caller's: part of an answer is out, and nothing of another's may be added to it."""
        self._has_begun = True

    @contextmanager
    def trying(self, model: str) -> Iterator[None]:
        """Pass over a failure that the next model may not have; any other, and the last model's, goes to the caller."""
        started = perf_counter()
        try:
            yield
        except Exception as error:
            failure = failure_in(error)
            if self._has_begun or failure is None or failure.is_of_the_call or model == self._models[-1]:
                raise
            attempt = Attempt(
                model=model,
                outcome=failure.kind.value,
                status=failure.status,
                duration_ms=(perf_counter() - started) * 1000,
            )
            self.failed += (attempt,)


def failure_in(error: BaseException) -> Failure | None:
    """Return what an integration's exception says of the provider; None where it says nothing of one.

    A status is read where the SDKs of OpenAI, Anthropic, Google and AWS, and httpx have it. Connections that failed and
    deadlines that passed are told by their kind.
    """
    status = _status_of(error)
    if status is not None:
        return failure_of(status, {}, _dumped(getattr(error, "body", None)))
    if isinstance(error, TimeoutError):
        return Failure(kind=FailureKind.TIMEOUT)
    if isinstance(error, ConnectionError) or _NO_ANSWER & {kind.__name__ for kind in type(error).__mro__}:
        return Failure(kind=FailureKind.NO_CONNECTION)
    return None


def _status_of(error: BaseException) -> int | None:
    response: Any = getattr(error, "response", None)
    aws = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    said = (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(error, "code", None),
        aws.get("HTTPStatusCode"),
    )
    return next((status for status in said if isinstance(status, int) and status in _STATUSES), None)


def _dumped(body: object) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:
        return b""
