"""Texts to arrays: what the graph is fed for a batch of prompts, each with its tree of completions behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plano_asgi.classify.arch_router.completion_tree import CompletionTree

Feeds = Mapping[str, npt.NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Row:
    """What is read of one prompt.

    Attributes:
        tokens: All tokens behind the prefix: the prompt's, then the tree's.
        depths: Where each stands, counted from the prefix.
        until: Index of the last token that sees each.
        nodes: Indices of the tokens after which logits are wanted.
        candidates: For each node, the tokens whose logits are wanted; none for the whole vocabulary.
    """

    tokens: tuple[int, ...]
    depths: tuple[int, ...]
    until: tuple[int, ...]
    nodes: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]

    @property
    def is_whole(self) -> bool:
        """Whether the whole vocabulary's logits are wanted."""
        return () in self.candidates

    @classmethod
    def of(cls, prompt: Sequence[int], tree: CompletionTree) -> "Row":
        """Return a prompt's row: the forced tokens follow it, and the tree's follow those."""
        text = (*prompt, *tree.forced)
        trunk, size = len(text), len(text) + len(tree.tokens)
        return cls(
            tokens=text + tree.tokens,
            depths=(*range(trunk), *(trunk + depth for depth in tree.depths)),
            until=(size - 1,) * trunk + tuple(trunk + until for until in tree.until),
            nodes=tuple(trunk + branch.after for branch in tree.branches),
            candidates=tuple(() if tree.is_joint else branch.choices for branch in tree.branches),
        )

    @classmethod
    def text(cls, tokens: Sequence[int], *, wants_logits: bool) -> "Row":
        """Return the row of a plain text; with logits of the whole vocabulary after its last token, or of nothing."""
        last = len(tokens) - 1
        nodes, candidates = ((last,), ((),)) if wants_logits else ((last,), ((0,),))
        return cls(tuple(tokens), tuple(range(len(tokens))), (last,) * len(tokens), nodes, candidates)


def feeds(rows: Sequence[Row], *, past: int) -> Feeds:
    """Return the arrays that the graph reads, without the keys and values of the prefix.

    Args:
        rows: The batch; either all of them want the whole vocabulary or none does.
        past: Tokens in the prefix.
    """
    width = max(len(row.tokens) for row in rows)
    most = max((len(choices) for row in rows for choices in row.candidates), default=0)
    ids, positions = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.int64)
    until = np.tile(np.arange(width), (len(rows), 1))  # padding is seen by nothing but itself
    nodes, candidates = [], []
    for index, row in enumerate(rows):
        size = len(row.tokens)
        ids[index, :size] = row.tokens
        positions[index, :size] = row.depths
        until[index, :size] = row.until
        nodes += [index * width + node for node in row.nodes]
        candidates += [choices + (0,) * (most - len(choices)) for choices in row.candidates]
    return {
        "input_ids": ids,
        "positions": positions + past,
        "until": until,
        "nodes": np.array(nodes, np.int64),
        "candidates": np.array(candidates, np.int64).reshape(len(nodes), most),
    }


def split_logits(rows: Sequence[Row], logits: npt.NDArray[np.float32]) -> list[list[npt.NDArray[np.float32]]]:
    """Return for each row the logits after each of its nodes, without padding."""
    result, at = [], 0
    for row in rows:
        found = []
        for choices in row.candidates:
            found.append(logits[at, : len(choices) or None])
            at += 1
        result.append(found)
    return result
