"""What `mode: forward` needs of every model provider, since we call it ourselves: a URL and a key."""

from collections.abc import Mapping
from importlib.util import find_spec

from plano_asgi.providers import Convention, convention_of, model_fault
from plano_asgi.settings.credentials import conventional_key
from plano_asgi.settings.draft import Draft, Keys, dotted


def check_forwarding(draft: Draft, environ: Mapping[str, str]) -> None:
    """Record a fault for each provider that could not be called; in other modes none is."""
    if draft.at("mode") != "forward" or draft.at("enabled") is False:
        return
    for keys, provider in draft.mappings("model_providers"):
        model = provider.get("model")
        if isinstance(model, str) and model_fault(model) is None:
            _check_provider(draft, keys, provider, model, environ)
    if draft.at("forward", "http2") is True and find_spec("h2") is None:
        draft.fault(("forward", "http2"), "needs a package: pip install h2")


def _check_provider(
    draft: Draft, keys: Keys, provider: Mapping[str, object], model: str, environ: Mapping[str, str]
) -> None:
    interface = provider.get("provider_interface")
    spoken = convention_of(model, interface=interface if isinstance(interface, str) else None)
    known = convention_of(model)
    is_elsewhere = provider.get("base_url") is not None
    if not is_elsewhere and (known.base_url is None or spoken.api_format is not known.api_format):
        draft.fault((*keys, "base_url"), "is required where mode is forward: nothing tells where this model is served")
    is_faulty = any(fault.where == dotted((*keys, "access_key")) for fault in draft.faults)
    has_key = provider.get("access_key") is not None or provider.get("passthrough_auth") is True or is_faulty
    if not has_key and _needs_key(known, is_elsewhere=is_elsewhere) and conventional_key(model, environ) is None:
        variables = " or ".join(known.key_variables)
        draft.fault((*keys, "access_key"), f"is required where mode is forward; set {variables}, or write it here")


def _needs_key(known: Convention, *, is_elsewhere: bool) -> bool:
    """Return whether a provider asks for a key: a well-known one does, a server of one's own in its place may not."""
    return bool(known.key_variables) and (known.base_url is None or not is_elsewhere)
