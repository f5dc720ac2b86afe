"""plano-asgi in Flask: the LLM calls of an app, routed at the level of WSGI.

```text
app = Flask(__name__)
Plano(app)
```
"""

from plano_asgi.errors import MissingExtraError

try:
    from plano_asgi_flask.endpoints import decision_endpoints
    from plano_asgi_flask.extension import Plano
except ModuleNotFoundError as error:
    if error.name not in {"click", "flask", "werkzeug"}:
        raise
    raise MissingExtraError("flask", needed_for="plano_asgi_flask") from error

from plano_asgi.intake import RoutedCall

__all__ = ["Plano", "RoutedCall", "decision_endpoints"]
