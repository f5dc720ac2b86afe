"""The decision endpoints: `path("", include("plano_asgi_django.urls"))` serves `/routing/v1/...`."""

from django.urls import path

from plano_asgi.intake.routing_requests import ENDPOINTS
from plano_asgi_django.views import decide

urlpatterns = [
    path(endpoint.removeprefix("/"), decide, {"api_format": api_format}, name=f"plano-{api_format.value}")
    for endpoint, api_format in ENDPOINTS.items()
]
