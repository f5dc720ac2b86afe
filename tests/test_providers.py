"""What is known of providers by their names, and which names a service's models go by."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import ConfigurationError
from plano_asgi.providers import (
    CONVENTIONS,
    Convention,
    ModelCatalog,
    ModelProvider,
    ProviderFormat,
    alias_fault,
    convention_of,
    declared_model_fault,
)
from plano_asgi.settings import Settings, load_settings
from plano_asgi.upstream.requests import upstream_request

PAGE = Path(__file__).parents[1] / "docs" / "providers.md"
DEFAULT = "  - {model: openai/gpt-4o-mini, default: true}\n"
WORDS = {
    ProviderFormat.CHAT_COMPLETIONS: "Chat Completions",
    ProviderFormat.MESSAGES: "Messages",
    ProviderFormat.RESPONSES: "Responses",
    ProviderFormat.BEDROCK_CONVERSE: "Converse",
}


def rows() -> Iterator[str]:
    """Yield the table of docs/providers.md as the data has it."""
    for convention in {id(known): known for known in CONVENTIONS.values()}.values():
        names = ", ".join(f"`{name}`" for name, known in CONVENTIONS.items() if known is convention)
        spoken = ", ".join(word for spoken, word in WORDS.items() if spoken in convention.speaks)
        where = f"`{convention.base_url}`" if convention.base_url else "*yours*"
        variables = ", ".join(f"`{name}`" for name in convention.key_variables) or "-"
        sent = f"`{convention.key_header}`" if convention.key_header else "bearer"
        yield f"| {names} | {where} | {spoken} | {variables} | {sent} |"


def test_page_has_the_table_that_the_data_has() -> None:
    """docs/providers.md lists every well-known provider as it is in the data, and no other."""
    text = PAGE.read_text(encoding="utf-8")
    table = re.search(r"^\| provider \|.*?\n\n", text, re.MULTILINE | re.DOTALL)

    assert table
    assert "\n".join(table[0].strip().splitlines()[2:]) == "\n".join(rows())


@pytest.mark.parametrize("known", CONVENTIONS.values(), ids=list(CONVENTIONS))
def test_well_known_provider_can_be_called(known: Convention) -> None:
    """Every entry names an https server or none, an API to ask it in, and a place for that API."""
    url = (known.base_url or "https://x.test").format(region="eu-west-1", project="mine").rstrip("/")

    assert urlsplit(url).scheme == "https"
    assert known.native_format in known.speaks
    for spoken in known.speaks:
        path = known.path_of(spoken, base_url=url, is_stream=False)
        assert path.startswith("/")
        assert not url.endswith("/v1") or not path.startswith("/v1")
    assert all(name == name.upper() for name in known.key_variables)


def test_name_of_a_provider_is_found_in_any_case() -> None:
    """Conventions go by the part before the slash, whatever its case; nobody else's name has any."""
    assert convention_of("OpenAI/gpt-4o") is CONVENTIONS["openai"]
    assert convention_of("mine/llama", interface="Anthropic") is CONVENTIONS["anthropic"]
    assert convention_of("mine/llama").base_url is None


def test_any_model_of_a_provider_is_served_where_it_is() -> None:
    """`provider/*` declares each of its models, and one that is declared itself comes first."""
    exact = ModelProvider(model="openai/gpt-4o", base_url="https://one.test")
    catalog = ModelCatalog(providers=(ModelProvider(model="openai/*", base_url="https://all.test"), exact))

    assert catalog.provider_of("openai/gpt-4o") is exact
    found = catalog.provider_of("openai/gpt-9")
    assert found
    assert (found.model, found.model_name, found.base_url) == ("openai/gpt-9", "gpt-9", "https://all.test")
    assert catalog.models == {"openai/gpt-4o"}
    assert catalog.undeclared(["openai/x", "anthropic/x"]) == ("anthropic/x",)


@pytest.mark.parametrize("name", ["openai/*", "openai/../x", "openai/a b", "*", "gpt-4o", "anthropic/x"])
def test_wildcard_declares_no_pattern_path_or_other_provider(name: str) -> None:
    """Only a well-formed model of that provider is one of its models."""
    assert ModelCatalog(providers=(ModelProvider(model="openai/*"),)).provider_of(name) is None


@given(st.text())
def test_text_that_a_client_sends_never_names_a_path(name: str) -> None:
    """Whatever a client names, the model that is asked for is one path segment's worth of harmless characters."""
    found = ModelCatalog(providers=(ModelProvider(model="openai/*"),)).provider_of(name)

    assert found is None or re.fullmatch(r"openai(/[A-Za-z0-9@][\w.:@+-]*)+", found.model, re.ASCII)


@pytest.mark.parametrize(
    ("name", "is_good"),
    [("openai/*", True), ("openai/gpt", True), ("*", False), ("*/*", False), ("openai/gpt-*", False), ("a/b/*", False)],
)
def test_declared_model_is_one_or_all_of_a_provider(name: str, is_good: bool) -> None:  # noqa: FBT001 - a table's
    """A star stands for all models of a provider, and is no pattern."""
    assert (declared_model_fault(name) is None) is is_good


@pytest.mark.parametrize(
    ("alias", "is_good"),
    [
        *[(alias, True) for alias in ("fast", "arch.fast.v1", "gpt-4o", "openai/gpt-3.5", "a" * 256)],
        *[(alias, False) for alias in ("", "a b", "-x", "a" * 257, "openai/", "../x", "a\n", "é", "openai/*")],
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_alias_is_a_name_that_may_stand_in_a_header(alias: str, is_good: bool) -> None:  # noqa: FBT001 - same
    """An alias is short, harmless text; one with a slash is named like a model."""
    assert (alias_fault(alias) is None) is is_good


def loaded(folder: Path, text: str, **environ: str) -> Settings:
    """Return the settings of a configuration in an environment."""
    (folder / "plano.yaml").write_text(text, encoding="utf-8")
    return load_settings(folder / "plano.yaml", environ=environ)


def faults(settings_of: Callable[[str], Settings], text: str) -> str:
    """Return what is wrong with a configuration."""
    with pytest.raises(ConfigurationError) as caught:
        settings_of(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("aliases", "fault"),
    [
        ("{fast: {target: openai/gpt-5o}}", "model_aliases.fast.target: is neither an alias nor among the models"),
        ("{fast: {target: openai/gpt-4o-mimi}}", "did you mean openai/gpt-4o-mini?"),
        ("{a: {target: b}, b: {target: a}}", "model_aliases.a.target: leads back to its own alias"),
        ("{a: {target: a}}", "model_aliases.a.target: leads back to its own alias"),
        ("{c: {target: a}, a: {target: b}, b: {target: a}}", "model_aliases.c.target: leads to aliases that go in a"),
        ("{openai/gpt-4o-mini: {target: fast}, fast: {target: openai/gpt-4o-mini}}", "is a declared model"),
        ("{fast: {}}", "model_aliases.fast.target: is required"),
        ("{fast: {model: x, target: openai/gpt-4o-mini}}", "model_aliases.fast.model: is not a setting"),
        ("{'a b': {target: openai/gpt-4o-mini}}", "an alias has letters"),
        ("[fast]", "expected a mapping of names to mappings"),
    ],
    ids=["unknown", "near", "circle", "itself", "into a circle", "hides", "empty", "odd key", "odd name", "list"],
)
def test_alias_that_leads_to_no_model_is_a_fault(
    aliases: str, fault: str, settings_of: Callable[[str], Settings]
) -> None:
    """Aliases are followed at start-up, and every one that ends nowhere is named with its path and line."""
    said = faults(settings_of, f"model_providers:\n{DEFAULT}model_aliases: {aliases}\n")

    assert fault in said
    assert "plano.yaml:3" in said


def test_chain_of_aliases_ends_at_its_model(settings_of: Callable[[str], Settings]) -> None:
    """An alias of an alias stands for that one's model, be it declared by itself or as one of a provider's."""
    text = f"model_providers:\n{DEFAULT}  - {{model: groq/*}}\n"
    loaded = settings_of(f"{text}model_aliases: {{a: {{target: b}}, b: {{target: c}}, c: {{target: groq/llama}}}}\n")

    assert loaded.model_aliases == {"a": "groq/llama", "b": "groq/llama", "c": "groq/llama"}
    assert loaded.catalog.qualified("a") == "groq/llama"


def test_route_may_name_aliases(settings_of: Callable[[str], Settings]) -> None:
    """A preference's models are the models that its aliases stand for, each once."""
    loaded = settings_of(
        f"model_providers:\n{DEFAULT}model_aliases: {{fast: {{target: openai/gpt-4o-mini}}}}\n"
        "routing_preferences: [{name: code, description: code, models: [fast, openai/gpt-4o-mini]}]\n"
    )

    assert loaded.policy.named("code").models == ("openai/gpt-4o-mini",)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{model: groq/*, default: true}", "model_providers[0].default: any model of a provider is no default"),
        (
            "{model: groq/*, routing_preferences: [{name: a, description: b}]}",
            "model_providers[0].routing_preferences: a route needs a model",
        ),
        ("{model: '*'}", "model_providers[0].model: a model is written provider/model-name"),
        ("{model: groq/x, access_key: []}", "a list of keys has 1 to 100 of them"),
        ("{model: groq/x, access_key: [{key: a, weight: 0}]}", "weight is a whole number from 1 to 1000"),
        ("{model: groq/x, access_key: [{weight: 2}]}", "an entry of the list is a key, or {key, weight}"),
        ("{model: groq/x, access_key: [$NO_SUCH_KEY_HERE]}", "the environment variable NO_SUCH_KEY_HERE is not set"),
        ("{model: groq/x, aws: {access_key_id: a, secret_access_key: b}}", "only calls to amazon_bedrock are signed"),
        ("{model: amazon/x, aws: {access_key_id: a}}", "aws.secret_access_key: is required where another"),
        ("{model: amazon/x, region: 'a/b'}", "model_providers[0].region: expected 1 to 63 letters"),
    ],
)
def test_faults_of_a_provider(entry: str, fault: str, settings_of: Callable[[str], Settings]) -> None:
    """What a provider cannot be is said at start-up, with its path and no value of a key."""
    assert fault in faults(settings_of, f"model_providers:\n  - {entry}\n{DEFAULT}")


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{model: amazon_bedrock/nova, access_key: k}", "base_url: is required where mode is forward"),
        ("{model: amazon_bedrock/nova, base_url: 'http://x.test'}", "region: is required to sign calls"),
        ("{model: vertex_ai/google/gemini, access_key: k, region: x}", "region and project would do, too"),
        ("{model: zhipu/glm, base_url: 'https://open.bigmodel.cn/v4'}", ""),
        ("{model: vertex_ai/google/gemini, project: p, region: x}", "access_key: is required where mode is forward"),
        ("{model: own/*}", "base_url: is required where mode is forward"),
    ],
)
def test_what_cannot_be_called_is_a_fault_under_forward(
    entry: str, fault: str, settings_of: Callable[[str], Settings]
) -> None:
    """What a call would lack is said at start-up, where we make the calls."""
    text = f"mode: forward\nmodel_providers:\n  - {entry}\n{DEFAULT.replace('default', 'access_key: k, default')}"
    if not fault:
        assert settings_of(text).catalog.providers[0].base_url
        return
    assert fault in faults(settings_of, text)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("model: amazon_bedrock/nova, region: eu-west-1", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        (
            "model: vertex_ai/google/gemini, region: us-east4, project: mine",
            "https://us-east4-aiplatform.googleapis.com/v1/projects/mine/locations/us-east4/endpoints/openapi",
        ),
        (
            "model: vertex/google/gemini, region: global, project: mine",
            "https://aiplatform.googleapis.com/v1/projects/mine/locations/global/endpoints/openapi",
        ),
        ("model: perplexity/sonar", "https://api.perplexity.ai"),
    ],
)
def test_url_of_a_provider_follows_from_region_and_project(
    entry: str, url: str, settings_of: Callable[[str], Settings]
) -> None:
    """A provider whose host depends on region or project needs no URL written out."""
    assert settings_of(f"model_providers:\n  - {{{entry}}}\n{DEFAULT}").catalog.providers[0].base_url == url


@pytest.mark.parametrize(
    ("entry", "is_elsewhere"),
    [
        ("model: openai/a", False),
        ("model: openai/a, base_url: 'https://api.openai.com/v1/'", False),
        ("model: amazon_bedrock/a, region: eu-west-1", False),
        ("model: vertex/a, region: us-east5, project: mine", False),
        ("model: openai/a, base_url: 'http://10.0.0.1:9000/v1'", True),
        ("model: openai/a, base_url: 'https://api.openai.com.evil.test/v1'", True),
        ("model: amazon_bedrock/a, base_url: 'https://bedrock-runtime.a/b.amazonaws.com'", True),
        ("model: own/a, base_url: 'http://10.0.0.1:9000'", True),
        ("model: own/a", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_call_tells_of_routers_where_it_may_come_back(
    entry: str,
    is_elsewhere: bool,  # noqa: FBT001 - a table's
    settings_of: Callable[[str], Settings],
) -> None:
    """The URL that a provider is known by is the provider's; any other may be a router, and is told of those before."""
    provider = settings_of(f"model_providers:\n  - {{{entry}}}\n{DEFAULT}").catalog.providers[0]

    assert provider.is_elsewhere is is_elsewhere
    if provider.base_url:
        request = upstream_request(provider, ApiFormat.CHAT_COMPLETIONS, body=b"{}", client_headers=[])
        assert ("x-plano-hop" in dict(request.headers)) is is_elsewhere


def test_region_comes_from_the_environment_or_the_url(tmp_path: Path) -> None:
    """A region that is written counts first, then the one in an AWS host, then AWS's variable."""
    entries = (
        "{model: amazon/a}",
        "{model: amazon/b, base_url: 'https://bedrock-runtime.us-west-2.amazonaws.com'}",
        "{model: amazon/c, base_url: 'https://bedrock-runtime.us-west-2.amazonaws.com', region: us-east-1}",
        "{model: amazon/d, base_url: 'https://bedrock-runtime.us-west-2.evil.test'}",
    )
    lines = "".join(f"  - {entry}\n" for entry in entries)

    catalog = loaded(tmp_path, f"model_providers:\n{lines}{DEFAULT}", AWS_REGION="eu-north-1").catalog

    regions = [provider.region for provider in catalog.providers[:-1]]
    assert regions == ["eu-north-1", "us-west-2", "us-east-1", "eu-north-1"]


@pytest.mark.parametrize(
    ("entry", "is_warned"),
    [
        ("model: openai/gpt, base_url: 'https://proxy.test/v1'", True),
        ("model: openai/gpt, base_url: 'https://api.openai.com.proxy.test/v1'", True),
        ("model: openai/gpt, base_url: 'https://api.openai.com/v1'", False),
        ("model: openai/gpt, base_url: 'https://proxy.test/v1', access_key: $OPENAI_API_KEY", False),
        ("model: openai/gpt, base_url: 'https://proxy.test/v1', passthrough_auth: true", False),
        ("model: groq/llama, base_url: 'https://proxy.test/v1'", False),
    ],
)
def test_key_that_nobody_wrote_is_not_sent_elsewhere_in_silence(
    entry: str,
    is_warned: bool,  # noqa: FBT001 - a table's
    tmp_path: Path,
) -> None:
    """A conventional variable's key that goes to another server than its provider's is named at start-up."""
    text = f"model_providers:\n  - {{{entry}, default: true}}\n"
    warnings = loaded(tmp_path, text, OPENAI_API_KEY="sk-planted").warnings

    assert bool(warnings) is is_warned
    assert all("OPENAI_API_KEY" in warning and "sk-planted" not in warning for warning in warnings)
