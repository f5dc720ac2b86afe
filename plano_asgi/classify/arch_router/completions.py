"""What the model may answer, as text: one completion for each route, and one for none of them."""

import json
from enum import StrEnum

from plano_asgi.preferences import NO_ROUTE_NAME, RoutingPolicy


class Quoting(StrEnum):
    """Which quotes the model was trained to write; `plano-asgi export --probe` shows it."""

    DOUBLE = "double"
    SINGLE = "single"

    def completion(self, name: str) -> str:
        """Return the answer that names a route, as JSON or as Python writes it."""
        if self is Quoting.DOUBLE:
            return json.dumps({"route": name}, ensure_ascii=False)
        return repr({"route": name})


def completions(policy: RoutingPolicy, quoting: Quoting) -> tuple[str, ...]:
    """Return the answers for the policy's routes, in their order, and last the one for none of them."""
    names = [*(preference.name for preference in policy.preferences), NO_ROUTE_NAME]
    return tuple(quoting.completion(name) for name in names)
