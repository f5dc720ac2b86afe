"""What a classifier reads of a call: counted and shown to whoever makes the call, who sees own words alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from plano_asgi import LLMCall, Message, Role
from plano_asgi.assembly import build_router
from plano_asgi.classify.arch_router import ArchRouterClassifier
from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.classify.embedded.texts import conversation_texts
from plano_asgi.classify.embedded.tokens import conversation_tokens, open_tokenizer
from plano_asgi.classify.readings import Reading
from plano_asgi.intake import Headers
from plano_asgi.intake.inbound_calls import InboundCalls
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

OPERATORS: Final = "known to the operator alone"
ROUTES: Final = f"""\
model_providers:
  - {{model: openai/gpt-4o-mini, default: true}}
  - model: openai/gpt-4o
    routing_preferences: [{{name: code, description: {OPERATORS}}}]
"""
NOWHERE: Final = "base_url: 'http://127.0.0.1:9/v1'"
POLICY: Final = RoutingPolicy(
    preferences=(RoutingPreference(name="code", description=OPERATORS, models=("openai/gpt-4o",)),)
)
CALLS: Final[Mapping[str, Mapping[str, Any]]] = {
    "chat/completions": {"messages": [{"role": "user", "content": "Write a list"}]},
    "messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "Write a list"}]},
    "responses": {"input": "Write a list"},
}
ASKING: Final = {"x-plano-explain": "true"}

App = Callable[..., Starlette]
Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def embedded() -> EmbeddedClassifier:
    """Return the shipped classifier."""
    return EmbeddedClassifier()


@pytest.fixture
def arch_router(tiny_bundle: Path) -> ArchRouterClassifier:
    """Return an Arch-Router of random weights."""
    return ArchRouterClassifier(tiny_bundle)


def said(*texts: str) -> tuple[Message, ...]:
    """Return what user and assistant said in turn, the user first."""
    roles = (Role.USER, Role.ASSISTANT)
    return tuple(Message(role=roles[at % 2], text=text) for at, text in enumerate(texts))


def shown(reading: Reading, name: str) -> str:
    """Return the pieces of a part as one text."""
    (part,) = (part for part in reading.parts if part.name == name)
    return "".join(piece if piece is not None else "<gap>" for piece in part.pieces)


def test_experiments_classifier_tells_what_it_reads(app_of: App, ask: Ask) -> None:
    """A caller whose session has an experiment is shown what that one's classifier reads, which is what decides."""
    app = app_of(f"{ROUTES}experiments: [{{name: all, share: 1.0, classifier: {{kind: remote, {NOWHERE}}}}}]")

    told = ask(app, "POST", "/routing/v1/chat/completions", json=CALLS["chat/completions"], headers=ASKING).json()

    assert [reading["classifier"] for reading in told["read"]] == [told["classifier"]] == ["remote"]


@pytest.mark.parametrize("path", CALLS, ids=["chat", "messages", "responses"])
def test_caller_who_asks_is_shown_what_was_read(path: str, app_of: App, ask: Ask) -> None:
    """With `x-plano-explain: true` a decision has the tokens that were read of the call; without, nothing of that."""
    app = app_of(ROUTES)

    plain = ask(app, "POST", f"/routing/v1/{path}", json=CALLS[path]).json()
    explained = ask(app, "POST", f"/routing/v1/{path}", json=CALLS[path], headers=ASKING).json()

    assert "read" not in plain
    assert explained["read"] == [
        {
            "classifier": "embedded",
            "tokens": 5,
            "limit": 128,
            "is_estimate": False,
            "parts": [{"name": "latest", "tokens": 5, "limit": 128, "pieces": ["Write", " a", " list"]}],
        }
    ]
    assert {key: explained[key] for key in ("route", "scores")} == {key: plain[key] for key in ("route", "scores")}


@pytest.mark.parametrize(
    ("classifier", "kinds"),
    [
        (f"{{kind: remote, {NOWHERE}}}", ["remote"]),
        (f"{{kind: cascade, {NOWHERE}}}", ["embedded", "remote"]),
    ],
    ids=["remote", "cascade"],
)
def test_nobody_is_shown_what_others_have_written(
    classifier: str, kinds: list[str], settings_of: Callable[[str], Settings]
) -> None:
    """A prompt's routes, which are the operator's words, are counted and not shown; the caller's own words are."""
    router = build_router(settings_of(f"{ROUTES}classifier: {classifier}\n"))

    readings = router.readings(LLMCall.from_text("Write a list"))

    assert [reading.classifier for reading in readings] == kinds
    assert (readings[-1].is_estimate, readings[-1].limit) == (True, 2_048)
    assert shown(readings[-1], "conversation") == '[{"role":"user","content":"Write a list"}]'
    assert readings[-1].tokens == sum(part.tokens for part in readings[-1].parts) > 200
    assert not any(OPERATORS in piece for part in readings[-1].parts for piece in part.pieces if piece)
    assert "Write" not in repr(readings)


def test_arch_router_counts_all_that_its_model_reads(arch_router: ArchRouterClassifier) -> None:
    """Both parts of a prompt together are the tokens that the model is given, and the caller's are shown."""
    (reading,) = arch_router.readings(said("Grüße, 日本語 \U0001f680!"), POLICY)

    given_to_model = arch_router._loaded().reader.prompt(said("Grüße, 日本語 \U0001f680!"), POLICY)  # noqa: SLF001 - what is counted
    assert reading.tokens == len(given_to_model)
    assert (reading.limit, [part.name for part in reading.parts]) == (2_048, ["routes", "conversation"])
    assert shown(reading, "conversation") == '[{"role":"user","content":"Grüße, 日本語 \U0001f680!"}]'
    assert reading.parts[0].pieces == ()


def test_what_is_left_out_is_a_gap(embedded: EmbeddedClassifier) -> None:
    """Of a turn that is too long its ends are shown, of what was said before its end, and what lacks is a gap."""
    (reading,) = embedded.readings(said("first " * 90, "so " * 99, "one two " * 200), POLICY)

    latest, before = reading.parts
    assert (latest.tokens, latest.limit, reading.limit) == (128, 128, 224)
    assert latest.pieces.count(None) == 1
    assert shown(reading, "latest").startswith("one two one")
    assert shown(reading, "latest").endswith("one two")
    assert before.tokens <= 96
    assert shown(reading, "before").endswith(" so")


@given(
    conversation=st.lists(
        st.builds(
            Message,
            role=st.sampled_from([Role.USER, Role.ASSISTANT, Role.SYSTEM]),
            text=st.text(max_size=300) | st.text(alphabet="aé日\u0301\u200d \n\ud800\U0001f680", max_size=80),
        ),
        max_size=6,
    ).map(tuple)
)
def test_tokens_shown_are_those_that_the_encoder_is_given(
    conversation: tuple[Message, ...], embedded: EmbeddedClassifier
) -> None:
    """Whatever is said, the tokens counted are those of the encoder's input, and the pieces are the text itself."""
    readings = embedded.readings(conversation, POLICY)

    texts = conversation_texts(conversation)
    if texts is None:
        assert readings == ()
        return
    (reading,) = readings
    assert reading.tokens == len(conversation_tokens(TOKENIZER, texts).ids)
    for part, text in zip(reading.parts, (texts.latest, texts.before), strict=False):
        if None not in part.pieces:
            whole = text.encode("utf-8", "replace").decode()
            assert whole.startswith("".join(piece for piece in part.pieces if piece is not None))


TOKENIZER: Final = open_tokenizer(SHIPPED_FOLDER / "tokenizer.json")


@pytest.mark.parametrize(
    ("call", "more"),
    [
        ({"messages": [{"role": "system", "content": "Be brief."}]}, ""),
        ({"messages": [{"role": "user", "content": "hi"}], "model": "mine"}, "routing: {applies_to: [auto]}\n"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "enabled: false\n"),
    ],
    ids=["nobody asked", "not routed", "switched off"],
)
def test_what_is_not_classified_is_not_read(call: Mapping[str, Any], more: str, app_of: App, ask: Ask) -> None:
    """A call that no classifier is asked about has no reading."""
    answer = ask(app_of(ROUTES + more), "POST", "/routing/v1/chat/completions", json=call, headers=ASKING)

    assert (answer.status_code, answer.json()["read"]) == (200, [])


def test_classifier_that_cannot_say_is_no_fault(app_of: App, ask: Ask) -> None:
    """A classifier that does not tell what it reads decides all the same, and its call has no reading."""
    app = app_of(ROUTES, FixedClassifier({"code": 0.9}))

    answer = ask(app, "POST", "/routing/v1/chat/completions", json=CALLS["chat/completions"], headers=ASKING)

    assert (answer.json()["route"], answer.json()["read"]) == ("code", [])


def test_what_was_masked_is_shown_masked(app_of: App, ask: Ask) -> None:
    """Behind a guardrail, the reading is of the call as it may pass."""
    app = app_of(ROUTES + "guardrails: {calls: [{filter: pii}]}\n")
    call = {"messages": [{"role": "user", "content": "Write to ada@example.org"}]}

    answer = ask(app, "POST", "/routing/v1/chat/completions", json=call, headers=ASKING)

    assert "ada@example.org" not in answer.text
    assert answer.json()["read"][0]["parts"][0]["pieces"][:2] == ["Write", " to"]


def test_adapters_show_the_same(settings_of: Callable[[str], Settings]) -> None:
    """What Django's and Flask's adapters answer has the reading, too."""
    settings = settings_of(ROUTES)
    router = build_router(settings)
    calls = InboundCalls(settings=settings, router=router, body_bytes=1_000)
    body = b'{"messages": [{"role": "user", "content": "Write a list"}]}'
    raw = {"content-type": "application/json", "content-length": str(len(body)), **ASKING}
    headers = Headers.from_raw([(name.encode(), value.encode()) for name, value in raw.items()])

    answer = calls.decided(LLMCall.from_text("").api_format, "POST", headers, body)
    router.close()

    assert b'"pieces":["Write"," a"," list"]' in answer.body
