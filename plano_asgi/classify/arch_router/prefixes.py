"""What prompts begin with, run once: keys and values of prefixes, bounded in bytes, the least recently used dropped.

A policy's own prefix is run when the policy is prepared, or seen for the second time. The first time, its prompt reads
on from what the prompts of all policies begin with, so that calls which bring a policy of their own share one batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.classify.arch_router.session import KeyValues
from plano_asgi.classify.arch_router.tokens import Tokens

DEFAULT_BYTES: Final = 268_435_456
PREFIXES_MET: Final = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """The first tokens of a prompt, and their keys and values."""

    tokens: Tokens
    key_values: KeyValues

    def begins(self, tokens: Tokens) -> bool:
        """Return whether a prompt begins with these tokens and goes on."""
        return len(tokens) > len(self.tokens) and tokens[: len(self.tokens)] == self.tokens


class PrefixCache:
    """Prefixes by their tokens; for the inference thread alone."""

    def __init__(
        self, run: Callable[[Tokens, IsAwaited], KeyValues], *, nothing: KeyValues, most_bytes: int = DEFAULT_BYTES
    ) -> None:
        """Set the bound.

        Args:
            run: Computes keys and values; may give up, by an exception, once nobody waits.
            nothing: Those of no tokens.
            most_bytes: Bytes of keys and values that are kept, those of the pinned prefixes not counted.
        """
        self._run = run
        self._pinned: list[Prefix] = [Prefix((), nothing)]
        self._kept: LRUCache[Tokens, Prefix] = LRUCache(most_bytes, getsizeof=lambda prefix: prefix.key_values.bytes)
        self._met: LRUCache[int, bool] = LRUCache(PREFIXES_MET)  # by hash: the tokens would be megabytes

    def pin(self, *prefixes: Tokens) -> None:
        """Run prefixes and keep them, instead of those that were pinned before."""
        nothing = self._pinned[0]
        self._pinned = [nothing, *(Prefix(tokens, self._run(tokens, always_awaited)) for tokens in prefixes if tokens)]

    def of(self, prompt: Tokens, static: Tokens, is_awaited: IsAwaited = always_awaited) -> Prefix:
        """Return the prefix that a prompt reads on from.

        Args:
            prompt: All its tokens.
            static: How the prompts of its policy begin.
            is_awaited: Whether anybody still waits for its answer.
        """
        longest = max((prefix for prefix in self._pinned if prefix.begins(prompt)), key=lambda found: len(found.tokens))
        if len(static) <= len(longest.tokens) or prompt[: len(static)] != static or len(prompt) == len(static):
            return longest
        kept: Prefix | None = self._kept.get(static)
        if kept is None and self._met.pop(hash(static), False):
            kept = Prefix(static, self._run(static, is_awaited))
            if kept.key_values.bytes <= self._kept.maxsize:
                self._kept[static] = kept
        if kept is None:
            self._met[hash(static)] = True
            return longest
        return kept
