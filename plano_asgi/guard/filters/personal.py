"""Personal data and secrets: masked, blocked or reported."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from time import monotonic
from typing import Final, Literal, Protocol

from plano_asgi.guard.call_texts import changed_bytes, texts_of
from plano_asgi.guard.filters.judging import judge_texts
from plano_asgi.guard.pii import Finding, Kind, Placeholders, find_personal, label_of
from plano_asgi.guard.refusals import answer_blocked
from plano_asgi.guard.text_steps import ChangedText, JudgedText
from plano_asgi.guard.threads import OwnThreads
from plano_asgi.guard.verdicts import Subject, TextStep, Verdict

MOST_MASKED_CHARS: Final = 65_536
"""How much of a streamed text is held where personal data of the answer is masked."""


class Detector(Protocol):
    """What finds personal data."""

    def find(self, text: str, *, until: float) -> Sequence[Finding]:
        """Return what a text holds, in its order; findings do not overlap.

        Raises:
            TimeoutError: It is later than `until`, by `time.monotonic`.
        """


@dataclass(frozen=True, slots=True)
class FormDetector:
    """Finds personal data of some kinds by its form and its check digits; a text twice as long takes twice as long."""

    kinds: frozenset[Kind]

    def find(self, text: str, *, until: float) -> Sequence[Finding]:
        """Return what a text holds, in its order; findings do not overlap.

        Raises:
            TimeoutError: It is later than `until`, by `time.monotonic`.
        """
        if monotonic() > until:
            raise TimeoutError
        return find_personal(text, self.kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalDataFilter:
    """Masks, blocks or reports the personal data that a detector finds.

    Attributes:
        name: What callers and logs are told.
        action: What is done with what is found.
        detector: Finds it.
        restores: Whether what is masked in a call is put back in its answer.
        deadline_s: Seconds that it may take.
        threads: Where it is searched for; None where that takes little time.
    """

    name: str
    action: Literal["mask", "block", "report"]
    detector: Detector
    restores: bool
    deadline_s: float
    threads: OwnThreads | None = None

    async def judge(self, subject: Subject) -> Verdict:
        """Return the verdict on a call."""
        return await judge_texts(self, subject, deadline_s=self.deadline_s, threads=self.threads)

    def judged(self, subject: Subject, *, until: float) -> Verdict:
        """Return the verdict on a call.

        Raises:
            TimeoutError: It is later than `until`.
        """
        find = partial(self.detector.find, until=until)
        if self.action == "mask":
            placeholders = Placeholders(texts_of(subject.value), find=find)
            return self._masked(subject, placeholders)
        found = _counted(value for text in texts_of(subject.value) for value in _values(text, find(text)))
        if found and self.action == "block":
            return Verdict.blocked(f"it holds {', '.join(sorted(found))}", found=found)
        return Verdict.passed(found=found)

    def watch(self) -> "PersonalDataWatch":
        """Return what is done with one answer."""
        return PersonalDataWatch(self)

    async def aclose(self) -> None:
        """Do nothing."""

    def _masked(self, subject: Subject, placeholders: Placeholders) -> Verdict:
        body = changed_bytes(subject.body, placeholders.mask)
        if body is subject.body:
            return Verdict.passed()
        return Verdict(body=body, found=placeholders.found, placeholders=placeholders if self.restores else None)


@dataclass(slots=True)
class PersonalDataWatch:
    """What is done with the personal data of one answer."""

    rule: PersonalDataFilter
    _seen: set[tuple[str, str]] = field(default_factory=set, repr=False)

    @property
    def found(self) -> Mapping[str, int]:
        """How many different values of each kind there were."""
        return _counted(self._seen)

    def text(self, *, in_json: bool) -> TextStep:
        """Return what is done with one text."""
        del in_json  # no value that is found has a character that JSON escapes
        if self.rule.action == "mask":
            return ChangedText(self._mask, most_chars=MOST_MASKED_CHARS)
        return JudgedText(self._judge)

    def _judge(self, text: str, judged: int) -> None:
        new = [one for one in self.rule.detector.find(text, until=inf) if one.end > judged]
        self._note(text, new)
        if new and self.rule.action == "block":
            raise answer_blocked(self.rule.name, f"it holds {', '.join(sorted({str(one.kind) for one in new}))}")

    def _mask(self, text: str) -> str:
        parts, end = [], 0
        found = self.rule.detector.find(text, until=inf)
        self._note(text, found)
        for one in found:
            parts += [text[end : one.start], f"[{label_of(one.kind)}]"]
            end = one.end
        return "".join((*parts, text[end:]))

    def _note(self, text: str, found: Collection[Finding]) -> None:
        self._seen.update(_values(text, found))


def _values(text: str, found: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(one.kind, text[one.start : one.end]) for one in found]


def _counted(values: Iterable[tuple[str, str]]) -> Mapping[str, int]:
    return Counter(str(kind) for kind, _ in set(values))
