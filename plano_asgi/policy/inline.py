"""What an inline policy may ask for."""

from dataclasses import replace

from plano_asgi.errors import PolicyRefusedError
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.providers import ModelCatalog


def checked_inline(policy: RoutingPolicy, catalog: ModelCatalog, *, allowed: bool) -> RoutingPolicy:
    """Return an inline policy, aliases replaced by their models, that is allowed here and names declared models only.

    Raises:
        PolicyRefusedError: It is not allowed, or names others.
    """
    if not allowed:
        raise PolicyRefusedError(
            "this service does not allow inline routing policies; leave the policy out",
            code="inline_policy_not_allowed",
            param="routing_policy",
        )
    preferences = []
    for number, preference in enumerate(policy.preferences):
        models = tuple(dict.fromkeys(catalog.aliases.get(name, name) for name in preference.models))
        if catalog.undeclared(models):
            raise PolicyRefusedError(
                f"route {number} of the inline policy names a model that this service does not declare; "
                "use a model of its configuration, written provider/model-name, or an alias",
                code="model_not_allowed",
                param="routing_policy",
            )
        preferences.append(replace(preference, models=models))
    return RoutingPolicy(preferences=tuple(preferences))
