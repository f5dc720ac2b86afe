"""A Flask app that answers calls with what its view was given; `application` by WSGI, `asgi` by a bridge."""

import os
import sys
from typing import Any

from a2wsgi import WSGIMiddleware
from flask import Flask, g, request

from plano_asgi_flask import Plano


def tell_of_loading(event: str, arguments: tuple[object, ...]) -> None:
    """Write a line where the model's file is opened."""
    if event == "open" and str(arguments[0]).endswith("encoder.onnx"):
        sys.stderr.write(f"model opened by {os.getpid()}\n")


sys.addaudithook(tell_of_loading)
application = Flask(__name__)
Plano(application)


@application.route("/", defaults={"path": ""})
@application.route("/<path:path>", methods=["GET", "POST"])
def tell(path: str) -> dict[str, Any]:
    """Answer with the body, the decision and the process."""
    del path
    routed = g.plano
    return {
        "body": request.get_data(as_text=True),
        "route": routed and routed.decision.route,
        "process": os.getpid(),
    }


wsgi_app: Any = application
asgi = WSGIMiddleware(wsgi_app)
