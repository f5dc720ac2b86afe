"""Counting by a real tokenizer: the same as the tokenizer itself, within a deadline, once for each text."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, get_ident
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tokenizers import Tokenizer

from plano_asgi.errors import ArtifactIntegrityError
from plano_asgi.providers import ChatOverhead
from plano_asgi.tokens import LateTokenizer, ModelTokens, Said, TokenCounter, tokens_by_rule
from plano_asgi.tokens.loading import load_file
from plano_asgi.tokens.text_counter import PIECE_CHARACTERS, TextCounter, Tokenize

FOR_EVER = 60.0
WORDS = st.lists(st.text("abc.,;'1\n日é", min_size=1, max_size=9), min_size=200, max_size=600).map(" ".join)


def words_of(text: str) -> int:
    """Return how many words a text has, which a made-up tokenizer takes for its tokens."""
    return len(text.split())


def counted_in(counter: TextCounter, text: str) -> int:
    """Return how many tokens a text has by a counter that has all the time it needs."""
    return counter.count(counter.look_up(Said((text,), 1).digested), until=time.thread_time() + FOR_EVER).tokens


def counter_of(tokenize: Tokenize, **options: Any) -> TokenCounter:
    """Return what counts by a made-up tokenizer that is loaded, for the models of `own`."""
    counter = TokenCounter({"own/*": ModelTokens(LateTokenizer("made-up", lambda: tokenize, size=100))}, **options)
    counter.load()
    return counter


@settings(max_examples=20, deadline=None)
@given(text=WORDS)
def test_pieces_of_a_text_have_the_tokens_of_the_whole(text: str, tokenizer_json: Path) -> None:
    """A long text is cut where tokens end, so that its pieces have no token more than all of it together."""
    whole = len(Tokenizer.from_file(str(tokenizer_json)).encode(text, add_special_tokens=False))

    assert counted_in(TextCounter(load_file(tokenizer_json), size=9), text) == whole


@pytest.mark.parametrize("unit", ["x1", " ", "日本", "\n"], ids=["letters", "spaces", "wide", "lines"])
def test_text_without_words_comes_out_higher_by_its_cuts_at_the_most(unit: str, tokenizer_json: Path) -> None:
    """Where there is no good place to cut, each cut adds a token at the most."""
    text = unit * 5_000
    whole = len(Tokenizer.from_file(str(tokenizer_json)).encode(text, add_special_tokens=False))
    counted = counted_in(TextCounter(load_file(tokenizer_json), size=9), text)

    assert whole <= counted <= whole + len(text) // PIECE_CHARACTERS + 1


def test_what_the_deadline_leaves_is_counted_by_the_rule() -> None:
    """A tokenizer that takes long gets its time; the rest is not forgotten, and is counted anew another time."""
    seen: list[int] = []

    def slow(piece: str) -> int:
        """Take twenty milliseconds of this thread's time."""
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        seen.append(len(piece))
        return 1

    text = "word " * 10_000
    counter = counter_of(slow, deadline_s=0.03)
    (first,) = counter.counts(Said((text,), 1), ["own/model"]).values()
    tokenized = sum(seen)
    (again,) = counter.counts(Said((text,), 1), ["own/model"]).values()

    assert len(seen) == 4
    assert first == again == 2 + tokens_by_rule([text[tokenized:]]) + 7
    assert counter.least(Said((text,), 1), ["own/model"])["own/model"] == 2 + (len(text) - tokenized) // 8


def test_deadline_is_one_for_all_tokenizers_of_a_call() -> None:
    """What the first model's tokenizer has used of the time, another's does not get again."""
    pieces: list[int] = []

    def slow(piece: str) -> int:
        """Take twenty milliseconds of this thread's time."""
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        pieces.append(len(piece))
        return 1

    names = ("first", "second", "third")
    models = {f"{name}/*": ModelTokens(LateTokenizer(name, lambda: slow, size=9)) for name in names}
    counter = TokenCounter(models, deadline_s=0.015)
    counter.load()
    counts = counter.counts(Said(("word " * 10_000,), 1), [f"{name}/model" for name in names])

    assert len(pieces) == 1
    assert counts["first/model"] < counts["second/model"] == counts["third/model"]


def test_what_was_said_before_is_not_counted_again() -> None:
    """The next turn of a conversation asks the tokenizer for what is new alone."""
    asked: list[str] = []

    def tokenize(text: str) -> int:
        """Note what was asked."""
        asked.append(text)
        return words_of(text)

    counter = counter_of(tokenize)
    before = tuple(f"message number {number}" for number in range(50))
    counter.counts(Said(before, 50), ["own/a"])
    counter.counts(Said((*before, "one more"), 51), ["own/a", "own/b"])

    assert asked[50:] == ["one more"]


def test_counts_of_the_latest_texts_alone_are_kept() -> None:
    """Whatever callers send, no more counts are kept than were asked for."""
    asked: list[str] = []

    def tokenize(text: str) -> int:
        """Note what was asked."""
        asked.append(text)
        return 1

    counter = TextCounter(tokenize, size=2)
    for text in ("a", "b", "c", "b", "a"):
        counted_in(counter, text)

    assert asked == ["a", "b", "c", "a"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_long_texts_are_counted_off_the_event_loop(backend: str) -> None:
    """What takes long is done on a thread, what is short or known already at once."""
    threads: list[int] = []

    def tokenize(text: str) -> int:
        """Note who asks."""
        threads.append(get_ident())
        return words_of(text)

    counter = counter_of(tokenize)

    async def run() -> list[int]:
        """Count a short call, a long one, and the long one again with a word more."""
        texts = [("short",), ("long " * 1_000,), ("long " * 1_000, "more")]
        return [(await counter.acounts(Said(said, 1), ["own/model"]))["own/model"] for said in texts]

    assert anyio.run(run, backend=backend) == [8, 1_007, 1_008]
    assert threads[0] == threads[-1] == get_ident()
    assert get_ident() not in threads[1:-1]


def test_many_texts_are_counted_off_the_event_loop() -> None:
    """More than a thousand texts are looked up on a thread, even if all but one short one are known."""
    threads: list[int] = []

    def tokenize(text: str) -> int:
        """Note who asks."""
        threads.append(get_ident())
        return words_of(text)

    counter = TokenCounter({"own/*": ModelTokens(LateTokenizer("made-up", lambda: tokenize, size=2_000))})
    counter.load()
    known = tuple(map(str, range(1_100)))
    counter.counts(Said(known, 1), ["own/model"])
    threads.clear()

    async def run() -> tuple[dict[str, int], dict[str, int]]:
        """Count them with one more, and what they have at the least with another."""
        counts = await counter.acounts(Said((*known, "new"), 1), ["own/model"])
        return counts, await counter.aleast(Said((*known, "newer"), 1), ["own/model"])

    assert anyio.run(run) == ({"own/model": 1_101 + 7}, {"own/model": 1_101})
    assert len(threads) == 2
    assert get_ident() not in threads


def test_each_model_counts_by_its_own_tokenizer() -> None:
    """A model's own entry counts before that of its provider; a model that has none is counted by the rule."""
    words = LateTokenizer("words", lambda: words_of, size=9)
    letters = LateTokenizer("letters", lambda: len, size=9)
    models = {
        "own/*": ModelTokens(words),
        "own/letters": ModelTokens(letters, ChatOverhead(message=0, call=50)),
        "own/plain": ModelTokens(),
    }
    counter = TokenCounter(models)
    counter.load()
    counts = counter.counts(Said(("four words of text",), 1), ["own/words", "own/letters", "own/plain", "other/model"])

    assert counts == {"own/words": 4 + 7, "own/letters": 18 + 50, "own/plain": 5 + 7, "other/model": 5 + 7}
    assert [counter.is_exact(model) for model in counts] == [True, True, False, False]


def test_tokenizer_that_cannot_be_loaded_leaves_the_rule_and_says_so() -> None:
    """A broken download is a line in the log, never a call that fails; another start tries it again."""
    chances = [OSError("no route to host"), None]

    def load() -> Tokenize:
        """Fail the first time."""
        if (problem := chances.pop(0)) is not None:
            raise problem
        return words_of

    tokenizer = LateTokenizer("o200k_base", load, size=9)
    counter = TokenCounter({"own/*": ModelTokens(tokenizer)})
    with capture_logs() as logs:
        counter.load()
        assert counter.counts(Said(("four words of text",), 1), ["own/m"]) == {"own/m": 5 + 7}
        assert tokenizer.problem == "OSError: no route to host"
        counter.load()

    assert counter.counts(Said(("four words of text",), 1), ["own/m"]) == {"own/m": 4 + 7}
    assert tokenizer.problem == ""
    assert [(log["event"], log["tokenizer"]) for log in logs] == [
        ("plano.tokenizer_failed", "o200k_base"),
        ("plano.tokenizer_ready", "o200k_base"),
    ]


def test_start_does_not_wait_for_a_slow_download() -> None:
    """The rule counts until the tokenizer is there, however long that takes; then it does."""
    arrived = Event()

    def load() -> Tokenize:
        """Take as long as the test says."""
        arrived.wait(10)
        return words_of

    tokenizer = LateTokenizer("slow", load, size=9)
    counter = TokenCounter({"own/*": ModelTokens(tokenizer)}, load_s=0.01)
    counter.load()
    counter.load()  # once at a time
    before = counter.is_exact("own/m")
    arrived.set()
    until = time.monotonic() + 10
    while not counter.is_exact("own/m") and time.monotonic() < until:
        time.sleep(0.005)

    assert (before, counter.is_exact("own/m")) == (False, True)


def test_first_count_begins_to_load_where_nobody_has() -> None:
    """An app that no lifespan reaches gets its tokenizer too, a moment after its first call."""
    counter = TokenCounter({"own/*": ModelTokens(LateTokenizer("late", lambda: words_of, size=9))})
    counter.counts(Said(("four words of text",), 1), ["own/m"])
    until = time.monotonic() + 10
    while not counter.is_exact("own/m") and time.monotonic() < until:
        time.sleep(0.005)

    assert counter.counts(Said(("four words of text",), 1), ["own/m"]) == {"own/m": 4 + 7}


def test_forked_child_loads_what_its_parent_was_still_loading() -> None:
    """A child has none of its parent's threads; its own first count begins to load."""
    arrived = Event()

    def load() -> Tokenize:
        """Take for ever in the parent."""
        arrived.wait(10 if os.getpid() == parent else 0)
        return words_of

    parent = os.getpid()
    counter = TokenCounter({"own/*": ModelTokens(LateTokenizer("late", load, size=9))}, load_s=0.01)
    counter.load()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            counter.counts(Said(("text",), 1), ["own/m"])
            until = time.monotonic() + 5
            while not counter.is_exact("own/m") and time.monotonic() < until:
                time.sleep(0.005)
            os.write(writing, b"loaded" if counter.is_exact("own/m") else b"not loaded")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    arrived.set()

    assert os.read(reading, 99) == b"loaded"


def test_special_words_count_as_the_text_that_they_are(tokenizer_json: Path) -> None:
    """A caller who writes a tokenizer's marks makes no call cheaper, since a provider may read them as text."""
    tokenize = load_file(tokenizer_json)

    assert tokenize("<|im_end|>") > 1
    assert tokenize("<|im_end|>" * 10) >= 10 * 3


def test_lone_surrogates_are_counted(tokenizer_json: Path) -> None:
    """What no encoding can write does not fail."""
    assert counted_in(TextCounter(load_file(tokenizer_json), size=9), "a\ud800b") >= 1


def test_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    """It says which file, and that it is none."""
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")

    with pytest.raises(ArtifactIntegrityError, match=r"tokenizer\.json"):
        load_file(path)


def test_threads_count_alike() -> None:
    """Threads that count the same texts at the same time come to the same."""
    counter = counter_of(words_of)
    said = Said(tuple(f"{number} words" for number in range(300)), 1)
    with ThreadPoolExecutor(4) as threads:
        counts = list(threads.map(lambda _: counter.counts(said, ["own/m"])["own/m"], range(16)))

    assert set(counts) == {607}
