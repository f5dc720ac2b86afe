"""Answers of the decision endpoints, as status, headers and bytes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Final

import orjson

from plano_asgi.classify.readings import Reading
from plano_asgi.conversation import ApiFormat
from plano_asgi.decisions import RoutingDecision
from plano_asgi.errors import CallError
from plano_asgi.intake.encodings import UNSUPPORTED_ENCODING, accepted_encodings
from plano_asgi.preferences import NO_ROUTE_NAME
from plano_asgi.wire import error_body, error_status

NO_MODEL: Final = "none"
_REQUEST_ID_HEADERS: Final = {ApiFormat.MESSAGES: "request-id"}
_CLOSE: Final = ("connection", "close")  # the rest of the body is not worth reading
_EXTRA_HEADERS: Final = {405: ("allow", "POST"), 408: _CLOSE, 413: _CLOSE}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response; header names are lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def end_to_end_headers(self) -> list[tuple[str, str]]:
        """Its headers but `connection`, which is the server's to send where an app speaks WSGI (PEP 3333)."""
        return [(name, value) for name, value in self.headers if name != "connection"]


def decision_answer(  # noqa: PLR0913 - what there is to tell
    decision: RoutingDecision,
    *,
    api_format: ApiFormat,
    classifier: str,
    trace_id: str,
    request_id: str,
    readings: Sequence[Reading] | None = None,
) -> Answer:
    """Return a decision as the JSON that decision endpoints give; models are always qualified there.

    Args:
        decision: The decision.
        api_format: The caller's API.
        classifier: What decides as usual, as `classifier.kind` names it.
        trace_id: Of the call.
        request_id: Of the call.
        readings: What classifiers read of the call; None where the caller has not asked for that.
    """
    scores = decision.scores
    models = list(decision.models) or [NO_MODEL]
    body = {
        "model": models[0],
        "route": decision.route,
        "models": models,
        "would_use": decision.would_use,
        "confidence": None if decision.confidence is None else round(decision.confidence, 4),
        "threshold": None if decision.threshold is None else round(decision.threshold, 4),
        "reason": decision.reason,
        "source": decision.source,
        "policy": decision.policy,
        "scores": {name: round(score, 4) for name, score in scores.routes.items()}
        | {NO_ROUTE_NAME: round(scores.other, 4)}
        if scores
        else {},
        "classifier": decision.decided_by(classifier),
        **_stages(decision),
        **_session(decision),
        **_trial(decision),
        "latency_ms": round(decision.latency_ms, 2),
        "trace_id": trace_id,
        **({} if readings is None else {"read": [asdict(reading) for reading in readings]}),
    }
    return _json(200, orjson.dumps(body), _request_id_header(api_format, request_id))


def _stages(decision: RoutingDecision) -> dict[str, str]:
    """Return which classifier of a cascade answered, and which could not where one should have."""
    stages = {"stage": decision.stage, "failed_stage": decision.failed_stage}
    return {key: stage for key, stage in stages.items() if stage is not None}


def _session(decision: RoutingDecision) -> dict[str, object]:
    """Return what Plano's clients know of a session, and what holds its model where something does."""
    session = decision.session
    if session is None:
        return {"pinned": False, "switched": False}
    told: dict[str, object] = {"session_id": session.id, "pinned": session.is_pinned, "switched": session.is_switched}
    reasons = {"lock": session.lock, "switch": session.switch}
    return told | {key: reason.value for key, reason in reasons.items() if reason is not None}


def _trial(decision: RoutingDecision) -> dict[str, object]:
    """Return which experiment the call belongs to, where it does."""
    trial = decision.trial
    return {} if trial is None else {"experiment": {"name": trial.experiment, "arm": trial.arm}}


def json_answer(status: int, body: bytes, *, api_format: ApiFormat, request_id: str) -> Answer:
    """Return a JSON body as an answer of the caller's API."""
    return _json(status, body, _request_id_header(api_format, request_id))


def error_answer(error: CallError, *, api_format: ApiFormat, request_id: str) -> Answer:
    """Return an error in the shape of the caller's API, with what the SDKs need to know about trying again."""
    again = ("retry-after", str(ceil(error.retry_after_s))) if error.is_retryable else ("x-should-retry", "false")
    extra = _EXTRA_HEADERS.get(error.status)
    if error.code == UNSUPPORTED_ENCODING:  # and no other 415 (RFC 7694, section 3)
        extra = ("accept-encoding", accepted_encodings())
    headers = (_request_id_header(api_format, request_id), again, *([extra] if extra else []), *error.headers)
    return _json(error_status(error, api_format), error_body(error, api_format, request_id=request_id), *headers)


def _request_id_header(api_format: ApiFormat, request_id: str) -> tuple[str, str]:
    return (_REQUEST_ID_HEADERS.get(api_format, "x-request-id"), request_id)


def _json(status: int, body: bytes, *headers: tuple[str, str]) -> Answer:
    fixed = (("content-type", "application/json"), ("content-length", str(len(body))))
    return Answer(status, (*fixed, *headers), body)
