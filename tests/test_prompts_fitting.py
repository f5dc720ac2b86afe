"""How much of a conversation a prompt holds: the newest that fits, counted in tokens, at a bounded cost."""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.classify.prompts import PromptForm, PromptWriter, estimated_tokens
from plano_asgi.conversation import Conversation, Message, Role
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

USER, ASSISTANT = Role.USER, Role.ASSISTANT
LEAST_ROOM = 128
IMAGES = RoutingPolicy(
    preferences=(RoutingPreference(name="Image generation", description="generating image", models=("a/b",)),)
)


def bytes_of(text: str) -> int:
    """Count every byte as a token."""
    return len(text.encode())


def words_of(text: str) -> int:
    """Count words and single other characters, so that two texts together have fewer tokens than each by itself."""
    return len(re.findall(r"[^\W_]+|[\W_]", text))


def bytes_of_nfc(text: str) -> int:
    """Count the bytes of the normal form, as tokenizers that normalise do; it can have more of them."""
    return len(unicodedata.normalize("NFC", text).encode())


COUNTERS: Sequence[Callable[[str], int]] = [bytes_of, words_of, bytes_of_nfc, estimated_tokens]


def said(*texts: str, first: Role = USER) -> Conversation:
    """Return a conversation in which user and assistant take turns."""
    roles = (USER, ASSISTANT) if first is USER else (ASSISTANT, USER)
    return tuple(Message(role=roles[place % 2], text=text) for place, text in enumerate(texts))


def kept_in(prompt: str) -> list[tuple[str, str]]:
    """Return role and text of the messages in a prompt."""
    (line,) = re.findall(r"<conversation>\n+([^\n]*)\n+</conversation>", prompt)
    return [(message["role"], message["content"]) for message in json.loads(line)]


def pairs(conversation: Conversation) -> list[tuple[str, str]]:
    """Return role and text of messages."""
    return [(message.role, message.text) for message in conversation]


@pytest.mark.parametrize("count_tokens", COUNTERS, ids=lambda counter: counter.__name__)
@pytest.mark.parametrize("form", PromptForm)
@settings(deadline=None)
@given(texts=st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=12), extra=st.integers(0, 1_500))
def test_prompt_has_the_newest_messages_that_fit(
    form: PromptForm, count_tokens: Callable[[str], int], texts: list[str], extra: int
) -> None:
    """A prompt keeps to its limit, ends with the newest messages in their order, and one more would not have fitted."""
    conversation = said(*texts, first=USER if len(texts) % 2 else ASSISTANT)
    roomy = PromptWriter(form, limit=1_000_000)
    limit = count_tokens(roomy.write((), IMAGES)) + LEAST_ROOM + extra

    prompt = PromptWriter(form, count_tokens=count_tokens, limit=limit).write(conversation, IMAGES)

    kept = kept_in(prompt)
    whole = count_tokens(roomy.write(conversation[-1:], IMAGES)) <= limit
    assert count_tokens(prompt) <= limit
    if whole:
        assert kept == pairs(conversation)[-len(kept) :]
    else:
        assert "…" in kept[-1][1]
    if whole and len(kept) < len(conversation):
        assert count_tokens(roomy.write(conversation[-len(kept) - 1 :], IMAGES)) > limit


def test_last_user_message_comes_before_what_follows_it() -> None:
    """Of messages after the last user message the newest stay, as far as they fit beside it."""
    conversation = (*said("old", "older answer", "the question"), *said("answer " * 60, "end", first=ASSISTANT)[:1])
    conversation = (*conversation, Message(role=ASSISTANT, text="short"))

    prompt = PromptWriter(PromptForm.GATEWAY, limit=1_100, count_tokens=bytes_of).write(conversation, IMAGES)

    assert kept_in(prompt) == [("user", "the question"), ("assistant", "short")]


def test_old_long_message_does_not_cost_the_short_ones_after_it() -> None:
    """All short messages that fit are kept, however much longer than them the first one is that does not."""
    short = said(*["ok"] * 159)
    conversation = (*said("x", "long " * 4_000), *short)

    assert kept_in(PromptWriter(PromptForm.GATEWAY).write(conversation, IMAGES)) == pairs(short)


def test_last_message_stands_in_where_the_user_said_nothing() -> None:
    """An assistant that talks to itself is heard with its last message, cut if need be."""
    conversation = (Message(role=ASSISTANT, text="first"), Message(role=ASSISTANT, text="A" + "b" * 9_000 + "C"))

    (kept,) = kept_in(PromptWriter(PromptForm.GATEWAY).write(conversation, IMAGES))

    assert re.fullmatch(r"Ab+…b+C", kept[1])


@pytest.mark.parametrize("form", PromptForm)
@pytest.mark.parametrize("count_tokens", COUNTERS, ids=lambda counter: counter.__name__)
def test_long_last_message_keeps_its_ends_and_fills_the_prompt(
    form: PromptForm, count_tokens: Callable[[str], int]
) -> None:
    """What alone is too long loses its middle, no more of it than has to go, and everything before it goes."""
    text = "".join(f"word{number} " for number in range(40_000))

    prompt = PromptWriter(form, count_tokens=count_tokens).write((*said("a", "b"), *said(text)), IMAGES)

    ((role, kept),) = kept_in(prompt)
    head, tail = kept.split("…")
    assert role == "user"
    assert text.startswith(head)
    assert text.endswith(tail)
    assert abs(len(head) - len(tail)) <= 1
    assert 2_048 - 16 <= count_tokens(prompt) <= 2_048


@pytest.mark.parametrize("character", ["e\u0301", "👩\u200d🚀", "ก\u0e31\u0e49", "\ud83d\ude00", "👍\ufe0f"], ids=ascii)
def test_cut_does_not_tear_a_character(character: str) -> None:
    """A letter stays with its accents, and the parts of a joined picture together."""
    for spare in range(len(character) + 1):
        text = "x" * spare + character * 2_000 + "y"

        prompt = PromptWriter(PromptForm.CARD, limit=2_000, count_tokens=bytes_of).write(said(text), IMAGES)

        ((_, kept),) = kept_in(prompt)
        as_read = character.encode("utf-16", "surrogatepass").decode("utf-16")
        assert re.fullmatch(f"x{{{spare}}}({as_read})+…({as_read})+y", kept)


def test_endless_accents_are_cut_all_the_same() -> None:
    """A letter with more accents than any has does not keep a prompt from being cut."""
    prompt = PromptWriter(PromptForm.GATEWAY).write(said("e" + "\u0301" * 100_000), IMAGES)

    assert "…" in prompt
    assert estimated_tokens(prompt) <= 2_048


@pytest.mark.parametrize("count", [1, 100], ids=["some", "most"])
def test_routes_that_leave_no_room_leave_some_to_the_last_message(count: int) -> None:
    """Where routes fill the prompt, all of them stay, and the last user message still has 128 tokens."""
    routes = [RoutingPreference(name=f"route {n}", description="d" * 2_000, models=("a/b",)) for n in range(count)]
    policy, writer = RoutingPolicy(preferences=tuple(routes)), PromptWriter(PromptForm.GATEWAY, limit=700)

    prompt = writer.write((*said("old " * 200, "x"), *said("ask " * 9_000)), policy)
    brief = writer.write((*said("old " * 200, "x"), *said("ask me")), policy)

    ((_, kept),) = kept_in(prompt)
    assert all(f'"route {n}"' in prompt for n in range(count))
    assert re.fullmatch(r"(ask )+(a|as|ask)?…(k|sk| )* ?(ask )+", kept)
    conversation = json.dumps([{"role": "user", "content": kept}], separators=(",", ":"), ensure_ascii=False)
    assert LEAST_ROOM - 8 <= estimated_tokens(conversation) <= LEAST_ROOM
    assert kept_in(brief) == [("assistant", "x"), ("user", "ask me")]


@pytest.mark.parametrize("spare", [-1, 0, 60, 127, 128, 129])
def test_room_is_never_less_than_the_least(spare: int) -> None:
    """Whether routes leave too little or just enough, a long message has 128 tokens, or what is left."""
    writer = PromptWriter(PromptForm.GATEWAY, count_tokens=bytes_of)
    limit = bytes_of(writer.write((), IMAGES)) - len("[]") + spare

    prompt = PromptWriter(PromptForm.GATEWAY, count_tokens=bytes_of, limit=limit).write(said("ask " * 999), IMAGES)

    used = bytes_of(prompt) - (limit - spare)
    assert LEAST_ROOM - 8 <= used <= max(LEAST_ROOM, spare)


HUGE = {
    "one message of 10 MB": said("lorem ipsum " * 830_000),
    "10 MB of spaces": said(" " * 10_000_000),
    "10 MB of tags": said("</conversation>" * 666_000),
    "10 MB of astral characters": said("😀" * 2_500_000),
    "10 MB before a short one": said("x", "lorem ipsum " * 830_000, "hi"),
    "10 MB after a short one": said("hi", "lorem ipsum " * 830_000),
    "100,000 messages": said(*["ok"] * 100_000),
}


@pytest.mark.parametrize("count_tokens", COUNTERS, ids=lambda counter: counter.__name__)
@pytest.mark.parametrize("conversation", HUGE.values(), ids=HUGE)
def test_huge_conversation_is_counted_a_bounded_number_of_times(
    conversation: Conversation, count_tokens: Callable[[str], int]
) -> None:
    """However much is said, at most 50 texts are counted, few of them as long as 16 characters a token."""
    lengths: list[int] = []

    def counted(text: str) -> int:
        """Count tokens, and keep how long the text is."""
        lengths.append(len(text))
        return count_tokens(text)

    prompt = PromptWriter(PromptForm.GATEWAY, count_tokens=counted).write(conversation, IMAGES)

    assert len(lengths) <= 50
    assert max(lengths, default=0) <= 16 * 2_048
    assert sum(lengths) <= 6 * 16 * 2_048
    assert count_tokens(prompt) <= 2_048
    assert kept_in(prompt)


def test_short_prompt_is_not_counted_at_all() -> None:
    """A prompt of no more bytes than the limit has tokens needs no tokenizer."""

    def never(text: str) -> int:
        """Fail: nothing is to be counted."""
        raise AssertionError(text)

    assert PromptWriter(PromptForm.GATEWAY, count_tokens=never).write(said("hi"), IMAGES)


def test_prompt_that_fits_is_counted_once() -> None:
    """The common case costs one run of the tokenizer."""
    counted: list[str] = []

    def count_tokens(text: str) -> int:
        """Keep the text."""
        counted.append(text)
        return estimated_tokens(text)

    prompt = PromptWriter(PromptForm.GATEWAY, count_tokens=count_tokens).write(said("hi " * 900), IMAGES)

    assert counted == [prompt]


def test_text_that_grows_when_normalised_is_counted() -> None:
    """Characters that normalisation takes apart have more bytes then; a prompt of few bytes is not taken to fit."""
    limit = 1_400
    conversation = said("\U0001d160" * 100)  # 4 bytes each, 12 when normalised

    prompt = PromptWriter(PromptForm.GATEWAY, limit=limit, count_tokens=bytes_of_nfc).write(conversation, IMAGES)

    assert bytes_of_nfc(prompt) <= limit
    assert "…" in prompt
