"""The completions of all candidates as one tree of tokens, and probabilities from the logits at its branches.

The first tokens, which all completions share, are given to the model with the prompt. Behind them, only the tokens on
the way to a further branch are read, all in the same pass: each sees its ancestors alone. At a branch, the softmax over
the allowed tokens says how likely each way is; a completion's end counts as one way. A candidate's score is the product
along its way, so the scores of all candidates sum to 1.

`joint` scoring multiplies the probability among the whole vocabulary of every token instead, and normalises at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
AFTER_FORCED: Final = -1


@dataclass(frozen=True, slots=True)
class Branch:
    """A place where completions part ways.

    Attributes:
        after: Index in the tree's tokens of the token in front, or -1 for the last of the forced ones.
        choices: The tokens that may follow.
        leads_to: For each choice, the candidates behind it.
    """

    after: int
    choices: tuple[int, ...]
    leads_to: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class CompletionTree:
    """All candidates' completions.

    Attributes:
        shared_by: For each candidate, how many have the same completion, itself included.
        forced: Tokens that every completion begins with.
        tokens: Tokens that have to be read behind them, depth first.
        depths: How far behind the forced ones each stands.
        until: Index in `tokens` of the last token below each, which is the last that sees it.
        branches: Where logits are needed; the first one comes after the forced tokens.
        is_joint: Whether logits are wanted for the whole vocabulary.
    """

    shared_by: tuple[int, ...]
    forced: tuple[int, ...]
    tokens: tuple[int, ...]
    depths: tuple[int, ...]
    until: tuple[int, ...]
    branches: tuple[Branch, ...]
    is_joint: bool

    @classmethod
    def build(cls, completions: Sequence[Sequence[int]], *, end: int, joint: bool = False) -> Self:
        """Return the tree of completions, each tokenised as a whole and ended by the token `end`.

        Candidates whose tokens are the same share their score equally.
        """
        ended = [(*completion, end) for completion in completions]
        forced = _shared(ended)
        growth = _Growth(ended, len(forced), joint=joint)
        return cls(
            shared_by=tuple(ended.count(completion) for completion in ended),
            forced=tuple(ended[0][: len(forced)]),
            tokens=tuple(growth.tokens),
            depths=tuple(growth.depths),
            until=_until(growth.depths),
            branches=tuple(growth.branches),
            is_joint=joint,
        )

    def scores(self, logits: Sequence[Logits], *, temperature: float) -> npt.NDArray[np.float64]:
        """Return the probability of each candidate.

        Args:
            logits: For each branch those of its choices, or of the whole vocabulary where `is_joint`.
            temperature: What logits are divided by.
        """
        total = -np.log(self.shared_by)
        for branch, seen in zip(self.branches, logits, strict=True):
            chances = _log_softmax(seen.astype(np.float64) / temperature)
            if self.is_joint:
                chances = chances[list(branch.choices)]
            for chance, candidates in zip(chances, branch.leads_to, strict=True):
                total[list(candidates)] += chance
        scores: npt.NDArray[np.float64] = np.exp(_log_softmax(total))
        return scores


class _Growth:
    """The tree while it is built; without recursion, since a name may have hundreds of tokens."""

    def __init__(self, completions: Sequence[tuple[int, ...]], forced: int, *, joint: bool) -> None:
        """Grow what lies behind the first `forced` tokens, depth first."""
        self._completions = completions
        self._joint = joint
        self.tokens: list[int] = []
        self.depths: list[int] = []
        self.branches: list[Branch] = []
        waiting = self._ways(range(len(completions)), forced)
        while waiting:
            candidates, at = waiting.pop()
            self.tokens.append(completions[candidates[0]][at])
            self.depths.append(at - forced)
            waiting += self._ways(candidates, at + 1)

    def _ways(self, candidates: Sequence[int], at: int) -> list[tuple[list[int], int]]:
        """Return the ways on that have to be read, the last one first, and note the branch; `at` tokens are shared."""
        ways: dict[int, list[int]] = {}
        for candidate in candidates:
            if at < len(self._completions[candidate]):
                ways.setdefault(self._completions[candidate][at], []).append(candidate)
        if len(ways) > 1 or (self._joint and ways):
            self.branches.append(Branch(len(self.tokens) - 1, tuple(ways), tuple(map(tuple, ways.values()))))
        return [(behind, at) for behind in reversed(ways.values()) if self._is_needed(behind, at + 1)]

    def _is_needed(self, candidates: Sequence[int], at: int) -> bool:
        """Return whether logits are wanted anywhere behind the first `at` tokens of these candidates."""
        first, *others = (self._completions[candidate] for candidate in candidates)
        return (self._joint and at < len(first)) or any(other != first for other in others)


def _until(depths: Sequence[int]) -> tuple[int, ...]:
    """Return the last token below each, of tokens that stand depth first."""
    until = [len(depths) - 1] * len(depths)
    above: list[int] = []
    for index, depth in enumerate(depths):
        while len(above) > depth:
            until[above.pop()] = index - 1
        above.append(index)
    return tuple(until)


def _shared(sequences: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the tokens that all sequences begin with, short of the whole of any of them."""
    shared = []
    for tokens in zip(*(sequence[:-1] for sequence in sequences), strict=False):
        if len(set(tokens)) > 1:
            break
        shared.append(tokens[0])
    return tuple(shared)


def _log_softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = values - values.max()
    result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result
