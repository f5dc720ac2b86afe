"""What makes one provider's settings fit together, whatever the mode."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from plano_asgi.providers import convention_of, declared_model_fault, is_wildcard
from plano_asgi.settings.credentials import conventional_variable
from plano_asgi.settings.draft import Draft, Keys

_WRITTEN_KEYS = ("access_key", "aws")


def check_providers(draft: Draft, environ: Mapping[str, str]) -> None:
    """Record what is wrong with a provider by itself, and where its key goes further than one may think."""
    for keys, provider in draft.mappings("model_providers"):
        model = provider.get("model")
        if not isinstance(model, str) or declared_model_fault(model) is not None:
            continue
        if is_wildcard(model):
            _check_wildcard(draft, keys, provider)
        _check_aws(draft, keys, provider, model)
        _warn_of_foreign_server(draft, keys, provider, model, environ)


def _check_wildcard(draft: Draft, keys: Keys, provider: Mapping[str, object]) -> None:
    if provider.get("default") is True:
        draft.fault((*keys, "default"), "any model of a provider is no default; declare the one that is")
    if provider.get("routing_preferences"):
        what = "a route needs a model; declare the one that serves it, or write the route at the top level"
        draft.fault((*keys, "routing_preferences"), what)


def _check_aws(draft: Draft, keys: Keys, provider: Mapping[str, object], model: str) -> None:
    """Record a fault where AWS credentials are given by half, twice, or to whom they say nothing."""
    aws = provider.get("aws")
    given = {name for name, value in aws.items() if value is not None} if isinstance(aws, dict) else set()
    if not given:
        return
    interface = provider.get("provider_interface")
    spoken = convention_of(model, interface=interface if isinstance(interface, str) else None)
    if spoken.signed_for is None:
        draft.fault((*keys, "aws"), "only calls to amazon_bedrock are signed; write access_key instead")
    for name in ("access_key_id", "secret_access_key"):
        if name not in given:
            draft.fault((*keys, "aws", name), "is required where another of aws is given; add it")
    if provider.get("access_key") is not None or provider.get("passthrough_auth") is True:
        draft.fault((*keys, "aws"), "a call has one credential; keep this, access_key, or passthrough_auth")


def _warn_of_foreign_server(
    draft: Draft, keys: Keys, provider: Mapping[str, object], model: str, environ: Mapping[str, str]
) -> None:
    """Record a warning where a key that nobody wrote down goes to a server that is not its provider's."""
    base_url, variable = provider.get("base_url"), conventional_variable(model, environ)
    if not isinstance(base_url, str) or variable is None or provider.get("passthrough_auth") is True:
        return
    if any(provider.get(name) is not None for name in _WRITTEN_KEYS):
        return
    known = urlsplit(convention_of(model).base_url or "").hostname
    if known is not None and "{" not in known and _host_of(base_url) != known:
        what = f"is not {model.partition('/')[0]}'s own server, and is sent the key in {variable}"
        draft.warn((*keys, "base_url"), f"{what}; write access_key: ${variable} if that is meant, or another key")


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
