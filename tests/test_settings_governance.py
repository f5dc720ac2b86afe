"""Limits, budgets and allow-lists as they are written: what is a fault, where, and what is kept secret."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from plano_asgi.errors import ConfigurationError
from plano_asgi.settings import Settings, load_settings

PROVIDERS = """\
mode: forward
model_providers:
  - {model: openai/small, default: true, access_key: sk-x}
  - {model: openai/large, access_key: sk-x}
routing_preferences: [{name: code, description: writing code, models: [openai/large]}]
"""
LIMIT = "limit: {requests: 1, unit: day}"


def faults(text: str, folder: Path, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the faults of a configuration, as a person reads them."""
    path = folder / "plano.yaml"
    path.write_text(PROVIDERS + text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, environ=environ or {})
    return [str(fault).removeprefix(f"{path}:") for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (f"ratelimits: [{{model: 'mistral/*', {LIMIT}}}]", "ratelimits[0].model", "fits no model"),
        (f"ratelimits: [{{provider: mistral, {LIMIT}}}]", "ratelimits[0].provider", "fits no provider"),
        (f"ratelimits: [{{route: cod, {LIMIT}}}]", "ratelimits[0].route", "fits no route"),
        ("ratelimits: [{limit: {unit: day}}]", "ratelimits[0].limit", "a limit is for one of"),
        ("ratelimits: [{limit: {tokens: 1, requests: 1, unit: day}}]", "ratelimits[0].limit", "a limit is for one of"),
        ("ratelimits: [{limit: {tokens: 0, unit: day}}]", "ratelimits[0].limit.tokens", "expected"),
        ("ratelimits: [{limit: {tokens: 1, unit: year}}]", "ratelimits[0].limit.unit", "second, minute, hour, day"),
        ("ratelimits: [{limit: {tokens: 1}}]", "ratelimits[0].limit.unit", "is required"),
        (f'ratelimits: [{{name: "a b", {LIMIT}}}]', "ratelimits[0].name", "letters, digits"),
        (f"ratelimits: [{{per: [tenant], {LIMIT}}}]", "ratelimits[0].per[0]", "api_key"),
        ("budgets: [{amount: 1, period: day, model: large, status: 500}]", "budgets[0].status", "expected"),
        ("budgets: [{period: day}]", "budgets[0].amount", "is required"),
        ("allow_lists: [{models: [gpt-*]}]", "allow_lists[0].models[0]", "fits no model"),
        ("allow_lists: [{routes: ['c*', 'd*']}]", "allow_lists[0].routes[1]", "fits no route"),
        ("governance: {store: redis}", "governance.store", "set redis.url"),
        (f"ratelimits: [{{selector: {{key: x, value: $NO_KEY}}, {LIMIT}}}]", "selector.value", "NO_KEY is not set"),
    ],
    ids=str,
)
def test_fault_is_told_where_it_is(text: str, where: str, what: str, tmp_path: Path) -> None:
    """One fault, with the line, the path, and what to write instead."""
    (fault,) = faults(text, tmp_path)

    assert fault.startswith("6: ")
    assert where in fault
    assert what in fault


def test_names_are_unique_over_limits_and_budgets(tmp_path: Path) -> None:
    """Callers are told limits and budgets by name, so no two have the same."""
    text = f"ratelimits: [{{name: a, {LIMIT}}}]\nbudgets: [{{name: a, amount: 1, period: day}}]"

    assert faults(text, tmp_path) == [
        f"7: budgets[0].name: is the name of ratelimits[0] ({tmp_path}/plano.yaml:6) too; choose another"
    ]


def test_plano_form_is_read_as_it_is(settings_of: Callable[[str], Settings]) -> None:
    """Plano's own example of a limit means what it means there."""
    written = "ratelimits: [{model: large, selector: {key: x-user, value: u1}, limit: {tokens: 500, unit: hour}}]"
    (limit,) = settings_of(PROVIDERS + written).ratelimits

    assert (limit.model, limit.limit.tokens, limit.limit.unit) == ("large", 500, "hour")
    assert limit.selector
    assert limit.selector.key == "x-user"


def test_values_of_selectors_are_secrets(settings_of: Callable[[str], Settings]) -> None:
    """A selector's value may be a caller's key: no `repr` of the settings shows it."""
    text = "allow_lists: [{selector: {key: authorization, value: Bearer sk-canary}}]\ngovernance: {hash_key: canary-2}"

    assert "canary" not in repr(settings_of(PROVIDERS + text))


def test_every_setting_has_a_variable(tmp_path: Path) -> None:
    """Limits can be written in the environment alone, a tenant's key by reference."""
    path = tmp_path / "plano.yaml"
    path.write_text(PROVIDERS, encoding="utf-8")
    environ = {
        "PLANO_RATELIMITS__0__LIMIT": '{"tokens": 5, "unit": "day"}',
        "PLANO_RATELIMITS__0__SELECTOR": '{"key": "authorization", "value": "$TENANT_KEY"}',
        "PLANO_GOVERNANCE__ON_STORE_FAILURE": "fail_closed",
        "TENANT_KEY": "Bearer sk-tenant",
    }
    loaded = load_settings(path, environ=environ)

    assert loaded.governance.on_store_failure == "fail_closed"
    assert loaded.ratelimits[0].selector
    assert loaded.ratelimits[0].selector.value
    assert loaded.ratelimits[0].selector.value.reveal() == "Bearer sk-tenant"


def test_address_of_redis_may_come_from_a_variable(tmp_path: Path) -> None:
    """`redis.url: $REDIS_URL` is the variable's value."""
    path = tmp_path / "plano.yaml"
    path.write_text(PROVIDERS + "redis: {url: $REDIS_URL}", encoding="utf-8")
    url = load_settings(path, environ={"REDIS_URL": "redis://127.0.0.1:1/0"}).redis.url

    assert url
    assert url.reveal() == "redis://127.0.0.1:1/0"
