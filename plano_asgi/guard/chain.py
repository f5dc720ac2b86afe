"""Filters in a row, each within its deadline; one that fails is no reason to let a call pass, unless that is said."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import anyio

from plano_asgi.errors import GuardrailError, PlanoError
from plano_asgi.events import GUARDRAIL, get_logger
from plano_asgi.guard.refusals import answer_blocked, call_blocked, not_judged
from plano_asgi.guard.verdicts import AnswerWatch, Filter, Subject, TextFilter, Verdict

_STATUSES: Final = range(400, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """One filter, and what holds of it.

    Attributes:
        name: What callers and logs are told.
        filter: What judges.
        texts: The same, where it judges an answer's texts as they come; None where it needs all of the answer.
        deadline_s: Seconds that it may take.
        fails_open: Whether what it cannot judge passes.
    """

    name: str
    filter: Filter
    texts: TextFilter | None = None
    deadline_s: float
    fails_open: bool

    async def verdict(self, subject: Subject) -> Verdict:
        """Return what the filter says, or what holds where it fails; tells the log, never the body's words.

        Raises:
            GuardrailError: The body is blocked, or cannot be judged and may not pass.
        """
        started = perf_counter()
        try:
            with anyio.fail_after(self.deadline_s):
                verdict = await self.filter.judge(subject)
        except TimeoutError:
            return self._failed(subject, "deadline", started)
        except Exception as error:  # noqa: BLE001 - whatever a filter does, its stance says what holds
            told = f": {error}" if isinstance(error, PlanoError) else ""
            return self._failed(subject, f"{type(error).__name__}{told}", started)
        self._tell(subject, verdict.word, verdict.found, started)
        if verdict.is_blocked:
            raise self._refusal(subject, verdict)
        return verdict

    def unusable(self, subject: Subject, why: str) -> None:
        """Note that the filter has made of a body what is none of its API.

        Raises:
            GuardrailError: The body may not pass.
        """
        self._failed(subject, why, perf_counter())

    def concluded(self, subject: Subject, watch: AnswerWatch, *, is_blocked: bool) -> None:
        """Tell the log what was found in the texts of an answer."""
        if is_blocked or watch.found:
            self._tell(subject, "blocked" if is_blocked else "reported", watch.found, perf_counter())

    def _failed(self, subject: Subject, why: str, started: float) -> Verdict:
        word = "failed_open" if self.fails_open else "failed_closed"
        self._tell(subject, word, {}, started, error=why)
        if self.fails_open:
            return Verdict.passed()
        raise not_judged(self.name, "it took too long" if why == "deadline" else "it failed")

    def _tell(
        self, subject: Subject, word: str, found: Mapping[str, int], started: float, error: str | None = None
    ) -> None:
        if word == "passed":
            return
        tell = get_logger().warning if error else get_logger().info
        tell(
            GUARDRAIL,
            filter=self.name,
            api_format=subject.api_format.value,
            of="answer" if subject.is_answer else "call",
            verdict=word,
            found=dict(found),
            duration_ms=round((perf_counter() - started) * 1000, 2),
            **({"error": error} if error else {}),
        )

    def _refusal(self, subject: Subject, verdict: Verdict) -> GuardrailError:
        reason = "".join(sign for sign in verdict.reason if sign.isprintable()) or "no reason given"
        if subject.is_answer:
            return answer_blocked(self.name, reason)
        status = verdict.status if verdict.status in _STATUSES else 403
        return call_blocked(self.name, reason, status=status)


@dataclass(frozen=True, slots=True)
class Chain:
    """The guardrails of calls and of answers, each in its order."""

    calls: tuple[Guardrail, ...] = ()
    answers: tuple[Guardrail, ...] = ()

    def __add__(self, other: "Chain") -> "Chain":
        """Return both, this one first."""
        return Chain((*self.calls, *other.calls), (*self.answers, *other.answers))

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        for guardrail in (*self.calls, *self.answers):
            await guardrail.filter.aclose()


def with_texts(guardrails: Iterable[Guardrail]) -> bool:
    """Return whether all of them judge texts as they come."""
    return all(guardrail.texts for guardrail in guardrails)
