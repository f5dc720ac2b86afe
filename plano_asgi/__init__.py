"""The LLM router that lives inside the web service you already have.

```python
import plano_asgi

router = plano_asgi.load_router("plano.yaml")
decision = router.route(plano_asgi.LLMCall.from_text("Write a SQL query for last week's orders"))
print(decision.route, decision.would_use, decision.confidence)
```
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from plano_asgi.assembly import build_router, load_router
    from plano_asgi.classify import Classifier
    from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
    from plano_asgi.decisions import PolicySource, Reason, RoutingDecision, Scores, Source
    from plano_asgi.errors import ArtifactError, CallError, ConfigurationError, MissingExtraError, PlanoError
    from plano_asgi.http import PlanoMiddleware, PlanoState, decision
    from plano_asgi.outbound import transport, wrap_client
    from plano_asgi.preferences import RoutingPolicy, RoutingPreference
    from plano_asgi.router import Router
    from plano_asgi.settings import Settings, load_settings

__all__ = [
    "ApiFormat",
    "ArtifactError",
    "CallError",
    "Classifier",
    "ConfigurationError",
    "LLMCall",
    "Message",
    "MissingExtraError",
    "PlanoError",
    "PlanoMiddleware",
    "PlanoState",
    "PolicySource",
    "Reason",
    "Role",
    "Router",
    "RoutingDecision",
    "RoutingPolicy",
    "RoutingPreference",
    "Scores",
    "Settings",
    "Source",
    "build_router",
    "decision",
    "load_router",
    "load_settings",
    "transport",
    "wrap_client",
]

_HOMES: Final = {
    "assembly": ("build_router", "load_router"),
    "classify": ("Classifier",),
    "conversation": ("ApiFormat", "LLMCall", "Message", "Role"),
    "decisions": ("PolicySource", "Reason", "RoutingDecision", "Scores", "Source"),
    "errors": ("ArtifactError", "CallError", "ConfigurationError", "MissingExtraError", "PlanoError"),
    "http": ("PlanoMiddleware", "PlanoState", "decision"),
    "outbound": ("transport", "wrap_client"),
    "preferences": ("RoutingPolicy", "RoutingPreference"),
    "router": ("Router",),
    "settings": ("Settings", "load_settings"),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Return a public name, importing its room when it is first asked for."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
