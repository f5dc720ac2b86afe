"""How long calls and the texts of answers may be."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from plano_asgi.guard.call_texts import texts_of
from plano_asgi.guard.refusals import answer_blocked
from plano_asgi.guard.verdicts import Subject, TextStep, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeFilter:
    """Blocks what is too long.

    Attributes:
        name: What callers and logs are told.
        characters: Most characters of a call's texts together, or of each text of an answer; None for any number.
        messages: Most messages of a call; None for any number.
    """

    name: str
    characters: int | None
    messages: int | None

    async def judge(self, subject: Subject) -> Verdict:
        """Return the verdict on a call."""
        if self.messages is not None and len(subject.conversation) > self.messages:
            return Verdict.blocked(f"it has more than {self.messages} messages", found={"messages": 1})
        if self.characters is not None and sum(map(len, texts_of(subject.value))) > self.characters:
            return Verdict.blocked(f"it has more than {self.characters} characters", found={"characters": 1})
        return Verdict.passed()

    def watch(self) -> "SizeWatch":
        """Return what is done with one answer."""
        return SizeWatch(self)

    async def aclose(self) -> None:
        """Do nothing."""


@dataclass(slots=True)
class SizeWatch:
    """Counts the characters of one answer's texts."""

    rule: SizeFilter
    found: Mapping[str, int] = field(default_factory=dict)

    def text(self, *, in_json: bool) -> TextStep:
        """Return what counts one text."""
        del in_json
        return _CountedText(self)

    def check(self, length: int) -> None:
        """Guarantee that a text is not too long by now."""
        most = self.rule.characters
        if most is not None and length > most:
            self.found = {"characters": 1}
            raise answer_blocked(self.rule.name, f"it has more than {most} characters")


@dataclass(slots=True)
class _CountedText:
    watch: SizeWatch
    length: int = 0

    def feed(self, piece: str) -> str:
        self.length += len(piece)
        self.watch.check(self.length)
        return piece

    def end(self) -> str:
        return ""
