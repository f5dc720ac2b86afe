"""What the embedded router reads of a call: which turns, as which tokens, and how much of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.classify.embedded.texts import ConversationTexts, conversation_texts, route_text
from plano_asgi.classify.embedded.tokens import (
    SERVED,
    Tokenizer,
    Window,
    conversation_tokens,
    open_tokenizer,
    route_tokens,
)
from plano_asgi.conversation import Conversation, Message, Role
from plano_asgi.preferences import RoutingPreference

START, END = 101, 102  # [CLS] and [SEP]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=400)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Return the shipped tokenizer."""
    return open_tokenizer(SHIPPED_FOLDER / "tokenizer.json")


def conversation(*turns: str) -> Conversation:
    """Return turns of user and assistant, each in turn, the user first."""
    return tuple(Message(role=(Role.USER, Role.ASSISTANT)[i % 2], text=text) for i, text in enumerate(turns))


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of a text without special tokens."""
    found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found


def numbers(count: int) -> str:
    """Return so many words of one token each; the first 100 differ."""
    return " ".join(str(n % 100) for n in range(count))


def test_a_conversation_is_its_latest_turn_and_what_was_said_before() -> None:
    """The latest user turn stands alone, the four turns before it with their roles; tools and instructions are left."""
    turns = conversation("one", "two", "three", "four", "five", "six", " seven ")
    noise = Message(role=Role.TOOL, text="result"), Message(role=Role.SYSTEM, text="be brief")

    texts = conversation_texts((*noise, *turns[:-1], *noise, turns[-1], Message(role=Role.ASSISTANT, text="eight")))

    assert texts == ConversationTexts("seven", "user: three\nassistant: four\nuser: five\nassistant: six")


def test_a_single_turn_has_nothing_before_it() -> None:
    """Where nothing was said before, there is the latest turn alone."""
    assert conversation_texts(conversation("hello")) == ConversationTexts("hello", "")


@pytest.mark.parametrize(("length", "bound"), [(8_000, 8_000), (8_001, 8_005), (10_000_000, 8_005)])
def test_long_texts_keep_both_ends(length: int, bound: int) -> None:
    """What is read of a turn is bounded; the middle is left out and never the ends."""
    text = "start" + "x" * (length - 8) + "end"

    texts = conversation_texts(conversation(text, text, text))

    assert texts is not None
    assert len(texts.latest) == bound
    assert (texts.latest[:5], texts.latest[-3:]) == ("start", "end")
    user, assistant = texts.before.split("\n")
    assert (user[:11], user[-3:], assistant[:16], assistant[-3:]) == ("user: start", "end", "assistant: start", "end")
    assert len(texts.before) < 300


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("code_generation", "code generation"),
        ("codeGeneration", "code generation"),
        ("Code-Generation", "code generation"),
        ("code.generation ", "code generation"),
        ("SQL", "sql"),
        ("__x__", "x"),
    ],
)
def test_a_route_is_read_as_words(name: str, words: str) -> None:
    """Names in any common spelling are read as the same words, before the description."""
    preference = RoutingPreference(name=name, description=" writing code ", models=("openai/gpt-4o",))

    assert route_text(preference) == f"{words}: writing code"


def test_both_parts_are_one_sequence_of_two_kinds(tokenizer: Tokenizer) -> None:
    """The encoder reads `[CLS] latest [SEP] before [SEP]`; the second part is the other kind of token."""
    latest, before = ids(tokenizer, "now in Go"), ids(tokenizer, "user: a loop")

    tokens = conversation_tokens(tokenizer, ConversationTexts("now in Go", "user: a loop"))

    assert list(tokens.ids) == [START, *latest, END, *before, END]
    assert list(tokens.kinds) == [0] * (len(latest) + 2) + [1] * (len(before) + 1)


def test_a_turn_without_context_and_a_route_are_read_alike(tokenizer: Tokenizer) -> None:
    """With nothing before it a turn is `[CLS] text [SEP]`, all of the first kind; so is a route."""
    tokens = conversation_tokens(tokenizer, ConversationTexts("code: writing code", ""))

    assert tokens == route_tokens(tokenizer, "code: writing code")
    assert list(tokens.ids) == [START, *ids(tokenizer, "code: writing code"), END]
    assert set(tokens.kinds) == {0}


@pytest.mark.parametrize("count", [126, 127, 200])
def test_latest_turn_longer_than_its_window_is_read_at_both_ends(tokenizer: Tokenizer, count: int) -> None:
    """126 words of one token fit; of more the first and the last 63 are read, between the special tokens."""
    words = ids(tokenizer, numbers(count))
    assert len(words) == count

    tokens = conversation_tokens(tokenizer, ConversationTexts(numbers(count), ""))

    assert list(tokens.ids) == [START, *words[:63], *words[-63:], END]


def test_what_was_said_before_is_read_at_its_end(tokenizer: Tokenizer) -> None:
    """Of a long history the last 95 tokens are read; the latest turn loses none of its own window to it."""
    words = ids(tokenizer, numbers(200))

    tokens = conversation_tokens(tokenizer, ConversationTexts(numbers(200), numbers(200)))

    assert list(tokens.ids[:128]) == [START, *words[:63], *words[-63:], END]
    assert list(tokens.ids[128:]) == [*words[-95:], END]
    assert list(tokens.kinds) == [0] * 128 + [1] * 96


def test_long_route_is_read_at_both_ends(tokenizer: Tokenizer) -> None:
    """Of a route's line the first and the last 47 tokens are read, between the special ones."""
    words = ids(tokenizer, numbers(200))

    assert list(route_tokens(tokenizer, numbers(200)).ids) == [START, *words[:47], *words[-47:], END]


@settings(deadline=None, max_examples=100)
@given(latest=ANY_TEXT, before=ANY_TEXT, window=st.builds(Window, *[st.sampled_from([8, 16, 128])] * 3))
def test_no_text_is_longer_than_its_window(tokenizer: Tokenizer, latest: str, before: str, window: Window) -> None:
    """Whatever is said, lone surrogates included, fits the window, one kind a token, latest before the rest."""
    tokens = conversation_tokens(tokenizer, ConversationTexts(latest, before), window)
    route = route_tokens(tokenizer, latest, window)

    assert len(tokens.ids) == len(tokens.kinds)
    assert list(tokens.kinds) == sorted(tokens.kinds)
    assert list(tokens.kinds).count(0) <= window.latest
    assert list(tokens.kinds).count(1) <= window.before
    assert (tokens.ids[0], tokens.ids[-1]) == (START, END)
    assert len(route.ids) <= window.route


def test_served_windows_fit_the_encoder() -> None:
    """What is served fits the 512 positions that the encoder has."""
    assert SERVED.latest + SERVED.before <= 512
    assert SERVED.route <= 512
