"""The decision endpoints as a view."""

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from plano_asgi.conversation import ApiFormat
from plano_asgi.intake.environ import headers_of
from plano_asgi_django.requests import body_of, response_of
from plano_asgi_django.service import adapted


@csrf_exempt
def decide(request: HttpRequest, api_format: ApiFormat) -> HttpResponse:
    """Answer with the decision on a call, or with an error in the caller's API format.

    Raises:
        Http404: The settings switch the endpoints off.
    """
    own = adapted()
    if own is None or not own.settings.endpoints:
        raise Http404
    headers = headers_of(request.META)
    body = body_of(request, headers, limit=own.calls.body_bytes)
    own.first_call.begin()
    return response_of(own.calls.decided(api_format, request.method or "", headers, body))
