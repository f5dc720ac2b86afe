"""Languages: which of them users may write in."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Final

from plano_asgi.conversation import Message, Role
from plano_asgi.guard.filters.judging import judge_texts
from plano_asgi.guard.verdicts import Subject, Verdict

Identify = Callable[[str], tuple[str, float]]
"""Returns the ISO 639 code of a text's language, and in [0, 1] how sure that is."""

WINDOW: Final = 2_048
UNSURE: Final = "unsure"
NO_LANGUAGE: Final = "zxx"
_NO_PROSE: Final = re.compile(r"```[\s\S]*?```|`[^`\n]{1,200}`|https?://\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageFilter:
    """Blocks or reports calls in which a user surely writes in a language that is not wanted.

    Every 2,048 characters of what users say are judged by themselves; code between backticks and URLs are not read. A
    call in which users say nothing else is in no language surely.

    Attributes:
        name: What callers and logs are told.
        blocks: Whether that blocks; else it is reported.
        allow: The languages that may be written in; none where all may that are not denied.
        deny: Those that may not.
        threshold: How sure it has to be which language a text is in; in [0, 1].
        blocks_unsure: Whether a call blocks in which that is sure of no text; else it passes, and is reported.
        deadline_s: Seconds that it may take.
        identify: Tells the language.
    """

    name: str
    blocks: bool
    allow: frozenset[str]
    deny: frozenset[str]
    threshold: float
    blocks_unsure: bool
    deadline_s: float
    identify: Identify

    async def judge(self, subject: Subject) -> Verdict:
        """Return the verdict on a call."""
        return await judge_texts(self, subject, deadline_s=self.deadline_s)

    def judged(self, subject: Subject, *, until: float) -> Verdict:
        """Return the verdict on a call.

        Raises:
            TimeoutError: It is later than `until`.
        """
        told = [self._identified(text, until) for text in _texts(subject)]
        sure = {language for language, sureness in told if sureness >= self.threshold}
        if unwanted := sorted(language for language in sure - {NO_LANGUAGE} if not self._may_be(language)):
            return self._found(dict.fromkeys(unwanted, 1), f"it is written in {', '.join(unwanted)}")
        if not sure and (told or any(message.text.strip() for message in _of_users(subject))):
            return self._unsure()
        return Verdict.passed()

    async def aclose(self) -> None:
        """Do nothing."""

    def _may_be(self, language: str) -> bool:
        return language not in self.deny and (not self.allow or language in self.allow)

    def _identified(self, text: str, until: float) -> tuple[str, float]:
        if monotonic() > until:
            raise TimeoutError
        return self.identify(text)

    def _unsure(self) -> Verdict:
        found = {UNSURE: 1}
        what = "it is not sure which language it is written in; write more than a few words"
        return self._found(found, what) if self.blocks_unsure else Verdict.passed(found=found)

    def _found(self, found: dict[str, int], what: str) -> Verdict:
        return Verdict.blocked(what, found=found) if self.blocks else Verdict.passed(found=found)


def _of_users(subject: Subject) -> Iterator[Message]:
    return (message for message in subject.conversation if message.role is Role.USER)


def _texts(subject: Subject) -> Iterator[str]:
    """Yield what users say, in parts, without code and URLs."""
    for message in _of_users(subject):
        prose = _NO_PROSE.sub(" ", message.text).strip()
        yield from (prose[start : start + WINDOW] for start in range(0, len(prose), WINDOW))
