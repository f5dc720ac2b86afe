"""Names of the events this package logs, and the logger they go to.

The library never configures logging. Where the host has configured structlog, events go there; otherwise they go to
the standard logger `plano_asgi`, which is silent until the host gives it a handler.
"""

import logging
from functools import cache
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

CACHE_FAILED: Final = "plano.cache_failed"
CALL_FORWARDED: Final = "plano.call_forwarded"
CALL_ROUTED: Final = "plano.call_routed"
CALL_PASSED_ON: Final = "plano.call_passed_on"
CALL_REFUSED: Final = "plano.call_refused"
CLASSIFIER_FAILED: Final = "plano.classifier_failed"
CLASSIFIER_READY: Final = "plano.classifier_ready"
CLASSIFIER_SLOW: Final = "plano.classifier_slow"
RESPONSE_NOT_KEPT: Final = "plano.response_not_kept"
ROUTE_UNKNOWN: Final = "plano.route_unknown"
SECOND_STAGE_BACK: Final = "plano.second_stage_back"
SECOND_STAGE_FAILED: Final = "plano.second_stage_failed"
SESSIONS_FAILED: Final = "plano.sessions_failed"
SETTINGS_IGNORED: Final = "plano.settings_ignored"

_STANDARD_LOGGER = logging.getLogger("plano_asgi")
_STANDARD_LOGGER.addHandler(logging.NullHandler())


def get_logger() -> FilteringBoundLogger:
    """Return the host's structlog logger where it has configured one, else the standard logger's."""
    if structlog.is_configured():
        return structlog.get_logger("plano_asgi")  # type: ignore[no-any-return]  # structlog types it Any
    return _standard_logger()


def is_heard(level: int) -> bool:
    """Return whether an event of that level may be heard; where the host has configured structlog, that decides."""
    return structlog.is_configured() or _STANDARD_LOGGER.isEnabledFor(level)


@cache
def _standard_logger() -> FilteringBoundLogger:
    return structlog.wrap_logger(  # type: ignore[no-any-return]  # structlog types it Any
        _STANDARD_LOGGER,
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
    ).bind()
