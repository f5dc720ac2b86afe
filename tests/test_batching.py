"""Micro-batches: what comes while a batch runs is answered together, in order, and nobody waits in vain."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.classify.batching import Batcher

NAME = "batching-test"
SOON_S = 10.0


class Answers:
    """Answers numbers with their squares, once it may; remembers its batches."""

    def __init__(self) -> None:
        """Begin with a free hand."""
        self.batches: list[list[int]] = []
        self.has_begun, self.may_answer = Event(), Event()
        self.may_answer.set()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        """Return squares, and a ValueError for 13; fail altogether at 666."""
        self.batches.append(list(numbers))
        self.has_begun.set()
        assert self.may_answer.wait(SOON_S)
        if 666 in numbers:
            raise KeyError("all of them")
        return [ValueError("unlucky") if number == 13 else number * number for number in numbers]


@contextmanager
def batching(
    answer: Callable[[Sequence[int]], Sequence[int | Exception]], *, most: int = 4
) -> Iterator[Batcher[int, int]]:
    """Give a batcher, and close it."""
    batcher = Batcher(answer, most=most, name=NAME)
    yield batcher
    batcher.close()


@contextmanager
def busy(answers: Answers, batcher: Batcher[int, int]) -> Iterator[None]:
    """Keep the thread busy with the question 0 while something else happens."""
    answers.may_answer.clear()
    batcher.submit(0)
    assert answers.has_begun.wait(SOON_S)
    yield
    answers.may_answer.set()


def test_company_is_collected_while_a_batch_runs() -> None:
    """A lone question is answered at once; those that come meanwhile go together, in order, so many at a time."""
    answers = Answers()

    with batching(answers) as batcher:
        with busy(answers, batcher):
            futures = [batcher.submit(number) for number in range(1, 8)]
        squares = [future.result(SOON_S) for future in futures]

    assert squares == [number * number for number in range(1, 8)]
    assert answers.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]


def test_cancelled_questions_cost_nothing() -> None:
    """What is cancelled before its batch begins is not asked, and the others move up."""
    answers = Answers()

    with batching(answers) as batcher:
        with busy(answers, batcher):
            futures = [batcher.submit(number) for number in range(1, 7)]
            assert all(future.cancel() for future in futures[1:3])
        assert futures[5].result(SOON_S) == 36

    assert answers.batches == [[0], [1, 4, 5, 6]]


def test_a_question_of_its_own_fails_alone() -> None:
    """Where one question has no answer, its company has."""
    answers = Answers()

    with batching(answers) as batcher:
        with busy(answers, batcher):
            before, unlucky, after = (batcher.submit(number) for number in (12, 13, 14))
        with pytest.raises(ValueError, match="unlucky"):
            unlucky.result(SOON_S)

        assert (before.result(SOON_S), after.result(SOON_S)) == (144, 196)


@pytest.mark.parametrize(
    "answer",
    [lambda _: [], lambda numbers: [*numbers, 1], lambda _: (_ for _ in ()).throw(SystemExit)],
    ids=["too few", "too many", "exits"],
)
def test_answers_that_do_not_fit_are_an_error_for_everybody(
    answer: Callable[[Sequence[int]], Sequence[int | Exception]],
) -> None:
    """Nobody waits in vain, whatever the function that answers does."""
    with batching(answer) as batcher, pytest.raises((ValueError, RuntimeError)):
        batcher.submit(1).result(SOON_S)


def test_a_failed_batch_fails_everybody_in_it_and_nobody_else() -> None:
    """An exception reaches all who are in the batch, and the next batch is answered."""
    answers = Answers()

    with batching(answers) as batcher:
        with busy(answers, batcher):
            futures = [batcher.submit(number) for number in (1, 666, 2, 3, 4)]
        for future in futures[:4]:
            with pytest.raises(KeyError):
                future.result(SOON_S)

        assert futures[4].result(SOON_S) == 16


def test_close_cancels_what_waits_and_answers_what_has_begun() -> None:
    """After `close` nothing that waited is asked, what runs is answered, and new questions are refused."""
    answers = Answers()

    with batching(answers) as batcher:
        with busy(answers, batcher):
            waiting, work = batcher.submit(1), batcher.call(partial(pytest.fail, "it was cancelled"))
            batcher.close()
        for future in (waiting, work):
            with pytest.raises(CancelledError):
                future.result(SOON_S)
        for refused in (partial(batcher.submit, 2), partial(batcher.call, list)):
            with pytest.raises(RuntimeError):
                refused()

    assert answers.batches == [[0]]


def test_other_work_takes_its_turn_on_the_same_thread() -> None:
    """Work that needs the inference thread runs there, behind what came before it."""
    answers = Answers()
    seen: list[str] = []

    with batching(answers) as batcher:
        batcher.submit(1).result(SOON_S)
        batcher.call(lambda: seen.append(threading.current_thread().name)).result(SOON_S)

    assert seen[0].startswith(NAME)


def test_the_thread_ends() -> None:
    """One thread is all there is, however much is asked, and it ends after `close`."""
    with batching(Answers()) as batcher:
        for number in range(5):
            batcher.submit(number).result(SOON_S)
        (thread,) = (thread for thread in threading.enumerate() if thread.name.startswith(NAME))

    thread.join(SOON_S)

    assert not thread.is_alive()


def test_a_forgotten_batcher_ends_its_thread() -> None:
    """A batcher that nobody closes and nobody holds any more leaves no thread behind."""
    batcher = Batcher(Answers(), most=1, name=NAME)
    batcher.submit(1).result(SOON_S)
    (thread,) = (thread for thread in threading.enumerate() if thread.name.startswith(NAME))

    del batcher
    thread.join(SOON_S)

    assert not thread.is_alive()


@settings(deadline=None, max_examples=20)
@given(numbers=st.lists(st.integers(0, 50).filter(lambda number: number != 13), max_size=40), most=st.integers(1, 9))
def test_everybody_has_the_answer_to_the_own_question(numbers: list[int], most: int) -> None:
    """Whoever asks from whatever thread gets their own answer, and no batch is too large."""
    answers = Answers()

    with batching(answers, most=most) as batcher, ThreadPoolExecutor(8) as pool:
        squares = list(pool.map(lambda number: batcher.submit(number).result(SOON_S), numbers))

    assert squares == [number * number for number in numbers]
    assert sorted(number for batch in answers.batches for number in batch) == sorted(numbers)
    assert all(1 <= len(batch) <= most for batch in answers.batches)


def test_closing_amid_questions_leaves_nobody_waiting() -> None:
    """Whoever asks while another thread closes has an answer, a cancellation or a refusal."""
    for _ in range(30):
        batcher = Batcher(Answers(), most=2, name=NAME)

        def ask(number: int, batcher: Batcher[int, int] = batcher) -> object:
            """Ask, and return what comes of it."""
            try:
                return batcher.submit(number).result(SOON_S)
            except (CancelledError, RuntimeError) as error:
                return type(error)

        with ThreadPoolExecutor(8) as pool:
            outcomes = [pool.submit(ask, number) for number in range(8)]
            batcher.close()

        assert all(outcome.result(0) in {n * n, CancelledError, RuntimeError} for n, outcome in enumerate(outcomes))
