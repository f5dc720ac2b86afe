"""Configurations of guardrails: what is a fault, what a warning, and what neither is told."""

from collections.abc import Callable

import pytest

from plano_asgi.assembly import build_router, build_service
from plano_asgi.errors import ConfigurationError
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

BASE = """
model_providers: [{model: openai/gpt-4o, default: true, access_key: sk-x}]
routing_preferences: [{name: code, description: writing code, models: [openai/gpt-4o]}]
"""
OUTSIDE = "filters: [{id: mine, url: 'http://localhost:9'}]\n"

FAULTS = {
    "unknown filter": ("guardrails: {calls: [{filter: pi}]}", "calls[0].filter", "known are pii, presidio, injection"),
    "option of another": ("guardrails: {calls: [{filter: size, kinds: [ip], messages: 1}]}", ".kinds", "characters"),
    "nothing to judge by": ("guardrails: {calls: [{filter: patterns}]}", "calls[0].filter", "needs deny or allow"),
    "masking patterns": ("guardrails: {calls: [{filter: patterns, deny: [a], action: mask}]}", "action", "only pii"),
    "no languages": ("guardrails: {calls: [{filter: languages}]}", "calls[0].filter", "needs allow or deny"),
    "name of a language": ("guardrails: {calls: [{filter: languages, allow: [German]}]}", "allow[0]", "en, de, pt"),
    "allowed and denied": ("guardrails: {calls: [{filter: languages, allow: [en], deny: [de]}]}", "deny", "one of the"),
    "languages in answers": (
        "mode: forward\nguardrails: {answers: [{filter: languages, allow: [en]}]}",
        "answers[0]",
        "calls",
    ),
    "presidio in answers": ("mode: forward\nguardrails: {answers: [{filter: presidio}]}", "answers[0]", "calls"),
    "no entity": ("guardrails: {calls: [{filter: presidio, entities: [person]}]}", "entities[0]", "PERSON"),
    "model of no language": (
        "guardrails: {calls: [{filter: presidio, models: {de: de_core_news_sm}}]}",
        "models.de",
        "not among languages",
    ),
    "unknown kind": ("guardrails: {calls: [{filter: pii, kinds: [name]}]}", "kinds[0]", "expected one of email"),
    "injection in answers": ("mode: forward\nguardrails: {answers: [{filter: injection}]}", "answers[0]", "calls"),
    "restoring answers": ("mode: forward\nguardrails: {answers: [{filter: pii, restore: true}]}", "restore", "calls"),
    "outside without hold": (
        f"mode: forward\n{OUTSIDE}guardrails: {{answers: [{{filter: mine}}]}}",
        "answers[0]",
        "hold",
    ),
    "no url": ("filters: [{id: mine}]", "filters[0].url", "required"),
    "taken id": ("filters: [{id: pii, url: 'http://localhost:9'}]", "filters[0].id", "of this package"),
    "twice": (OUTSIDE.replace("]", ", {id: mine, url: 'http://localhost:8'}]"), "filters[1].id", "keep one"),
    "no entry point": ("filters: [{id: mine, type: python}]", "filters[0].id", "plano_asgi.filters"),
    "of a route": ("guardrails: {routes: {code: {calls: [{filter: nobody}]}}}", "routes.code.calls[0]", "no such"),
}


@pytest.mark.parametrize(("text", "where", "what"), FAULTS.values(), ids=FAULTS)
def test_faults_say_where_and_what_to_do(
    settings_of: Callable[[str], Settings], text: str, where: str, what: str
) -> None:
    """A guardrail that would not do what it seems to is a fault, with its path."""
    with pytest.raises(ConfigurationError) as raised:
        settings_of(BASE + text)

    (fault,) = raised.value.faults
    assert where in fault.where
    assert what in fault.what


WARNINGS = {
    "observe": ("mode: observe\nguardrails: {calls: [{filter: pii}]}", "no guardrail acts"),
    "answers": ("guardrails: {answers: [{filter: pii}]}", "mode forward"),
    "route": ("guardrails: {routes: {poems: {calls: [{filter: pii}]}}}", "no configured preference"),
}


@pytest.mark.parametrize(("text", "what"), WARNINGS.values(), ids=WARNINGS)
def test_what_cannot_act_is_told_at_start_up(settings_of: Callable[[str], Settings], text: str, what: str) -> None:
    """A guardrail that stands where nothing meets it is accepted, with a warning."""
    (warning,) = settings_of(BASE + text).warnings

    assert what in warning


@pytest.mark.parametrize("pattern", ["(a+)+b", "x*", "a.*b.*c.*d", "(a|b", "(?:a|aa|aaa){1,9}"])
def test_a_pattern_that_could_take_too_long_is_refused(
    settings_of: Callable[[str], Settings], make_service: Callable[[Settings], object], pattern: str
) -> None:
    """It is a fault at start-up, which names its place and does not repeat it."""
    settings = settings_of(f"{BASE}guardrails: {{calls: [{{filter: patterns, deny: [fine, '{pattern}']}}]}}")

    with pytest.raises(ConfigurationError) as raised:
        make_service(settings)
    (fault,) = raised.value.faults
    assert fault.where == "guardrails.calls[0].deny[1]"
    assert pattern not in str(raised.value)


@pytest.fixture
def make_service() -> Callable[[Settings], object]:
    """Return what makes the service of settings."""
    return lambda settings: build_service(
        settings, router=build_router(settings, classifier=FixedClassifier({"code": 0.9}))
    )
