"""The languages that py3langid tells apart."""

from collections.abc import Collection
from functools import cache
from typing import Any

from plano_asgi.errors import MissingExtraError
from plano_asgi.guard.filters.languages import NO_LANGUAGE, Identify


class LanguageModel:
    """Tells the language of texts; thread-safe, and holds none of them. Some 80 MB of memory."""

    def __init__(self) -> None:
        """Load the model out of its package, which takes about a second and no network.

        Raises:
            MissingExtraError: py3langid is not installed.
        """
        try:
            from py3langid import langid  # noqa: PLC0415 - an extra
        except ImportError:
            raise MissingExtraError("languages", needed_for="the guardrail languages") from None
        model: Any = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
        self.identify: Identify = model.classify
        self._languages = frozenset(model.labels) - {NO_LANGUAGE}

    def unknown(self, languages: Collection[str]) -> list[str]:
        """Return those of some codes that it does not know."""
        return sorted(set(languages) - self._languages)


@cache
def language_model() -> LanguageModel:
    """Return the one model of this process.

    Raises:
        MissingExtraError: py3langid is not installed.
    """
    return LanguageModel()
