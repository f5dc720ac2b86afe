"""The decision endpoints as a blueprint: `app.register_blueprint(decision_endpoints)` serves `/routing/v1/...`."""

from functools import partial
from typing import Final

from flask import Blueprint, Response, abort, request

from plano_asgi.conversation import ApiFormat
from plano_asgi.intake.environ import headers_of
from plano_asgi.intake.routing_requests import ENDPOINTS
from plano_asgi_flask.bodies import take_body
from plano_asgi_flask.current import current

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")  # all but POST are told so in the caller's API format

decision_endpoints = Blueprint("plano", __name__)


def _decide(api_format: ApiFormat) -> Response:
    """Answer with the decision on a call, or with an error in the caller's API format."""
    own = current()
    if own is None or not own.settings.endpoints:
        abort(404)
    headers = headers_of(request.environ)
    body = take_body(request.environ, headers, limit=own.calls.body_bytes)
    own.first_call.begin()
    answer = own.calls.decided(api_format, request.method, headers, body.data)
    return Response(answer.body, answer.status, answer.end_to_end_headers)


for _path, _api_format in ENDPOINTS.items():
    decision_endpoints.add_url_rule(
        _path, _api_format.value, partial(_decide, _api_format), methods=METHODS, provide_automatic_options=False
    )
