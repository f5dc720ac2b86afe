"""What every adapter promises, tried on each framework and each way to host it."""

import gzip
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from plano_asgi.testing import failing, routed_by

if TYPE_CHECKING:
    from tests.contract.conftest import Host, Kit

CHAT: Final = "/v1/chat/completions"
RULE: Final = {"prove": "deep thought", "parser": "code"}
Body = Callable[..., bytes]


def test_matched_call_reads_its_routes_model_and_nothing_else_is_changed(host: "Host", body_of: Body) -> None:
    """The handler reads the decided model by its provider's own name; every other byte is the client's."""
    body = body_of("prove it", seed=12345678901234567890, x=[1.0, {"model": "inner"}])

    with routed_by(RULE):
        seen = host.send(CHAT, body)

    assert seen.told
    assert seen.told["body"] == body.decode().replace('"gpt-4"', '"gpt-4o"', 1)


def test_handler_reads_the_length_of_what_it_reads(host: "Host", body_of: Body) -> None:
    """`content-length` is that of the body after the model in it has another name."""
    with routed_by(RULE):
        seen = host.send(CHAT, body_of("prove it"))

    assert seen.told
    assert seen.told["headers"]["content-length"] == str(len(seen.told["body"]))


def test_messages_call_is_routed_too(host: "Host", body_of: Body) -> None:
    """A Messages call reads a model that speaks Messages."""
    with routed_by(RULE):
        seen = host.send("/prefix/v1/messages", body_of("a parser", max_tokens=5))

    assert seen.told
    assert json.loads(seen.told["body"])["model"] == "claude-sonnet-4-20250514"


def test_unmatched_call_reads_the_default_model(host: "Host", body_of: Body) -> None:
    """A call that no route matches goes to the default model, and says so."""
    with routed_by(RULE):
        seen = host.send(CHAT, body_of("good morning"))

    assert seen.told
    assert json.loads(seen.told["body"])["model"] == "gpt-4o-mini"
    assert (seen.told["route"], seen.told["reason"]) == (None, "no_match")


def test_handler_knows_the_decision_and_who_serves_it(host: "Host", body_of: Body) -> None:
    """The handler is given the decision, and the provider of the model that it reads."""
    with routed_by(RULE):
        seen = host.send(CHAT, body_of("prove it"))

    assert seen.told
    assert (seen.told["route"], seen.told["reason"]) == ("deep thought", "matched")
    assert seen.told["provider"] == "openai/gpt-4o"


def test_answer_tells_of_the_decision(host: "Host", body_of: Body) -> None:
    """The answer's headers name model, route, confidence and reason."""
    with routed_by(RULE):
        told = host.send(CHAT, body_of("prove it")).headers

    assert (told["x-plano-model"], told["x-plano-route"]) == ("openai/gpt-4o", "deep%20thought")
    assert (told["x-plano-confidence"], told["x-plano-reason"]) == ("1.0000", "matched")


def test_inline_policy_decides_and_is_cut(host: "Host", body_of: Body) -> None:
    """A call's own policy decides that one call, and the handler never sees it."""
    policy = [{"name": "mine", "description": "all", "models": ["openai/gpt-4o"]}]

    with routed_by({"hello": "mine"}):
        seen = host.send(CHAT, body_of("hello", routing_preferences=policy))

    assert seen.told
    assert json.loads(seen.told["body"]) == {**json.loads(body_of("hello")), "model": "gpt-4o"}


def test_inline_policy_with_an_undeclared_model_is_refused(host: "Host", body_of: Body) -> None:
    """A policy that asks for a model of nobody's is a 403, and no handler sees the call."""
    policy = [{"name": "mine", "description": "all", "models": ["openai/secret"]}]

    with routed_by(RULE):
        seen = host.send(CHAT, body_of("hello", routing_preferences=policy))

    assert (seen.status, seen.told) == (403, None)


def test_refusal_has_the_shape_of_the_callers_api(host: "Host", body_of: Body) -> None:
    """What is refused is answered as the caller's API answers errors."""
    policy = [{"name": "mine", "description": "all", "models": ["openai/secret"]}]

    seen = host.send(CHAT, body_of("hello", routing_preferences=policy))

    assert seen.error
    assert seen.error["error"].keys() == {"message", "type", "param", "code"}


def test_bypassed_call_keeps_its_model(host: "Host", body_of: Body) -> None:
    """`x-plano-routing: off` leaves the model as the client wrote it."""
    with routed_by(RULE):
        seen = host.send(CHAT, body_of("prove it"), {"x-plano-routing": "off"})

    assert seen.told
    assert json.loads(seen.told["body"])["model"] == "gpt-4"
    assert seen.told["reason"] == "bypassed"


@pytest.mark.parametrize(
    ("thought", "provider"),
    [
        ({"type": "thinking", "thinking": "hm", "signature": "c2ln"}, "anthropic/claude-sonnet-4-20250514"),
        ({"type": "redacted_thinking", "data": "c2ln"}, "anthropic/claude-sonnet-4-20250514"),
        ({"type": "text", "text": "hm"}, "vercel/kimi-k2"),
    ],
    ids=["signed", "sealed", "neither"],
)
def test_signed_thoughts_keep_their_conversation(
    thought: Mapping[str, str], provider: str, host: "Host", body_of: Body
) -> None:
    """What is said next goes to who has signed the thoughts in the messages, by the real model, whatever its topic."""
    begun = {"role": "user", "content": f"Write a Python function that parses {thought['type']} blocks"}
    answered = {"role": "assistant", "content": [thought, {"type": "text", "text": "def parse(): ..."}]}
    next_said = {"role": "user", "content": "Good morning! How are you today?"}

    first, second = (
        host.send("/v1/messages", body_of("", messages=messages, max_tokens=5))
        for messages in ([begun], [begun, answered, next_said])
    )

    assert first.told
    assert second.told
    assert (first.told["route"], second.told["provider"]) == ("code", provider)


def test_broken_classifier_costs_no_call(host: "Host", body_of: Body) -> None:
    """A call that cannot be classified is served by the default model."""
    with routed_by(failing):
        seen = host.send(CHAT, body_of("prove it"))

    assert seen.told
    assert json.loads(seen.told["body"])["model"] == "gpt-4o-mini"
    assert (seen.status, seen.told["reason"]) == (200, "error")


@pytest.mark.parametrize(
    "body",
    [b"", b'{"model": "gpt-4", ', b"[]", b'{"model": "gpt-4", "messages": "hi"}', b'{"model": "\xe9", "messages": []}'],
    ids=["empty", "cut", "array", "odd shape", "latin-1"],
)
def test_malformed_body_reaches_the_handler_as_it_came(host: "Host", body: bytes) -> None:
    """What is no call is the handler's to answer: it reads the client's own bytes, and no decision."""
    seen = host.send(CHAT, body)

    assert seen.told
    assert (seen.told["body"], seen.told["route"], seen.told["reason"]) == (body.decode("latin-1"), None, None)
    assert "x-plano-reason" not in seen.headers


def test_ambiguous_body_is_refused(host: "Host") -> None:
    """A body that names its model twice is a 400, and no handler sees it."""
    seen = host.send(CHAT, b'{"model": "a", "model": "b", "messages": [{"role": "user", "content": "hi"}]}')

    assert (seen.status, seen.told) == (400, None)


def test_large_body_is_routed_whole(host: "Host", body_of: Body) -> None:
    """A body near the limit, too large to be read on an event loop, arrives complete."""
    body = body_of("prove " + "it " * 50_000)

    with routed_by(RULE):
        seen = host.send(CHAT, body)

    assert len(body) > 150_000
    assert seen.told
    assert seen.told["body"] == body.decode().replace('"gpt-4"', '"gpt-4o"', 1)


def test_body_beyond_the_limit_reaches_the_handler_as_it_came(host: "Host", body_of: Body) -> None:
    """A body larger than `limits.body_bytes` is passed on unrouted, whole."""
    body = body_of("prove " + "it " * 80_000)

    seen = host.send(CHAT, body)

    assert seen.told
    assert (seen.told["body"], seen.told["reason"]) == (body.decode(), None)


def test_compressed_body_arrives_plain(host: "Host", body_of: Body) -> None:
    """A gzip body is routed, and the handler reads it without its encoding and with the right length."""
    with routed_by(RULE):
        seen = host.send(CHAT, gzip.compress(body_of("prove it")), {"content-encoding": "gzip"})

    assert seen.told
    assert json.loads(seen.told["body"])["model"] == "gpt-4o"
    assert "content-encoding" not in seen.told["headers"]
    assert seen.told["headers"]["content-length"] == str(len(seen.told["body"]))


def test_forged_headers_are_gone(host: "Host", body_of: Body) -> None:
    """A client's own `x-plano-*` headers do not reach the handler of a routed call."""
    with routed_by(RULE):
        seen = host.send(CHAT, body_of("prove it"), {"x-plano-model": "forged", "x-other": "kept"})

    assert seen.told
    assert "x-plano-model" not in seen.told["headers"]
    assert seen.told["headers"]["x-other"] == "kept"


@pytest.mark.parametrize(
    "path",
    ["/v1/embeddings", "/v1/models", "/v1/messages/count_tokens", "//v1/messages", "/v1/messages/"],
    ids=lambda path: path,
)
def test_other_request_is_left_alone(path: str, host: "Host", body_of: Body) -> None:
    """What is not a call reaches the handler byte for byte, headers included."""
    seen = host.send(path, body_of("prove it"), {"x-plano-model": "theirs"})

    assert seen.told
    assert (seen.told["body"], seen.told["reason"]) == (body_of("prove it").decode(), None)
    assert seen.told["headers"]["x-plano-model"] == "theirs"


@pytest.mark.parametrize(("hops", "status"), [("1", 200), ("2", 508)], ids=["one", "two"])
def test_call_that_goes_round_is_refused(hops: str, status: int, host: "Host", body_of: Body) -> None:
    """A call that has come through two routers is in a loop, and no handler sees it; one is fine."""
    with routed_by(RULE):
        seen = host.send(CHAT, body_of("prove it"), {"x-plano-hop": hops})

    assert (seen.status, seen.told is None) == (status, status != 200)


def test_streaming_answer_arrives_while_it_is_made(host: "Host", kit: "Kit", body_of: Body) -> None:
    """The first words of an answer are read before its handler has the last ones, and it tells of the decision."""
    kit.first_words_read.clear()
    read = []

    with routed_by(RULE), host.stream(CHAT, body_of("prove it", stream=True)) as answer:
        for piece in answer.pieces:
            read.append(piece)
            kit.first_words_read.set()

    assert b"".join(read) == b"data: first\n\ndata: last\n\n"
    assert answer.headers["x-plano-route"] == "deep%20thought"


def test_concurrent_calls_do_not_mix(host: "Host", body_of: Body) -> None:
    """Of many calls at a time, each reads its own body, its own model and its own decision."""
    texts = [f"{word} number {number}" for number in range(20) for word in ("prove", "nothing")]

    with routed_by(RULE), ThreadPoolExecutor(8) as clients:
        all_seen = list(clients.map(lambda text: host.send(CHAT, body_of(text)), texts))

    for text, seen in zip(texts, all_seen, strict=True):
        is_proof = text.startswith("prove")
        assert seen.told
        body = json.loads(seen.told["body"])
        assert body["messages"][0]["content"] == text
        assert body["model"] == ("gpt-4o" if is_proof else "gpt-4o-mini")
        assert seen.told["route"] == ("deep thought" if is_proof else None)
        assert seen.headers["x-plano-reason"] == ("matched" if is_proof else "no_match")


def test_what_is_not_claimed_of_a_framework_is_a_claim_and_has_a_reason(not_claimed: Mapping[str, str]) -> None:
    """Nothing is left out by a name that is none, and nothing without a word about why."""
    claims = {name for name in globals() if name.startswith("test_")}

    assert not_claimed.keys() <= claims
    assert all(not_claimed.values())
