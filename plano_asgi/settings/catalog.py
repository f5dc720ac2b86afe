"""Written providers and aliases to the catalog that they declare."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from plano_asgi.providers import (
    AwsCredentials,
    Capabilities,
    ChatOverhead,
    Convention,
    ModelCatalog,
    ModelProvider,
    WeightedKey,
    convention_of,
)
from plano_asgi.settings.credentials import conventional_key
from plano_asgi.settings.providers_schema import AliasSettings, AwsSettings, Provider

_AWS_HOST: Final = ("bedrock-runtime", "bedrock-runtime-fips")


def catalog_from(
    providers: Sequence[Provider], aliases: Mapping[str, AliasSettings], environ: Mapping[str, str]
) -> ModelCatalog:
    """Return the declared model providers, in their order, with their keys, and every alias with its model."""
    targets = {alias: written.target for alias, written in aliases.items()}
    return ModelCatalog(
        providers=tuple(_provider(written, environ) for written in providers),
        aliases={alias: last_target(alias, targets) for alias in targets},
    )


def last_target(alias: str, targets: Mapping[str, str]) -> str:
    """Return what an alias stands for in the end; aliases that lead in a circle end at the one before the first."""
    return list(targets_of(alias, targets))[-1]


def targets_of(alias: str, targets: Mapping[str, str]) -> Iterator[str]:
    """Yield each target on the way from an alias to its model, up to the first that comes again."""
    met: set[str] = set()
    while alias in targets and alias not in met:
        met.add(alias)
        alias = targets[alias]
        yield alias


def conventional_url(
    known: Convention, *, region: str | None, project: str | None, environ: Mapping[str, str]
) -> str | None:
    """Return the URL that a provider is known by; None where it has none, or nothing tells a part of it."""
    region = region or _first(known.region_variables, environ)
    project = project or _first(known.project_variables, environ)
    url = known.base_url or ""
    if not url or ("{region}" in url and not region) or ("{project}" in url and not project):
        return None
    whole = url.format(region=region, project=project)
    return whole.replace("https://global-", "https://")  # Google's own region of that name has no host of its own


def _provider(written: Provider, environ: Mapping[str, str]) -> ModelProvider:
    """Return one provider, conventional where it is not written out; a key that is passed through is not looked up."""
    spoken = convention_of(written.model, interface=written.provider_interface)
    base_url = written.base_url or _known_url(written, environ)
    keys: tuple[WeightedKey, ...] = tuple(written.access_key or ())
    aws = _aws(written.aws)
    if not keys and not written.passthrough_auth and not aws:
        found = conventional_key(written.model, environ)
        keys = (WeightedKey(key=found),) if found else ()
    return ModelProvider(
        model=written.model,
        name=written.name or written.model,
        base_url=base_url,
        access_key=keys[0].key if keys else None,
        access_keys=keys if len(keys) > 1 else (),
        is_default=written.default,
        interface=written.provider_interface,
        http_host=written.http_host,
        headers=tuple(written.headers.items()),
        is_auth_passed_through=written.passthrough_auth,
        capabilities=Capabilities(**written.capabilities.model_dump()),
        region=written.region or region_of_host(base_url) or _first(spoken.region_variables, environ),
        aws=aws,
        tokenizer=written.tokenizer,
        chat_overhead=ChatOverhead(**written.chat_overhead.model_dump()),
    )


def _known_url(written: Provider, environ: Mapping[str, str]) -> str | None:
    """Return the URL that the provider is known by; None where the API it is declared with is not served there."""
    known = convention_of(written.model)
    spoken = convention_of(written.model, interface=written.provider_interface)
    if spoken.native_format is not known.native_format:
        return None
    return conventional_url(known, region=written.region, project=written.project, environ=environ)


def region_of_host(base_url: str | None) -> str | None:
    """Return the region in the host of one of AWS's own URLs, None in any other."""
    host = urlsplit(base_url or "").hostname or ""
    service, _, rest = host.partition(".")
    is_own = service in _AWS_HOST and rest.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    return rest.partition(".")[0] if is_own else None


def _aws(written: AwsSettings) -> AwsCredentials | None:
    if written.access_key_id is None or written.secret_access_key is None:
        return None
    return AwsCredentials(
        access_key_id=written.access_key_id,
        secret_access_key=written.secret_access_key,
        session_token=written.session_token,
    )


def _first(variables: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return the first of the variables that is set."""
    return next((text for name in variables if (text := environ.get(name, "").strip())), None)
