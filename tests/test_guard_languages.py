"""The languages that users may write in: judged by a real model, in rewrite mode."""

import json
import sys
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from plano_asgi import PlanoMiddleware
from plano_asgi.errors import ConfigurationError, MissingExtraError
from plano_asgi.guard.outside.language_model import LanguageModel, language_model
from plano_asgi.testing import FixedClassifier

CHAT: Final = "/v1/chat/completions"
BASE: Final = """
model_providers: [{model: openai/gpt-4o, default: true}]
routing_preferences: [{name: code, description: writing code, models: [openai/gpt-4o]}]
"""
SAID: Final = {
    "en": "Could you please summarise this contract for me?",
    "de": "Kannst du diesen Vertrag bitte kurz zusammenfassen?",
    "fr": "Peux-tu me résumer ce contrat en quelques phrases ?",
    "es": "¿Podrías resumir este contrato en unas pocas frases, por favor?",
    "it": "Puoi riassumermi questo contratto in poche frasi?",
    "pl": "Czy możesz mi krótko streścić tę umowę?",
    "ru": "Можешь кратко пересказать мне этот договор?",
    "zh": "请帮我用几句话总结一下这份合同。",
    "ja": "この契約書を簡単に要約してもらえますか?",
    "ar": "هل يمكنك تلخيص هذا العقد لي في بضع جمل؟",
}
CODE: Final = "for item in items:\n    print(item.name)  # prints the name of each item that is in the list\n" * 8


async def reading(request: Request) -> Response:
    """Tell what was read."""
    return JSONResponse({"read": (await request.body()).decode()})


APP: Final = Starlette(routes=[Route("/{path:path}", reading, methods=["POST"])])


def user(text: str) -> dict[str, str]:
    """Return what a user says."""
    return {"role": "user", "content": text}


@pytest.fixture
def told(
    behind: Callable[..., PlanoMiddleware], ask: Callable[..., httpx.Response]
) -> Callable[..., tuple[int, list[Any]]]:
    """Return what becomes of a conversation under a guardrail: the status, and what the log says of it."""

    def tell(rule: str, *messages: dict[str, str], path: str = CHAT) -> tuple[int, list[Any]]:
        text = f"{BASE}guardrails: {{calls: [{{filter: languages, {rule}}}]}}\n"
        key = "input" if path.endswith("responses") else "messages"
        with capture_logs() as logs:
            body = {"model": "auto", "max_tokens": 9, key: list(messages)}
            answer = ask(behind(APP, text, FixedClassifier({"code": 0.9})), "POST", path, json=body)
        lines = [line for line in logs if line["event"] == "plano.guardrail"]
        assert not [said for said in SAID.values() if said in str(lines)]
        return answer.status_code, [(line["verdict"], line["found"]) for line in lines]

    return tell


@pytest.mark.parametrize("language", SAID)
def test_languages_are_told_apart(language: str, told: Callable[..., tuple[int, list[Any]]]) -> None:
    """Each language passes where it is allowed and is blocked where it is not, and where it is denied."""
    others = ", ".join(SAID.keys() - {language})

    assert told(f"allow: [{language}]", user(SAID[language])) == (200, [])
    assert told(f"allow: [{others}]", user(SAID[language])) == (403, [("blocked", {language: 1})])
    assert told(f"deny: [{language}]", user(SAID[language])) == (403, [("blocked", {language: 1})])
    assert told(f"deny: [{others}]", user(SAID[language])) == (200, [])


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses"])
def test_users_are_judged_in_every_api(path: str, told: Callable[..., tuple[int, list[Any]]]) -> None:
    """Whatever the API, a user's message counts, earlier ones as well as the latest."""
    talk = [user(SAID["de"]), {"role": "assistant", "content": "Gern."}, user(SAID["en"])]

    assert told("allow: [en]", *talk, path=path)[0] == 403
    assert told("allow: [en, de]", *talk, path=path) == (200, [])


def test_what_users_do_not_say_is_not_judged(told: Callable[..., tuple[int, list[Any]]]) -> None:
    """Instructions, answers and what tools say may be in any language."""
    others = [
        {"role": "system", "content": SAID["de"]},
        {"role": "assistant", "content": SAID["fr"]},
        {"role": "tool", "tool_call_id": "x", "content": SAID["es"]},
    ]

    assert told("allow: [en]", *others, user(SAID["en"])) == (200, [])


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (f"{SAID['de']}\n```python\n{CODE}```", 200),
        (f"{SAID['de']} Es geht um `the quick brown fox jumps over the lazy dog`.", 200),
        (f"{SAID['de']} https://example.org/the/quick/brown/fox/jumps/over/the/lazy/dog", 200),
        (f"{SAID['de']}\n```python\n{CODE}```\n{SAID['en'] * 9}", 403),
        (SAID["de"] * 60 + SAID["en"] * 60, 403),
        (f"{SAID['de']}\n```\nprint(1)\n```\n```\n{SAID['en'] * 9}", 403),
    ],
    ids=["code", "inline code", "address", "mostly another", "another later", "another after an open fence"],
)
def test_mixed_texts(text: str, status: int, told: Callable[..., tuple[int, list[Any]]]) -> None:
    """Code and addresses are not read; what goes on at length in another language is found wherever it stands."""
    assert told("allow: [de]", user(text))[0] == status


@pytest.mark.parametrize("text", ["ok", "SELECT 1;", "Anna Schmidt"])
def test_what_is_too_short_passes_and_is_reported(text: str, told: Callable[..., tuple[int, list[Any]]]) -> None:
    """A text that could be in many languages passes, which the log tells, or blocks where that is set."""
    assert told("allow: [ru]", user(text)) == (200, [("reported", {"unsure": 1})])
    assert told("allow: [ru], unsure: block", user(text)) == (403, [("blocked", {"unsure": 1})])
    assert told("allow: [de], unsure: block", user(text), user(SAID["de"])) == (200, [])


@pytest.mark.parametrize(
    "text", [f"```\n{CODE}```", "https://example.org/", f"`{SAID['en']}`"], ids=["fenced", "address", "inline"]
)
def test_code_alone_is_surely_in_no_language(text: str, told: Callable[..., tuple[int, list[Any]]]) -> None:
    """What is nothing but code or an address passes, which the log tells, or blocks where that is set."""
    assert told("allow: [ru]", user(text)) == (200, [("reported", {"unsure": 1})])
    assert told("allow: [ru], unsure: block", user(text)) == (403, [("blocked", {"unsure": 1})])
    assert told("allow: [de], unsure: block", user(text), user(SAID["de"])) == (200, [])


def test_nothing_said_is_nothing_to_judge(told: Callable[..., tuple[int, list[Any]]]) -> None:
    """A user who shows an image alone is not asked for a language."""
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}

    assert told("allow: [ru], unsure: block", {"role": "user", "content": [image]}) == (200, [])


def test_reporting_changes_nothing(told: Callable[..., tuple[int, list[Any]]]) -> None:
    """With `action: report` the log tells the language, and the call goes on."""
    assert told("deny: [de], action: report", user(SAID["de"])) == (200, [("reported", {"de": 1})])


def test_a_call_that_takes_too_long_is_held_to_its_stance(told: Callable[..., tuple[int, list[Any]]]) -> None:
    """Reading ends at the deadline, and the call is refused unless that is allowed."""
    long = user(SAID["de"] * 20_000)

    assert told("allow: [de], deadline_ms: 1", long)[0] == 503
    assert told("allow: [de], deadline_ms: 1, on_failure: fail_open", long)[0] == 200


def test_a_language_that_is_not_known_is_a_fault(behind: Callable[..., PlanoMiddleware]) -> None:
    """A code that no language has is told at start-up, with its place."""
    text = f"{BASE}guardrails: {{calls: [{{filter: languages, allow: [en, xx]}}]}}\n"
    with pytest.raises(ConfigurationError) as raised:
        behind(APP, text, FixedClassifier({}))

    (fault,) = raised.value.faults
    assert (fault.where, fault.what.startswith("xx:")) == ("guardrails.calls[0].allow", True)


def test_missing_library_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error names what to install."""
    monkeypatch.setitem(sys.modules, "py3langid", None)

    with pytest.raises(MissingExtraError, match=r"plano-asgi\[languages\]"):
        LanguageModel()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_every_text_has_a_language_and_a_sureness(text: str) -> None:
    """Whatever is said, the model has an answer."""
    language, sureness = language_model().identify(json.loads(json.dumps(text)))

    assert language
    assert 0 <= sureness <= 1
