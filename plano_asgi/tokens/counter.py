"""`TokenCounter`: how many tokens a call has for each model that may read it."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from threading import Lock, Thread
from time import thread_time
from types import MappingProxyType
from typing import Final

import anyio.to_thread

from plano_asgi.providers import ChatOverhead
from plano_asgi.tokens.late_tokenizer import LateTokenizer
from plano_asgi.tokens.rule import tokens_by_rule
from plano_asgi.tokens.said import Said
from plano_asgi.tokens.text_counter import Counted, LookedUp, TextCounter

TOKENS_PER_FILE: Final = 1_000
SEALED_BYTES_PER_TOKEN: Final = 4
MOST_CHARACTERS_PER_TOKEN: Final = 8  # no text of people's has more
LONG_CHARACTERS: Final = 65_536  # to read more takes longer than to hand it over to a thread
LONG_TO_TOKENIZE: Final = 512  # so does it to tokenize more, which is a hundred times slower
MANY_TEXTS: Final = 1_000  # and to look more texts up, however short

_NO_OVERHEAD: Final = ChatOverhead()


@dataclass(frozen=True, slots=True)
class ModelTokens:
    """How the tokens of one model are counted.

    Attributes:
        tokenizer: By what; None for the rule.
        overhead: What is added to the texts.
    """

    tokenizer: LateTokenizer | None = None
    overhead: ChatOverhead = _NO_OVERHEAD

    @property
    def counter(self) -> TextCounter | None:
        """What counts now; None for the rule."""
        return self.tokenizer.counter if self.tokenizer else None


BY_RULE: Final = ModelTokens()

Counters = Mapping[str, TextCounter | None]  # by qualified model; None for the rule


class TokenCounter:
    """Counts tokens of calls, by the tokenizer of the model concerned; thread-safe.

    What the tokenizers of a call's models cannot count in `deadline_s` of processor time together, the first model's
    first, is left to the rule, and so is all of it where there is no tokenizer, or it is not loaded.
    """

    def __init__(
        self, models: Mapping[str, ModelTokens] = MappingProxyType({}), *, deadline_s: float = 0.1, load_s: float = 10.0
    ) -> None:
        """Load nothing yet.

        Args:
            models: How the tokens of models are counted, by qualified model or `provider/*`; all others' by the rule.
            deadline_s: Most processor time that a call's texts are counted for.
            load_s: Most seconds that `load` blocks.
        """
        self._models = dict(models)
        self._deadline_s = deadline_s
        self._load_s = load_s
        self._loading: Thread | None = None
        self._begun_in: int | None = None
        self._lock = Lock()

    @property
    def tokenizers(self) -> tuple[LateTokenizer, ...]:
        """All that are asked for, each once."""
        return tuple({id(found): found for of in self._models.values() if (found := of.tokenizer)}.values())

    def load(self) -> None:
        """Load what is not loaded yet; blocks for `load_s` seconds at the most, and goes on beside the calls then.

        Where nobody calls this, the first count of each process begins to load, and does not wait.
        """
        self._begin()
        if self._loading:
            self._loading.join(self._load_s)

    def is_exact(self, model: str) -> bool:
        """Return whether a qualified model's own tokenizer counts now."""
        return self._of(model).counter is not None

    def has_tokenizer(self, model: str) -> bool:
        """Return whether a qualified model's own tokenizer counts, once it is loaded."""
        return self._asked_for(model).tokenizer is not None

    def counts(self, said: Said, models: Collection[str]) -> dict[str, int]:
        """Return how many tokens a call has for each of the qualified models; blocks for as long as that takes."""
        counters = self._counters(models)
        return self._counts(said, counters, _looked_up(said, counters))

    async def acounts(self, said: Said, models: Collection[str]) -> dict[str, int]:
        """Return the same as `counts`; on a thread where it takes too long for an event loop."""
        if _is_long(said):
            return await anyio.to_thread.run_sync(self.counts, said, models)
        if not self._models:
            return dict.fromkeys(models, tokens_by_rule(said.texts) + _tokens_beside(said, _NO_OVERHEAD))
        counters = self._counters(models)
        looked_up = _looked_up(said, counters)
        if _is_much_unknown(looked_up):
            return await anyio.to_thread.run_sync(self._counts, said, counters, looked_up)
        return self._counts(said, counters, looked_up)

    def least(self, said: Said, models: Collection[str]) -> dict[str, int]:
        """Return how many tokens the texts have at the least for each of the qualified models; blocks as `counts`."""
        counters = self._counters(models)
        counted = self._counted(said, counters, _looked_up(said, counters))
        known = {
            counter: found.tokens + sum(map(len, found.left)) // MOST_CHARACTERS_PER_TOKEN
            for counter, found in counted.items()
        }
        return {model: known[counter] for model, counter in counters.items()}

    async def aleast(self, said: Said, models: Collection[str]) -> dict[str, int]:
        """Return the same as `least`; on a thread where it takes too long for an event loop."""
        if self.takes_long(said, models):
            return await anyio.to_thread.run_sync(self.least, said, models)
        return self.least(said, models)

    def takes_long(self, said: Said, models: Collection[str]) -> bool:
        """Return whether counting takes too long for an event loop; what was counted before takes no time."""
        return _is_long(said) or _is_much_unknown(_looked_up(said, self._counters(models)))

    def _counters(self, models: Iterable[str]) -> Counters:
        """Return what counts the tokens of each model; None for the rule."""
        return {model: self._of(model).counter for model in models}

    def _counts(self, said: Said, counters: Counters, looked_up: Mapping[TextCounter, LookedUp]) -> dict[str, int]:
        counted = self._counted(said, counters, looked_up)
        known = {counter: found.tokens + tokens_by_rule(found.left) for counter, found in counted.items()}
        return {
            model: known[counter] + _tokens_beside(said, self._asked_for(model).overhead)
            for model, counter in counters.items()
        }

    def _counted(
        self, said: Said, counters: Counters, looked_up: Mapping[TextCounter, LookedUp]
    ) -> dict[TextCounter | None, Counted]:
        """Return how far each counter comes in the time that a call has; not at all without a tokenizer."""
        until = thread_time() + self._deadline_s if looked_up else 0.0
        return {
            counter: counter.count(looked_up[counter], until=until) if counter else Counted(0, said.texts)
            for counter in dict.fromkeys(counters.values())
        }

    def _begin(self) -> None:
        """Load what is not loaded yet on a thread; once at a time."""
        with self._lock:
            self._begun_in = os.getpid()
            missing = [tokenizer for tokenizer in self.tokenizers if tokenizer.counter is None]
            if missing and (self._loading is None or not self._loading.is_alive()):
                self._loading = Thread(target=_load, args=(missing,), name="plano-tokenizers", daemon=True)
                self._loading.start()

    def _of(self, model: str) -> ModelTokens:
        """Return how a model's tokens are counted, having seen to it that its tokenizer comes."""
        if self._models and self._begun_in != os.getpid():
            self._begin()
        return self._asked_for(model)

    def _asked_for(self, model: str) -> ModelTokens:
        if not self._models:
            return BY_RULE
        return self._models.get(model) or self._models.get(f"{model.partition('/')[0]}/*") or BY_RULE


def _looked_up(said: Said, counters: Counters) -> dict[TextCounter, LookedUp]:
    """Return what each tokenizer that is concerned has counted before."""
    return {counter: counter.look_up(said.digested) for counter in dict.fromkeys(counters.values()) if counter}


def _is_long(said: Said) -> bool:
    return len(said.texts) > MANY_TEXTS or said.characters > LONG_CHARACTERS


def _is_much_unknown(looked_up: Mapping[TextCounter, LookedUp]) -> bool:
    return any(found.unknown_characters > LONG_TO_TOKENIZE for found in looked_up.values())


def _tokens_beside(said: Said, overhead: ChatOverhead) -> int:
    return (
        overhead.message * said.messages
        + overhead.call
        + TOKENS_PER_FILE * said.files
        - (-said.sealed_bytes // SEALED_BYTES_PER_TOKEN)
    )


def _load(tokenizers: Iterable[LateTokenizer]) -> None:
    for tokenizer in tokenizers:
        tokenizer.load()
