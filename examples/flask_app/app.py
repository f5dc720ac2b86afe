"""A Flask service that passes Chat Completions calls on to the provider that each of them is routed to.

The service was there before. `Plano(app)` routes its calls; `g.plano` says who serves them, and with which key.
"""

from http import HTTPStatus
from pathlib import Path

import httpx
from flask import Flask, Response, g, jsonify, request
from flask.typing import ResponseReturnValue

from plano_asgi_flask import Plano

app = Flask(__name__)
app.config["PLANO_CONFIG_FILE"] = Path(app.root_path) / "plano.yaml"
Plano(app)
client = httpx.Client(timeout=httpx.Timeout(10, read=300))


@app.post("/v1/chat/completions")
def chat() -> ResponseReturnValue:
    """Pass the provider's answer on as it comes, whole or as a stream."""
    provider = g.plano.provider if g.plano else None
    if provider is None:
        return refused(400, "this is no Chat Completions call, or its model is not served here")
    if provider.base_url is None or provider.access_key is None:
        return refused(503, f"{provider.model} is not set up here; its base_url or its key is missing")
    call = client.build_request(
        "POST",
        f"{provider.base_url.rstrip('/')}/chat/completions",
        content=request.get_data(),
        headers={"authorization": f"Bearer {provider.access_key.reveal()}", "content-type": "application/json"},
    )
    try:
        answer = client.send(call, stream=True)
    except httpx.HTTPError as error:
        return refused(502, f"the provider did not answer ({type(error).__name__}); try again")
    passed_on = Response(answer.iter_bytes(), answer.status_code)
    passed_on.headers["content-type"] = answer.headers.get("content-type", "application/json")
    passed_on.call_on_close(answer.close)
    return passed_on


def refused(status: int, message: str) -> ResponseReturnValue:
    """Return an error in OpenAI's shape."""
    kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    return jsonify(error={"message": message, "type": kind, "param": None, "code": None}), status
