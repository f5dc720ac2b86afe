"""The ways to a decision that are compared, on one graph and over the same tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from plano_asgi.classify.arch_router.bundle import Bundle
from plano_asgi.classify.arch_router.completion_tree import CompletionTree
from plano_asgi.classify.arch_router.engine import Question
from plano_asgi.classify.arch_router.rows import Row
from plano_asgi.classify.arch_router.session import CausalSession, KeyValues

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Lengths:
    """Tokens of one decision.

    Attributes:
        static: What all prompts of the policy begin with.
        conversation: What was said.
        instructions: The fixed instructions, which stand behind the conversation or in front of it.
        answer: A generated answer with its end token.
    """

    static: int = 256
    conversation: int = 115
    instructions: int = 185
    answer: int = 10

    @property
    def dynamic(self) -> int:
        """Tokens behind the static ones, in the order the model was trained on."""
        return self.conversation + self.instructions

    @property
    def prompt(self) -> int:
        """All tokens of a prompt."""
        return self.static + self.dynamic


@dataclass(frozen=True)
class Way:
    """One way to a decision.

    Attributes:
        decide: Takes a fresh prompt of `new` tokens and decides.
        new: Prompt tokens that have to be read for each decision.
        passes: Runs of the graph.
    """

    decide: Callable[[Tokens], object]
    new: int
    passes: int


class Workload:
    """Prompts of random tokens, and completions that part ways after five tokens, as `{"route": "` does."""

    def __init__(self, bundle: Bundle, session: CausalSession, lengths: Lengths, *, routes: int, seed: int = 1) -> None:
        """Run the prefixes.

        Args:
            bundle: The graph's bundle.
            session: Runs it.
            lengths: Tokens of one decision.
            routes: Candidates, none of the routes not counted.
            seed: Draws tokens.
        """
        self._random = np.random.default_rng(seed)
        self._vocabulary = min(bundle.vocabulary, 49_000)
        self._session = session
        self.lengths = lengths
        forced, tails = self.tokens(5), [self.tokens(lengths.answer - 6) for _ in range(routes + 1)]
        self.tree = CompletionTree.build([forced + tail for tail in tails], end=bundle.end_tokens[0])
        self.static = self.tokens(lengths.static)
        self._prefix = session.extended(self.static, session.nothing)
        self._long_prefix = session.extended(self.tokens(lengths.instructions), self._prefix)

    def tokens(self, count: int) -> Tokens:
        """Return random tokens."""
        return tuple(int(token) for token in self._random.integers(3, self._vocabulary, count))

    def question(self) -> Question:
        """Return a question for the engine."""
        return Question(self.static + self.tokens(self.lengths.dynamic), self.static, self.tree)

    def ways(self) -> Mapping[str, Way]:
        """Return the ways to a decision, the usual one first."""
        lengths = self.lengths
        nothing, prefix, long_prefix = self._session.nothing, self._prefix, self._long_prefix
        return {
            "full prompt, generated": Way(
                lambda new: self._generate(self.static + new, nothing), lengths.dynamic, lengths.answer
            ),
            "prefix kept, generated": Way(lambda new: self._generate(new, prefix), lengths.dynamic, lengths.answer),
            "prefix kept, one pass": Way(lambda new: self._score(new, prefix), lengths.dynamic, 1),
            "instructions first, one pass": Way(lambda new: self._score(new, long_prefix), lengths.conversation, 1),
            "instructions first, short": Way(lambda new: self._score(new, long_prefix), lengths.conversation // 3, 1),
        }

    def read_tokens(self, name: str) -> int:
        """Return how many prompt and answer tokens a way runs through the model."""
        answer = len(self.tree.forced) + len(self.tree.tokens)
        generated = self.lengths.answer - 1
        new = self.ways()[name].new
        if name.startswith("full"):
            return self.lengths.prompt + generated
        return new + (generated if "generated" in name else answer)

    def _score(self, new: Tokens, prefix: KeyValues) -> object:
        (logits,) = self._session.run([Row.of(new, self.tree)], prefix)
        return self.tree.scores(logits, temperature=1.0)

    def _generate(self, new: Tokens, key_values: KeyValues) -> object:
        """Return as many tokens as an answer has; each is the likeliest one."""
        token = 0
        for _ in range(self.lengths.answer):
            key_values, logits = self._session.read(new, key_values)
            token = int(logits.argmax())
            new = (token,)
        return token
