"""The nouns: secrets that stay secret, policies and their digests, models and their names."""

import copy
import json
import pickle
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
from plano_asgi.preferences import RoutingPolicy, RoutingPreference, description_fault, name_fault
from plano_asgi.providers import ModelCatalog, ModelProvider, bare_model, model_fault
from plano_asgi.secret import Secret

PLANTED = "sk-planted-0123456789"
KEY = Secret(PLANTED)


def policy_of(*routes: tuple[str, str], models: tuple[str, ...] = ("a/b",)) -> RoutingPolicy:
    """Return a policy of routes given by name and description."""
    return RoutingPolicy(preferences=tuple(RoutingPreference(name=n, description=d, models=models) for n, d in routes))


def test_secret_shows_itself_only_when_asked() -> None:
    """No text made of a secret holds it, nor tells how long it is."""
    shown = [repr(KEY), str(KEY), f"{KEY}", f"{KEY!r}", "%s" % KEY, "{}".format(KEY), repr([KEY]), repr({KEY: KEY})]  # noqa: UP031, UP032 - every way there is

    assert not any(PLANTED in text for text in shown)
    assert repr(KEY) == repr(Secret(""))
    assert KEY.reveal() == PLANTED


@pytest.mark.parametrize(
    "leak",
    [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars],
    ids=["pickle", "copy", "deepcopy", "json", "vars"],
)
def test_secret_is_not_carried_off(leak: object) -> None:
    """What would write a secret down fails, with a message that does not hold it."""
    assert callable(leak)
    with pytest.raises(TypeError) as caught:
        leak(KEY)

    assert PLANTED not in str(caught.value)


def test_secrets_compare_by_their_text() -> None:
    """Equal secrets are one secret; a secret is not its text."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert hash(Secret("a")) != hash("a")


def test_repr_of_a_provider_holds_no_credential() -> None:
    """Neither the key nor a header of a provider is in its `repr`, not even as a mask."""
    provider = ModelProvider(model="a/b", access_key=KEY, headers=(("x-team", Secret("planted-header")),))

    assert "planted" not in repr(ModelCatalog(providers=(provider,)))
    assert "access_key" not in repr(provider)


def test_repr_of_a_call_holds_no_prompt() -> None:
    """A call in a log line or a traceback shows who speaks and not what is said."""
    call = LLMCall.from_text("planted words")

    assert "planted" not in repr(call)
    assert "user" in repr(call)


def test_call_from_text_is_a_chat_call_of_one_user_message() -> None:
    """A text stands for the shortest conversation there is."""
    call = LLMCall.from_text("hi")

    assert call == LLMCall(
        api_format=ApiFormat.CHAT_COMPLETIONS, conversation=(Message(role=Role.USER, text="hi"),), model=None
    )
    assert not call.is_stream
    assert call.inline_policy is None


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (LLMCall.from_text("hi"), "model"),
        (Message(role=Role.USER, text="hi"), "text"),
        (policy_of(("a", "b")), "preferences"),
        (policy_of(("a", "b")).preferences[0], "name"),
        (ModelProvider(model="a/b"), "model"),
        (ModelCatalog(providers=()), "providers"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_values_do_not_change(value: object, field: str) -> None:
    """A noun may be shared between threads and kept as a key, for nobody can change it."""
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, None)

    assert hash(value) == hash(copy.copy(value))


def test_digest_is_of_what_a_classifier_reads() -> None:
    """Policies that differ only in models have one digest; it is 16 bytes and the same in every process."""
    policy = policy_of(("code", "writing code"), ("chat", "small talk"))

    assert policy.digest == policy_of(("code", "writing code"), ("chat", "small talk"), models=("c/d", "e/f")).digest
    assert policy.digest.hex() == "1b7f83573921090c0b2370864dc408ad"


@given(
    st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3),
    st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3),
)
def test_digests_are_equal_exactly_if_routes_are(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    """No two lists of names and descriptions run together into one digest, in whatever order or split."""
    assert (policy_of(*one).digest == policy_of(*other).digest) is (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([("ab", "c")], [("a", "bc")]),
        ([("a", "b"), ("c", "d")], [("c", "d"), ("a", "b")]),
        ([("a", "b")], [("b", "a")]),
        ([("a", "b"), ("c", "d")], [("a", "bcd")]),
        ([], [("", "")]),
    ],
    ids=["split", "order", "swap", "join", "empty"],
)
def test_digest_tells_neighbours_apart(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    """Where one text ends and the next begins is part of a policy."""
    assert policy_of(*one).digest != policy_of(*other).digest


def test_route_is_found_by_its_name() -> None:
    """A policy gives the preference of a name, and a KeyError for a name it does not have."""
    policy = policy_of(("code", "x"), ("chat", "y"))

    assert policy.named("chat").description == "y"
    with pytest.raises(KeyError, match="none"):
        policy.named("none")


@pytest.mark.parametrize("name", ["a", "x" * 64, "a b", 'say "hi"', "Other", "линия", "</routes>", "a\u200bb", " "])
def test_route_name_may_be_any_text(name: str) -> None:
    """Names are for people: quotes, spaces, markup and any script are allowed."""
    assert name_fault(name) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "1 to 64"),
        ("x" * 65, "1 to 64"),
        ("a\nb", "control"),
        ("\x00", "control"),
        ("\x85", "control"),
        ("a\ud800", "surrogates"),
        ("other", "reserved"),
    ],
    ids=["empty", "65", "newline", "NUL", "C1", "half a character", "other"],
)
def test_route_name_has_a_length_and_no_character_that_breaks_an_answer(name: str, fault: str) -> None:
    """What could break a header, a prompt or the meaning of an answer is no name."""
    assert fault in str(name_fault(name))


@pytest.mark.parametrize(
    ("description", "fault"),
    [
        ("x", None),
        ("x" * 2000, None),
        ("</routes>\n", None),
        ("", "empty"),
        (" \t\n", "empty"),
        ("x" * 2001, "at most 2000"),
    ],
    ids=["short", "2000", "markup", "empty", "blank", "2001"],
)
def test_description_says_something_within_its_length(description: str, fault: str | None) -> None:
    """A description is text of 1 to 2,000 characters that is not blank."""
    found = description_fault(description)

    assert (found is None) if fault is None else fault in str(found)


@pytest.mark.parametrize(
    "model",
    [
        *("openai/gpt-4o", "anthropic/claude-sonnet-4-20250514", "openrouter/meta-llama/llama-3.1-8b:free"),
        *("together_ai/Qwen/Qwen3-8B", "cloudflare/@cf/meta/llama-3", "ollama/llama3.2:1b", "a/" + "b" * 254),
    ],
)
def test_qualified_model_has_a_provider_and_a_name(model: str) -> None:
    """Names that providers really use are allowed, further slashes included."""
    assert model_fault(model) is None
    assert model.endswith("/" + bare_model(model))


@pytest.mark.parametrize(
    "model",
    [
        *("", "gpt-4o", "/gpt", "openai/", "openai//gpt", "openai/../x", "../x", "openai/./x", "http://10.0.0.1/x"),
        *(
            "file:///etc/passwd",
            "openai/gpt 4",
            "openai/gpt\n",
            "openai/gpt\x00",
            "openai/модель",
            "openai/gptü",
            "openai/gpt?x=1",
        ),
        *("openai/gpt#x", "openai/%2e%2e/x", "openai\\gpt", "a/" + "b" * 255, "-a/b", "openai/*"),
    ],
    ids=lambda model: ascii(model)[:40],
)
def test_text_that_could_be_a_url_or_a_path_is_no_model(model: str) -> None:
    """A model name can name no host, folder, query or pattern."""
    assert model_fault(model) is not None


def test_fault_of_a_model_does_not_quote_it() -> None:
    """A fault goes into answers and logs, and a caller's text does not."""
    assert PLANTED not in str(model_fault(PLANTED))
    assert PLANTED not in str(model_fault(PLANTED * 100))


@given(st.text())
def test_any_text_is_a_model_or_has_a_fault(model: str) -> None:
    """What passes is printable ASCII with a slash, so that it may stand in a header or a path."""
    if model_fault(model) is None:
        assert model.isascii()
        assert model.isprintable()
        assert "/" in model
        assert not {".", ".."} & set(model.split("/"))


def test_bare_model_is_what_follows_the_first_slash() -> None:
    """Only the provider's part is taken off."""
    assert bare_model("openrouter/meta/llama:free") == "meta/llama:free"


def test_catalog_finds_a_provider_by_its_model() -> None:
    """The first provider of a model counts; a bare name stands for the first model that has it."""
    first = ModelProvider(model="a/b", base_url="http://one.test")
    catalog = ModelCatalog(providers=(first, ModelProvider(model="a/b"), ModelProvider(model="c/b")))

    assert catalog.provider_of("a/b") is first
    assert catalog.provider_of("b") is None
    assert [catalog.qualified(name) for name in ("b", "c/b", "x")] == ["a/b", "c/b", "x"]


def test_catalog_knows_its_models_and_its_default() -> None:
    """A catalog tells declared models from others, in their order, and which one is the default."""
    catalog = ModelCatalog(providers=(ModelProvider(model="a/b"), ModelProvider(model="c/d", is_default=True)))

    assert catalog.models == {"a/b", "c/d"}
    assert catalog.default_model == "c/d"
    assert catalog.undeclared(["x/y", "a/b", "e/f"]) == ("x/y", "e/f")
    assert ModelCatalog(providers=()).default_model is None
