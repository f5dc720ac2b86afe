"""plano-asgi in Django: the LLM calls of a project, routed by a middleware.

```text
INSTALLED_APPS += ["plano_asgi_django"]
MIDDLEWARE += ["plano_asgi_django.PlanoMiddleware"]
```
"""

from plano_asgi.errors import MissingExtraError

try:
    from plano_asgi_django.middleware import PlanoMiddleware
    from plano_asgi_django.requests import PlanoRequest
except ModuleNotFoundError as error:
    if error.name not in {"django", "asgiref"}:
        raise
    raise MissingExtraError("django", needed_for="plano_asgi_django") from error

from plano_asgi.intake import RoutedCall

__all__ = ["PlanoMiddleware", "PlanoRequest", "RoutedCall"]
