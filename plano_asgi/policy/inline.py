"""What an inline policy may ask for."""

from plano_asgi.errors import PolicyRefusedError
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.providers import ModelCatalog


def check_inline(policy: RoutingPolicy, catalog: ModelCatalog, *, allowed: bool) -> None:
    """Guarantee that an inline policy is allowed here and chooses among declared models only.

    Raises:
        PolicyRefusedError: It is not, or does not.
    """
    if not allowed:
        raise PolicyRefusedError(
            "this service does not allow inline routing policies; leave the policy out",
            code="inline_policy_not_allowed",
            param="routing_policy",
        )
    for number, preference in enumerate(policy.preferences):
        if catalog.undeclared(preference.models):
            raise PolicyRefusedError(
                f"route {number} of the inline policy names a model that this service does not declare; "
                "use a model of its configuration",
                code="model_not_allowed",
                param="routing_policy",
            )
