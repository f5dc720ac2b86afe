"""Names of the events this package logs, the logger they go to, and what every event of one call bears.

The library never configures logging. Where the host has configured structlog, events go there; otherwise they go to
the standard logger `plano_asgi`, which is silent until the host gives it a handler. Within a call that is known by an
identity, each event has its `request_id` and `trace_id`.
"""

import logging
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Protocol
from weakref import ref

import structlog
from structlog.typing import FilteringBoundLogger

BUDGET_LOW: Final = "plano.budget_low"
CACHE_FAILED: Final = "plano.cache_failed"
CALL_FORWARDED: Final = "plano.call_forwarded"
CALL_ROUTED: Final = "plano.call_routed"
CALL_PASSED_ON: Final = "plano.call_passed_on"
CALL_REFUSED: Final = "plano.call_refused"
CLASSIFIER_FAILED: Final = "plano.classifier_failed"
CLASSIFIER_READY: Final = "plano.classifier_ready"
CLASSIFIER_SLOW: Final = "plano.classifier_slow"
PRICES_UNKNOWN: Final = "plano.prices_unknown"
QUOTAS_UNSHARED: Final = "plano.quotas_unshared"
RESPONSE_NOT_KEPT: Final = "plano.response_not_kept"
CONFIGURATION_REFUSED: Final = "plano.configuration_refused"
CONFIGURATION_RELOADED: Final = "plano.configuration_reloaded"
DECISION_LOG_FAILED: Final = "plano.decision_log_failed"
EXPERIMENT_DIFFERS: Final = "plano.experiment_differs"
MODEL_METRICS_FAILED: Final = "plano.model_metrics_failed"
MODEL_METRICS_READ: Final = "plano.model_metrics_read"
OBSERVER_FAILED: Final = "plano.observer_failed"
GUARDRAIL: Final = "plano.guardrail"
LIMIT_HIT: Final = "plano.limit_hit"
ROUTE_UNKNOWN: Final = "plano.route_unknown"
SECOND_STAGE_BACK: Final = "plano.second_stage_back"
SECOND_STAGE_FAILED: Final = "plano.second_stage_failed"
SESSIONS_FAILED: Final = "plano.sessions_failed"
SHADOW_DROPPED: Final = "plano.shadow_dropped"
SHADOW_FAILED: Final = "plano.shadow_failed"
SETTINGS_IGNORED: Final = "plano.settings_ignored"
TOKENIZER_FAILED: Final = "plano.tokenizer_failed"
TOKENIZER_READY: Final = "plano.tokenizer_ready"

_STANDARD_LOGGER = logging.getLogger("plano_asgi")
_STANDARD_LOGGER.addHandler(logging.NullHandler())


_TRACEPARENT: Final = re.compile(  # W3C Trace Context, section 3.2
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


@dataclass(slots=True, kw_only=True)
class CallIdentity:
    """What one call is known by, in every event and record of it.

    Attributes:
        request_id: The caller's own, or ours.
        traceparent: The caller's, as it came; whatever is none begins a new trace.
        is_served: Whether we serve the call ourselves, so that there is more to tell when it has ended.
        entry: What the decision log is to be told when it has ended.
    """

    request_id: str
    traceparent: str = field(default="", repr=False)
    is_served: bool = False
    entry: dict[str, object] | None = field(default=None, repr=False)
    _trace_id: str | None = None

    @property
    def trace_id(self) -> str:
        """32 hex digits: of the span of the call where there is one, else of `traceparent`, else new ones."""
        if self._trace_id is None:
            parent = _TRACEPARENT.fullmatch(self.traceparent)
            self._trace_id = parent[1] if parent else secrets.token_hex(16)
        return self._trace_id

    @trace_id.setter
    def trace_id(self, trace_id: str) -> None:
        """Take the trace of the span that the call has got."""
        self._trace_id = trace_id


_identity: ContextVar[CallIdentity | None] = ContextVar("plano_asgi_call", default=None)


class identified:  # noqa: N801 - a context; as a generator it would take three times as long
    """Lets every event until the context ends bear a call's identity, which it yields."""

    __slots__ = ("_identity", "_token")

    def __init__(self, identity: CallIdentity) -> None:
        """Take the identity."""
        self._identity = identity

    def __enter__(self) -> CallIdentity:
        """Begin."""
        self._token = _identity.set(self._identity)
        return self._identity

    def __exit__(self, *_: object) -> None:
        """End."""
        _identity.reset(self._token)


def current_identity() -> CallIdentity | None:
    """Return what the call that is being handled here is known by; None outside of one."""
    return _identity.get()


class Listener(Protocol):
    """Hears of every event of this process."""

    def heard(self, event: str, fields: Mapping[str, object]) -> None:
        """Take note of an event; called on any thread."""


class _Listeners:
    """Who hears of events; replaced as a whole, so that a thread that tells an event never sees it change."""

    def __init__(self) -> None:
        self._living: tuple[ref[Listener], ...] = ()

    def add(self, listener: Listener) -> None:
        self._living = (*(known for known in self._living if known() is not None), ref(listener))

    def tell(self, event: str, fields: Mapping[str, object]) -> None:
        for known in self._living:
            if (listener := known()) is not None:
                with suppress(Exception):  # a host's library may raise; an event that is told fails nothing
                    listener.heard(event, fields)


_LISTENERS: Final = _Listeners()


def listen(listener: Listener) -> None:
    """Let someone hear of every event from now on, for as long as it lives."""
    _LISTENERS.add(listener)


class EventLogger:
    """Tells events to listeners and to the host's log."""

    def debug(self, event: str, **fields: object) -> None:
        """Tell of what matters to who looks for a fault."""
        _host_logger().debug(event, **_told(event, fields))

    def info(self, event: str, **fields: object) -> None:
        """Tell of what is as it should be."""
        _host_logger().info(event, **_told(event, fields))

    def warning(self, event: str, **fields: object) -> None:
        """Tell of what somebody should look at."""
        _host_logger().warning(event, **_told(event, fields))

    def error(self, event: str, **fields: object) -> None:
        """Tell of what keeps the service from working."""
        _host_logger().error(event, **_told(event, fields))


_LOGGER: Final = EventLogger()


def get_logger() -> EventLogger:
    """Return what tells events to the host's structlog logger where it has configured one, else to the standard's."""
    return _LOGGER


def is_heard(level: int) -> bool:
    """Return whether an event of that level may be heard; where the host has configured structlog, that decides."""
    return structlog.is_configured() or _STANDARD_LOGGER.isEnabledFor(level)


def _told(event: str, fields: dict[str, object]) -> dict[str, object]:
    """Return an event's fields with the identity of its call, having told them to the listeners."""
    _LISTENERS.tell(event, fields)
    if (identity := _identity.get()) is not None:
        fields = {**fields, "request_id": identity.request_id, "trace_id": identity.trace_id}
    return fields


def _host_logger() -> FilteringBoundLogger:
    if structlog.is_configured():
        return structlog.get_logger("plano_asgi")  # type: ignore[no-any-return]  # structlog types it Any
    return _standard_logger()


@cache
def _standard_logger() -> FilteringBoundLogger:
    return structlog.wrap_logger(  # type: ignore[no-any-return]  # structlog types it Any
        _STANDARD_LOGGER,
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
    ).bind()
