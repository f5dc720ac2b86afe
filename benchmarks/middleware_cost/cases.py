"""What is measured, and how much of it."""

from dataclasses import dataclass
from typing import Final

from benchmarks.middleware_cost.logs import LOGS

CALL: Final = "/v1/chat/completions"
OTHER: Final = "/orders"
BODY_BYTES: Final = 2_048


@dataclass(frozen=True, slots=True)
class Case:
    """Requests of one kind, on one kind of host.

    Attributes:
        name: For people.
        limit_us: Most microseconds that the middleware may add to one.
        logs: How the host has set up its log: a key of `LOGS`.
        method: Of the requests.
        path: Of the requests.
        is_new: Whether every conversation is new, or its decision cached.
        is_embedded: Whether the shipped model decides, or a classifier that costs nothing.
        is_observed: Whether spans, metrics for OpenTelemetry and Prometheus, and a decision log are made of calls.
    """

    name: str
    limit_us: float
    logs: str
    method: str = "POST"
    path: str = CALL
    is_new: bool = False
    is_embedded: bool = False
    is_observed: bool = False


IGNORED: Final = Case("POST, not a call", 20, "structlog INFO", path=OTHER)
CACHED: Final = tuple(Case("cached call", 200, logs) for logs in LOGS)
CASES: Final = (
    Case("GET, not a call", 20, "structlog INFO", method="GET", path=OTHER),
    IGNORED,
    *CACHED,
    Case("cached call, all telemetry on", 400, "structlog INFO", is_observed=True),
    *(Case("new call, classifier of no cost", 300, logs, is_new=True) for logs in LOGS),
    *(
        Case("new call, embedded classifier", 300, logs, is_new=True, is_embedded=True)
        for logs in ("structlog INFO", "WARNING")
    ),
)
HTTP_CASES: Final = (IGNORED, *CACHED)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: Through all cases, in process.
        pairs: Of calls, in each round.
        blocks: Of requests over HTTP, to the bare app and to the wrapped one.
        requests: In each block.
    """

    rounds: int
    pairs: int
    blocks: int
    requests: int


FULL: Final = Effort(rounds=8, pairs=800, blocks=60, requests=320)
QUICK: Final = Effort(rounds=1, pairs=32, blocks=2, requests=32)
