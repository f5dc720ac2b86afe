"""What the middleware leaves in a request's state for the app's handlers."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Self

from starlette.requests import HTTPConnection

from plano_asgi.decisions import RoutingDecision
from plano_asgi.intake import RoutedCall


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanoState(RoutedCall):
    """What was decided about one call, and what a handler needs to serve it.

    Attributes:
        decision: Where the call goes.
        provider: Where the model that the handler reads is served, with its key as a secret; None for a model that is
            not declared.
        is_observed: Whether the handler reads what the client sent, its own model above all, whatever was decided.
    """

    @classmethod
    def of(cls, request: HTTPConnection) -> Self | None:
        """Return the state of a request, or None where it was not routed; also a FastAPI dependency."""
        return cls.in_scope(request.scope)


def decision(request: HTTPConnection) -> RoutingDecision | None:
    """Return the decision on a request, or None where it was not routed; also a FastAPI dependency."""
    found = PlanoState.of(request)
    return found.decision if found else None


class OwnMapping(dict[str, Any]):
    """A copy of a scope or its state, with values of ours that nobody in front of the middleware sees.

    Whatever else the app writes into it is written into the original too: middleware in front reads what a handler
    left in `request.state`, and the route that was taken, as it would without ours. Neither a plain copy nor ours in
    the original would do: the first hides those, the second shows the app's own bytes to whoever tries a call again.
    """

    def __init__(self, original: MutableMapping[str, Any], own: Mapping[str, Any]) -> None:
        """Copy the original and put our own values over it."""
        super().__init__({**original, **own})
        self._original = original
        self._own = frozenset(own)

    def __setitem__(self, key: str, value: object) -> None:
        """Write here and, what is not ours, in the original."""
        super().__setitem__(key, value)
        if key not in self._own:
            self._original[key] = value

    def __delitem__(self, key: str) -> None:
        """Delete here and, what is not ours, in the original."""
        super().__delitem__(key)
        if key not in self._own:
            self._original.pop(key, None)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]  # noqa: ANN401 - as `dict` types it
        """Write all of another mapping."""
        self.update(other)
        return self

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        """Be copied as a plain dict, which is nobody else's."""
        return dict, (dict(self),)

    update = MutableMapping.update  # those of `dict` would go past the methods above
    setdefault = MutableMapping.setdefault
    pop = MutableMapping.pop
    popitem = MutableMapping.popitem
    clear = MutableMapping.clear
