"""What the middleware leaves in a request's state for the app's handlers."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from plano_asgi.decisions import RoutingDecision
from plano_asgi.providers import ModelProvider

STATE_KEY: Final = "plano"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanoState:
    """What was decided about one call.

    Attributes:
        decision: Where the call goes.
        provider: Where the decided model is served, with its key as a secret; None for a model that is not declared.
    """

    decision: RoutingDecision
    provider: ModelProvider | None


class OwnMapping(dict[str, Any]):
    """A copy of a scope or its state, with values that the middleware in front of ours does not see.

    What the app writes into it is written into the original too: middleware in front reads what a handler left in
    `request.state`, and the route that was taken, as it would without ours.
    """

    def __init__(self, original: MutableMapping[str, Any], own: Mapping[str, Any]) -> None:
        """Copy the original and put our own values over it."""
        super().__init__({**original, **own})
        self._original = original

    def __setitem__(self, key: str, value: object) -> None:
        """Write here and in the original."""
        super().__setitem__(key, value)
        self._original[key] = value

    def __delitem__(self, key: str) -> None:
        """Delete here and in the original."""
        super().__delitem__(key)
        self._original.pop(key, None)

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        """Be copied as a plain dict, which is nobody else's."""
        return dict, (dict(self),)

    update = MutableMapping.update  # those of `dict` would go past the methods above
    setdefault = MutableMapping.setdefault
    pop = MutableMapping.pop


class HasScope(Protocol):
    """Anything that carries an ASGI scope, such as Starlette's and FastAPI's `Request`."""

    @property
    def scope(self) -> Mapping[str, Any]: ...  # noqa: D102 - described above


def state_of(request: HasScope) -> PlanoState | None:
    """Return what was decided about a request, or None where it was not routed."""
    state = request.scope.get("state") or {}
    found = state.get(STATE_KEY)
    return found if isinstance(found, PlanoState) else None


def decision(request: HasScope) -> RoutingDecision | None:
    """Return the decision on a request, or None where it was not routed; also a FastAPI dependency."""
    found = state_of(request)
    return found.decision if found else None
