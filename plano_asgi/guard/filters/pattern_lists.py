"""Patterns that nothing may say, and those without which nothing passes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from plano_asgi.guard.bounded_patterns import BoundedPattern, first_found
from plano_asgi.guard.call_texts import texts_of
from plano_asgi.guard.filters.judging import judge_texts
from plano_asgi.guard.refusals import answer_blocked
from plano_asgi.guard.text_steps import JudgedText
from plano_asgi.guard.verdicts import Subject, TextStep, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternFilter:
    """Blocks or reports what a denied pattern is found in, and calls in which no allowed one is.

    Attributes:
        name: What callers and logs are told.
        blocks: Whether that blocks; else it is reported.
        deny: What no text may hold.
        allow: Of which a call has to hold one, where there are any.
        deadline_s: Seconds that it may take.
    """

    name: str
    blocks: bool
    deny: tuple[BoundedPattern, ...]
    allow: tuple[BoundedPattern, ...]
    deadline_s: float

    async def judge(self, subject: Subject) -> Verdict:
        """Return the verdict on a call."""
        return await judge_texts(self, subject, deadline_s=self.deadline_s)

    def judged(self, subject: Subject, *, until: float) -> Verdict:
        """Return the verdict on a call.

        Raises:
            TimeoutError: It is later than `until`.
        """
        texts = tuple(texts_of(subject.value))
        for text in texts:
            if (number := first_found(self.deny, text, until=until)) is not None:
                return self._found(f"deny[{number}]")
        if self.allow and all(first_found(self.allow, text, until=until) is None for text in texts):
            return self._found("allow")
        return Verdict.passed()

    def watch(self) -> "PatternWatch":
        """Return what is done with one answer."""
        return PatternWatch(self)

    async def aclose(self) -> None:
        """Do nothing."""

    def _found(self, which: str) -> Verdict:
        return Verdict.blocked(which, found={which: 1}) if self.blocks else Verdict.passed(found={which: 1})


@dataclass(slots=True)
class PatternWatch:
    """What is done with one answer."""

    rule: PatternFilter
    found: Mapping[str, int] = field(default_factory=dict)

    def text(self, *, in_json: bool) -> TextStep:
        """Return what judges one text."""
        del in_json
        return JudgedText(self._judge)

    def _judge(self, text: str, judged: int) -> None:
        number = first_found(self.rule.deny, text, since=judged)
        if number is None:
            return
        self.found = {**self.found, f"deny[{number}]": 1}
        if self.rule.blocks:
            raise answer_blocked(self.rule.name, f"deny[{number}]")
