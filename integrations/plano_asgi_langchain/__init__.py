"""LangChain: a chat model that routes, a router for agents, and a decision model.

```python
from plano_asgi_langchain import ChatPlano

llm = ChatPlano.from_config("plano.yaml")
answer = llm.invoke("Write a parser for ISO dates")
answer.response_metadata["plano"]["route"]
```
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from plano_asgi.errors import MissingExtraError

if find_spec("langchain_core") is None:
    raise MissingExtraError("langchain", needed_for="plano_asgi_langchain")

if TYPE_CHECKING:
    from plano_asgi_langchain.agent_middleware import PlanoRouterMiddleware
    from plano_asgi_langchain.chat_model import ChatPlano
    from plano_asgi_langchain.decision_model import PlanoDecisionModel
    from plano_asgi_langchain.routes import Route

__all__ = ["ChatPlano", "PlanoDecisionModel", "PlanoRouterMiddleware", "Route"]

_HOME_OF: Final = {
    "ChatPlano": "chat_model",
    "PlanoDecisionModel": "decision_model",
    "PlanoRouterMiddleware": "agent_middleware",
    "Route": "routes",
}


def __getattr__(name: str) -> object:
    """Return a public name, importing its module when it is first asked for."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
