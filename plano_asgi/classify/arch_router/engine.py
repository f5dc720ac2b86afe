"""Batches of questions through the graph; everything here runs on the one inference thread."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.classify.arch_router.completion_tree import CompletionTree
from plano_asgi.classify.arch_router.prefixes import DEFAULT_BYTES, Prefix, PrefixCache
from plano_asgi.classify.arch_router.rows import Row
from plano_asgi.classify.arch_router.session import NOBODY_WAITS, CausalSession
from plano_asgi.classify.arch_router.tokens import Tokens, check_length
from plano_asgi.errors import ClassificationError, ClassifierTimeoutError

BATCH_TOKENS_CPU: Final = 512  # a longer batch only delays those who are in it
BATCH_TOKENS_CUDA: Final = 32_768

Scored = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One prompt and what may be answered.

    Attributes:
        prompt: All tokens of the prompt.
        static: How the prompts of its policy begin.
        tree: The completions to be scored.
        is_awaited: Whether anybody still waits for the answer; asked before each further piece of a long prompt.
    """

    prompt: Tokens
    static: Tokens
    tree: CompletionTree
    is_awaited: IsAwaited = always_awaited


class Engine:
    """Scores completions, or generates them.

    Attributes:
        prefixes: What prompts begin with.
    """

    def __init__(
        self, session: CausalSession, *, context: int, temperature: float, prefix_bytes: int = DEFAULT_BYTES
    ) -> None:
        """Take a session.

        Args:
            session: Runs the graph.
            context: Most tokens of prompt and completion together.
            temperature: What logits are divided by.
            prefix_bytes: Bytes of keys and values that are kept.
        """
        self._session = session
        self._context = context
        self._temperature = temperature
        self._batch_tokens = BATCH_TOKENS_CUDA if session.device.is_cuda else BATCH_TOKENS_CPU
        self.prefixes = PrefixCache(
            lambda tokens, is_awaited: session.extended(tokens, session.nothing, is_awaited),
            nothing=session.nothing,
            most_bytes=prefix_bytes,
        )

    def score(self, questions: Sequence[Question]) -> list[Scored | Exception]:
        """Return for each question the probability of each candidate, or a `ClassificationError`.

        Questions with the same prefix are run together, of similar length where there are many.
        """
        answers: dict[int, Scored | Exception] = {}
        groups: dict[Prefix, list[tuple[int, Row]]] = defaultdict(list)
        for index, question in enumerate(questions):
            try:
                prefix, row = self._placed(question)
            except ClassificationError as error:
                answers[index] = error
            else:
                groups[prefix].append((index, row))
        for prefix, members in groups.items():
            for batch in self._batches(members):
                scored = self._scored([row for _, row in batch], prefix, [questions[index].tree for index, _ in batch])
                answers.update(zip((index for index, _ in batch), scored, strict=True))
        return [answers[index] for index in range(len(questions))]

    def generate(self, question: Question, *, ends: Sequence[int], most: int) -> Tokens:
        """Return the tokens that the model likes best, one after the other, up to an end token or `most` of them.

        Raises:
            ClassificationError: The prompt is too long, the model fails, or (ClassifierTimeoutError) nobody waits.
        """
        check_length(len(question.prompt) + most, context=self._context)
        prefix = self._read_up_to_last_piece(question)
        new: Tokens = question.prompt[len(prefix.tokens) :]
        key_values = prefix.key_values
        generated: list[int] = []
        while len(generated) < most:
            if not question.is_awaited():
                raise ClassifierTimeoutError(NOBODY_WAITS)
            key_values, logits = self._session.read(new, key_values)
            token = int(logits.argmax())
            if token in ends:
                break
            generated.append(token)
            new = (token,)
        return tuple(generated)

    def _placed(self, question: Question) -> tuple[Prefix, Row]:
        tree = question.tree
        check_length(len(question.prompt) + len(tree.forced) + len(tree.tokens), context=self._context)
        prefix = self._read_up_to_last_piece(question)
        return prefix, Row.of(question.prompt[len(prefix.tokens) :], tree)

    def _read_up_to_last_piece(self, question: Question) -> Prefix:
        """Return what of a prompt is kept; of a long one that is new, all but its last piece, read for it alone."""
        prefix = self.prefixes.of(question.prompt, question.static, question.is_awaited)
        new = question.prompt[len(prefix.tokens) :]
        early = new[: (len(new) - 1) // self._session.piece_tokens * self._session.piece_tokens]
        if not early:
            return prefix
        key_values = self._session.extended(early, prefix.key_values, question.is_awaited)
        return Prefix(prefix.tokens + early, key_values)

    def _batches(self, members: list[tuple[int, Row]]) -> list[list[tuple[int, Row]]]:
        """Return the rows in batches of similar length and of no more tokens than is worth it."""
        batches: list[list[tuple[int, Row]]] = []
        for member in sorted(members, key=lambda each: (each[1].is_whole, len(each[1].tokens))):
            width = len(member[1].tokens)
            batch = batches[-1] if batches else []
            is_alike = bool(batch) and batch[0][1].is_whole == member[1].is_whole
            if is_alike and (len(batch) + 1) * width <= self._batch_tokens:
                batch.append(member)
            else:
                batches.append([member])
        return batches

    def _scored(self, rows: list[Row], prefix: Prefix, trees: list[CompletionTree]) -> list[Scored | Exception]:
        """Return the scores of a batch; where it fails, each row is tried alone, and only the culprit has none."""
        try:
            logits = self._session.run(rows, prefix.key_values)
        except ClassificationError as error:
            if len(rows) == 1:
                return [error]
            return [self._scored([row], prefix, [tree])[0] for row, tree in zip(rows, trees, strict=True)]
        return [tree.scores(found, temperature=self._temperature) for tree, found in zip(trees, logits, strict=True)]
