"""Personal data and secrets: masked, blocked or reported."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from plano_asgi.guard.call_texts import changed_bytes, texts_of
from plano_asgi.guard.filters.judging import judge_texts
from plano_asgi.guard.pii import Finding, Kind, Placeholders, find_personal
from plano_asgi.guard.refusals import answer_blocked
from plano_asgi.guard.text_steps import ChangedText, JudgedText
from plano_asgi.guard.verdicts import Subject, TextStep, Verdict

MOST_MASKED_CHARS: Final = 65_536
"""How much of a streamed text is held where personal data of the answer is masked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalDataFilter:
    """Finds personal data by its form and its check digits.

    Attributes:
        name: What callers and logs are told.
        action: What is done with what is found.
        kinds: What is searched for.
        restores: Whether what is masked in a call is put back in its answer.
        deadline_s: Seconds that it may take.
    """

    name: str
    action: Literal["mask", "block", "report"]
    kinds: frozenset[Kind]
    restores: bool
    deadline_s: float

    async def judge(self, subject: Subject) -> Verdict:
        """Return the verdict on a call."""
        return await judge_texts(self, subject, deadline_s=self.deadline_s)

    def judged(self, subject: Subject, *, until: float) -> Verdict:
        """Return the verdict on a call; takes time in proportion to its length, whatever it says."""
        del until
        if self.action == "mask":
            return self._masked(subject)
        found = _counted(value for text in texts_of(subject.value) for value in _found_in(text, self.kinds))
        if found and self.action == "block":
            return Verdict.blocked(f"it holds {', '.join(sorted(found))}", found=found)
        return Verdict.passed(found=found)

    def watch(self) -> "PersonalDataWatch":
        """Return what is done with one answer."""
        return PersonalDataWatch(self)

    async def aclose(self) -> None:
        """Do nothing."""

    def _masked(self, subject: Subject) -> Verdict:
        placeholders = Placeholders(texts_of(subject.value), kinds=self.kinds)
        body = changed_bytes(subject.body, placeholders.mask)
        if body is subject.body:
            return Verdict.passed()
        found = {kind.value: count for kind, count in placeholders.found.items()}
        return Verdict(body=body, found=found, placeholders=placeholders if self.restores else None)


@dataclass(slots=True)
class PersonalDataWatch:
    """What is done with the personal data of one answer."""

    rule: PersonalDataFilter
    _seen: set[tuple[Kind, str]] = field(default_factory=set, repr=False)

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
        new = [one for one in find_personal(text, self.rule.kinds) if one.end > judged]
        self._note(text, new)
        if new and self.rule.action == "block":
            raise answer_blocked(self.rule.name, f"it holds {', '.join(sorted({one.kind.value for one in new}))}")

    def _mask(self, text: str) -> str:
        parts, end = [], 0
        found = find_personal(text, self.rule.kinds)
        self._note(text, found)
        for one in found:
            parts += [text[end : one.start], f"[{one.kind.label}]"]
            end = one.end
        return "".join((*parts, text[end:]))

    def _note(self, text: str, found: Collection[Finding]) -> None:
        self._seen.update((one.kind, text[one.start : one.end]) for one in found)


def _found_in(text: str, kinds: frozenset[Kind]) -> list[tuple[Kind, str]]:
    return [(one.kind, text[one.start : one.end]) for one in find_personal(text, kinds)]


def _counted(values: Iterable[tuple[Kind, str]]) -> Mapping[str, int]:
    return Counter(kind.value for kind, _ in set(values))
