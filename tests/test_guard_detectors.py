"""Personal data that another detector finds: masked, put back, blocked and reported as our own is."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic
from typing import Final, Literal

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import MissingExtraError
from plano_asgi.guard.filters import PersonalDataFilter
from plano_asgi.guard.outside.presidio import OVERLAP, WINDOW, PresidioDetector, presidio_detector
from plano_asgi.guard.pii import Placeholders, TextRestorer
from plano_asgi.guard.threads import OwnThreads
from plano_asgi.guard.verdicts import Subject, Verdict

NAMES: Final = ("Anna Schmidt", "Li Wei", "Anna")


@dataclass
class Found:
    """One thing that was found."""

    entity_type: str
    start: int
    end: int
    score: float


class Register:
    """Finds names that it knows, as Presidio's engine would tell them."""

    def __init__(self, entity: str, names: Sequence[str], score: float) -> None:
        """Know names."""
        self.entity, self.names, self.score = entity, names, score
        self.longest = 0

    def analyze(
        self, text: str, language: str, *, entities: list[str] | None, score_threshold: float
    ) -> Sequence[Found]:
        """Return where they stand."""
        self.longest = max(self.longest, len(text))
        if self.score < score_threshold or (entities is not None and self.entity not in entities):
            return []
        return [
            Found(self.entity, at, at + len(name), self.score)
            for name in self.names
            for at in range(len(text))
            if text.startswith(name, at)
        ]

    def get_supported_entities(self, language: str) -> list[str]:
        """Return the one kind."""
        return [self.entity]


def detector(*registers: Register, entities: Sequence[str] = (), threshold: float = 0.4) -> PresidioDetector:
    """Return a detector that asks several registers."""
    return PresidioDetector({str(n): one for n, one in enumerate(registers)}, entities=entities, threshold=threshold)


PERSONS: Final = detector(Register("PERSON", NAMES, 0.85))


def found(searching: PresidioDetector, text: str) -> list[tuple[str, str]]:
    """Return kinds and words of what is found."""
    return [(one.kind, text[one.start : one.end]) for one in searching.find(text, until=inf)]


def judged(text: str, action: Literal["mask", "block", "report"], *, deadline_s: float = 1) -> Verdict:
    """Return the verdict on a call."""
    value = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    subject = Subject(
        api_format=ApiFormat.CHAT_COMPLETIONS, path="/v1/chat/completions", body=json.dumps(value).encode(), value=value
    )
    rule = PersonalDataFilter(
        name="presidio",
        action=action,
        detector=PERSONS,
        restores=True,
        deadline_s=deadline_s,
        threads=OwnThreads(),
    )
    return anyio.run(rule.judge, subject)


def test_the_higher_score_holds_and_of_two_alike_the_longer() -> None:
    """Findings do not overlap, whichever language they come from."""
    places = Register("LOCATION", ["Schmidt in Bonn", "Bonn"], 0.9)

    assert found(PERSONS, "Anna Schmidt, Anna") == [("person", "Anna Schmidt"), ("person", "Anna")]
    assert found(detector(Register("PERSON", NAMES, 0.85), places), "Anna Schmidt in Bonn") == [
        ("person", "Anna"),
        ("location", "Schmidt in Bonn"),
    ]


def test_only_what_is_asked_for_is_found() -> None:
    """Entities and the least score choose; an entity that nobody can find is known."""
    both = [Register("PERSON", NAMES, 0.5), Register("LOCATION", ["Bonn"], 0.5)]

    assert found(detector(*both, entities=["LOCATION"]), "Anna in Bonn") == [("location", "Bonn")]
    assert found(detector(*both, threshold=0.6), "Anna in Bonn") == []
    assert detector(*both, entities=["LOCATION", "US_SSN"]).unknown() == ["US_SSN"]


def test_a_placeholder_is_nobodys_name() -> None:
    """What an earlier guardrail has put into a text is left alone."""
    eager = detector(Register("PERSON", ["EMAIL_1", "[EMAIL_1], Anna"], 1.0), Register("PERSON", ["Anna"], 0.5))

    assert found(eager, "write to [EMAIL_1], Anna") == [("person", "Anna")]


@settings(max_examples=60, deadline=None)
@given(before=st.integers(0, 3 * WINDOW), after=st.integers(0, 2 * WINDOW))
def test_a_name_is_found_wherever_it_stands(before: int, after: int) -> None:
    """Long texts are searched in windows of a bounded length, between which nothing is lost."""
    register = Register("PERSON", NAMES, 0.85)
    text = "." * before + "Anna Schmidt" + "." * after

    assert found(detector(register), text) == [("person", "Anna Schmidt")]
    assert register.longest <= WINDOW + OVERLAP


def test_a_search_that_is_too_late_ends() -> None:
    """No window is searched after the deadline, and the call is not judged."""
    register = Register("PERSON", NAMES, 0.85)
    with pytest.raises(TimeoutError):
        detector(register).find("Anna" * 10_000, until=monotonic() - 1)

    assert register.longest == 0
    with pytest.raises(TimeoutError):
        judged("Anna " * 20_000, "mask", deadline_s=0.0)


def test_what_is_found_is_masked_and_put_back() -> None:
    """Values get placeholders by the name of their kind, and answers get them back, however they are cut."""
    verdict = judged("Anna Schmidt met Li Wei and Anna; what is [PERSON_1]?", "mask")

    assert verdict.body is not None
    text = json.loads(verdict.body)["messages"][0]["content"]
    assert text == "[PERSON_2] met [PERSON_3] and [PERSON_4]; what is [PERSON_1]?"
    assert verdict.found == {"person": 3}
    assert verdict.placeholders is not None
    restorer = TextRestorer(verdict.placeholders)
    told = "".join(restorer.feed(sign) for sign in text) + restorer.end()
    assert told == "Anna Schmidt met Li Wei and Anna; what is [PERSON_1]?"


def test_what_is_found_is_blocked_or_reported() -> None:
    """A refusal names the kinds and not the values; a report changes nothing."""
    blocked, reported = judged("Anna met Anna", "block"), judged("Anna met Li Wei", "report")

    assert (blocked.is_blocked, blocked.reason, blocked.found) == (True, "it holds person", {"person": 1})
    assert (reported.is_blocked, reported.body, reported.found) == (False, None, {"person": 2})
    assert judged("nobody", "block") == Verdict.passed()


@given(st.lists(st.sampled_from(["[US_SSN_1]", "[A1B_22]", "[", "]", "[US_", "_1", "x", "[US_SSN_", "7]"])))
def test_names_of_every_form_are_held_back_until_they_are_whole(pieces: list[str]) -> None:
    """A stream of placeholders with digits and underscores in their names is restored as the whole text is."""
    known = Placeholders([], find=partial(detector(Register("US_SSN", ["078-05-1120"], 1.0)).find, until=inf))
    masked = known.mask("078-05-1120")
    restorer = TextRestorer(known)

    assert masked == "[US_SSN_1]"
    assert "".join(map(restorer.feed, pieces)) + restorer.end() == known.restore("".join(pieces))


def test_missing_library_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Presidio the error names what to install."""
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)

    with pytest.raises(MissingExtraError, match=r"plano-asgi\[presidio\]"):
        presidio_detector(languages=["en"], models={}, entities=(), threshold=0.4, where="here")
