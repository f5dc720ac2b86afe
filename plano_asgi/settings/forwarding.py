"""What `mode: forward` needs of every model provider, since we call it ourselves: a URL and a key."""

from collections.abc import Mapping
from importlib.util import find_spec

from plano_asgi.providers import Convention, convention_of, declared_model_fault
from plano_asgi.settings.catalog import conventional_url, region_of_host
from plano_asgi.settings.credentials import conventional_key
from plano_asgi.settings.draft import Draft, Keys, dotted


def check_forwarding(draft: Draft, environ: Mapping[str, str]) -> None:
    """Record a fault for each provider that could not be called; in other modes none is."""
    if draft.at("mode") != "forward" or draft.at("enabled") is False:
        return
    for keys, provider in draft.mappings("model_providers"):
        model = provider.get("model")
        if isinstance(model, str) and declared_model_fault(model) is None:
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
    region, project = _text(provider, "region"), _text(provider, "project")
    known_url = conventional_url(known, region=region, project=project, environ=environ)
    if not is_elsewhere and (known_url is None or spoken.native_format is not known.native_format):
        draft.fault((*keys, "base_url"), _no_url(known))
    is_faulty = any(fault.where == dotted((*keys, "access_key")) for fault in draft.faults)
    has_key = provider.get("access_key") is not None or provider.get("passthrough_auth") is True or is_faulty
    is_signed = isinstance(provider.get("aws"), dict) and spoken.signed_for is not None
    if has_key or (conventional_key(model, environ) is not None and not is_signed):
        return
    if spoken.signed_for:
        _check_signing(draft, keys, region or region_of_host(_text(provider, "base_url")), spoken, environ)
    elif _needs_key(known, is_elsewhere=is_elsewhere):
        named = f"set {' or '.join(known.key_variables)}, or write it here" if known.key_variables else "write it here"
        draft.fault((*keys, "access_key"), f"is required where mode is forward; {named}")


def _check_signing(
    draft: Draft, keys: Keys, region: str | None, spoken: Convention, environ: Mapping[str, str]
) -> None:
    """Record a fault where calls have to be signed with AWS credentials, and cannot be."""
    if find_spec("botocore") is None:
        named = " or ".join(spoken.key_variables)
        what = "is required where mode is forward, or AWS credentials and pip install 'plano-asgi[bedrock]'"
        draft.fault((*keys, "access_key"), f"{what}; set {named}, or write it here")
    if region is None and not any(environ.get(name, "").strip() for name in spoken.region_variables):
        draft.fault((*keys, "region"), f"is required to sign calls; set {spoken.region_variables[0]}, or write it here")


def _no_url(known: Convention) -> str:
    what = "is required where mode is forward: nothing tells where this model is served"
    parts = [part for part in ("region", "project") if f"{{{part}}}" in (known.base_url or "")]
    return f"{what}; {' and '.join(parts)} would do, too" if parts else what


def _text(provider: Mapping[str, object], name: str) -> str | None:
    value = provider.get(name)
    return value if isinstance(value, str) else None


def _needs_key(known: Convention, *, is_elsewhere: bool) -> bool:
    """Return whether a provider asks for a key: a well-known one does, a server of one's own in its place may not."""
    return known.needs_key and (known.base_url is None or not is_elsewhere)
