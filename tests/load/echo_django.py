"""A Django project in one file, which answers calls with what its view was given; by WSGI and by ASGI."""

import logging
import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import JsonResponse
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt

from plano_asgi_django import PlanoRequest

logging.basicConfig(level=logging.WARNING)


def tell_of_loading(event: str, arguments: tuple[object, ...]) -> None:
    """Write a line where the model's file is opened."""
    if event == "open" and str(arguments[0]).endswith("encoder.onnx"):
        sys.stderr.write(f"model opened by {os.getpid()}\n")


sys.addaudithook(tell_of_loading)
settings.configure(
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["plano_asgi_django"],
    LOGGING_CONFIG=None,
    MIDDLEWARE=["plano_asgi_django.PlanoMiddleware"],
    PLANO={"config_file": Path("plano.yaml")},
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a test",  # noqa: S106 - it keeps nothing
)
django.setup()


@csrf_exempt
def tell(request: PlanoRequest) -> JsonResponse:
    """Answer with the body, the decision and the process."""
    routed = request.plano
    return JsonResponse(
        {"body": request.body.decode(), "route": routed and routed.decision.route, "process": os.getpid()}
    )


urlpatterns = [re_path("", tell)]
application = WSGIHandler()
asgi = ASGIHandler()
