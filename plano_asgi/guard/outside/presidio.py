"""Personal data as Presidio finds it: with its patterns, and with models of spaCy that know names and places.

Presidio is asked where things are, and no more: what is put in their place, and put back, is decided here.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from math import inf
from pathlib import Path
from time import monotonic
from typing import Final, Protocol

from plano_asgi.errors import ConfigurationError, Fault, MissingExtraError
from plano_asgi.guard.pii import Finding
from plano_asgi.guard.pii.placeholders import PLACEHOLDER

NO_MODEL: Final = "no_op"
_EVERYTHING_LOADED_BY: Final = (
    "Call 212-555-5555 or write to anna@example.org."  # what Presidio loads when it is needed
)
WINDOW: Final = 1_024
OVERLAP: Final = 256


class Analyzed(Protocol):
    """One thing that Presidio has found."""

    entity_type: str
    start: int
    end: int
    score: float


class Analyzer(Protocol):
    """What is used of Presidio's `AnalyzerEngine`."""

    def analyze(
        self, text: str, language: str, *, entities: list[str] | None, score_threshold: float
    ) -> Sequence[Analyzed]:
        """Return what a text holds, in any order, with overlaps."""

    def get_supported_entities(self, language: str) -> list[str]:
        """Return what can be found."""


class PresidioDetector:
    """Finds personal data in each of several languages; thread-safe.

    Texts are searched in windows of 1,024 characters: while one pattern is searched for in one window, nothing else of
    the process runs, and the deadline is looked at between two. Where findings overlap, the one with the higher score
    holds, of two alike the longer one. Placeholders that stand in a text are nobody's data.
    """

    def __init__(self, analyzers: Mapping[str, Analyzer], *, entities: Sequence[str], threshold: float) -> None:
        """Take what finds in each language.

        Args:
            analyzers: By language.
            entities: What is searched for; nothing for all that can be found.
            threshold: Least score, in [0, 1].
        """
        self._analyzers: Final = analyzers
        self._entities: Final = frozenset(entities)
        self._threshold: Final = threshold
        self._searched: Final = {
            language: sorted(self._entities.intersection(analyzer.get_supported_entities(language)))
            for language, analyzer in analyzers.items()
        }

    def unknown(self) -> list[str]:
        """Return those of the entities that can be found in none of the languages."""
        return sorted(self._entities.difference(*self._searched.values()))

    def find(self, text: str, *, until: float) -> tuple[Finding, ...]:
        """Return what personal data a text holds, in its order; findings do not overlap.

        Raises:
            TimeoutError: It is later than `until`, by `time.monotonic`.
        """
        taken = bytearray(len(text))
        for placeholder in PLACEHOLDER.finditer(text):
            taken[placeholder.start() : placeholder.end()] = b"\1" * len(placeholder.group())
        found = []
        for _, one in sorted(
            self._scored(text, until), key=lambda scored: (-scored[0], scored[1].start - scored[1].end)
        ):
            if 1 not in taken[one.start : one.end]:
                taken[one.start : one.end] = b"\1" * (one.end - one.start)
                found.append(one)
        return tuple(sorted(found, key=lambda one: one.start))

    def _scored(self, text: str, until: float) -> Iterable[tuple[float, Finding]]:
        for start in range(0, max(1, len(text) - OVERLAP), WINDOW):
            for language, analyzer in self._analyzers.items():
                if monotonic() > until:
                    raise TimeoutError
                window = text[start : start + WINDOW + OVERLAP]
                for one in self._analyzed(window, language, analyzer):
                    yield one.score, Finding(one.entity_type.lower(), start + one.start, start + one.end)

    def _analyzed(self, text: str, language: str, analyzer: Analyzer) -> Sequence[Analyzed]:
        searched = self._searched[language]
        if self._entities and not searched:
            return ()
        return analyzer.analyze(text, language, entities=searched or None, score_threshold=self._threshold)


def presidio_detector(
    *, languages: Sequence[str], models: Mapping[str, str], entities: Sequence[str], threshold: float, where: str
) -> PresidioDetector:
    """Return a detector with its models loaded, which takes seconds; asks no network, now or later.

    Args:
        languages: Of the texts.
        models: The spaCy model of a language; one without has patterns only.
        entities: What is searched for; nothing for all that can be found.
        threshold: Least score, in [0, 1].
        where: The place of the guardrail in the settings.

    Raises:
        MissingExtraError: presidio-analyzer is not installed.
        ConfigurationError: A model is not installed, or an entity is not known.
    """
    try:
        import presidio_analyzer  # noqa: F401, PLC0415 - an extra, and slow to import
    except ImportError:
        raise MissingExtraError("presidio", needed_for="the guardrail presidio") from None
    missing = {language: model for language, model in models.items() if not _is_installed(model)}
    if missing:
        what = "is not installed; install this model of spaCy, e.g. with python -m spacy download"
        raise ConfigurationError([Fault(where=f"{where}.models.{language}", what=what) for language in missing])
    _keep_off_the_network()
    analyzers = {language: _analyzer(language, models.get(language)) for language in languages}
    detector = PresidioDetector(analyzers, entities=entities, threshold=threshold)
    if unknown := detector.unknown():
        what = f"{', '.join(unknown)}: found in none of the languages with these models; remove it or add a model"
        raise ConfigurationError([Fault(where=f"{where}.entities", what=what)])
    detector.find(_EVERYTHING_LOADED_BY, until=inf)
    return detector


def _is_installed(model: str) -> bool:
    """Return whether a model is there; Presidio would download it otherwise."""
    from spacy.util import is_package  # noqa: PLC0415 - comes with presidio-analyzer

    return Path(model).exists() or bool(is_package(model))


def _keep_off_the_network() -> None:
    """Let addresses be checked by the list of domains that tldextract brings along, not by the latest one."""
    from tldextract import tldextract  # noqa: PLC0415 - comes with presidio-analyzer

    tldextract.TLD_EXTRACTOR.suffix_list_urls = ()


@cache  # those of one process; they hold no text
def _analyzer(language: str, model: str | None) -> Analyzer:
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # noqa: PLC0415 - same
    from presidio_analyzer.nlp_engine import NoOpNlpEngine, SpacyNlpEngine  # noqa: PLC0415 - same

    models = [{"lang_code": language, "model_name": model or NO_MODEL}]
    engine = SpacyNlpEngine(models=models) if model else NoOpNlpEngine(models=models)
    engine.load()
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language], nlp_engine=engine)
    analyzer: Analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])
    return analyzer
