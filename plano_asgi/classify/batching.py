"""Micro-batches: what is asked while the model is busy is answered together, on one thread."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")
_Result = TypeVar("_Result")


class Batcher(Generic[_Question, _Answer]):
    """Collects questions while a batch runs; a lone question is not kept waiting for company. Thread-safe.

    It holds no more questions than there are threads that ask, since each waits for its answer.
    """

    def __init__(
        self, answer: Callable[[Sequence[_Question]], Sequence[_Answer | Exception]], *, most: int, name: str
    ) -> None:
        """Set what answers a batch.

        Args:
            answer: Returns for each question its answer, or why there is none.
            most: Questions in one batch.
            name: Name of the thread.
        """
        self._answer = answer
        self._most = most
        self._waiting: deque[tuple[_Question, Future[_Answer]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def submit(self, question: _Question) -> Future[_Answer]:
        """Return the future answer; cancelled before its batch begins, it costs nothing.

        Raises:
            RuntimeError: The batcher is closed.
        """
        future: Future[_Answer] = Future()
        self._waiting.append((question, future))
        self._thread.submit(self._answer_batch)
        return future

    def call(self, work: Callable[[], _Result]) -> Future[_Result]:
        """Return the future result of other work that needs the same thread.

        Raises:
            RuntimeError: The batcher is closed.
        """
        return self._thread.submit(work)

    def close(self) -> None:
        """Take no more questions, and cancel those that wait; a batch that has begun is answered."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        while taken := self._taken():
            taken[1].cancel()

    def _taken(self) -> tuple[_Question, Future[_Answer]] | None:
        """Return what has waited longest, or None; the thread and `close` may both take the last."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _answer_batch(self) -> None:
        """Answer what waits; the batch before may have taken it along already."""
        batch: list[tuple[_Question, Future[_Answer]]] = []
        while len(batch) < self._most and (taken := self._taken()):
            question, future = taken
            if future.set_running_or_notify_cancel():
                batch.append((question, future))
        if not batch:
            return
        futures = [future for _, future in batch]
        try:
            answered = list(zip(futures, self._answer([question for question, _ in batch]), strict=True))
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
            problem = error if isinstance(error, Exception) else RuntimeError(repr(error))
            answered = [(future, problem) for future in futures]
        for future, answer in answered:
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
