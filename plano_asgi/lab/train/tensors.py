"""Batches as tensors, and logits out of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plano_asgi.classify.embedded.texts import ConversationTexts, conversation_texts
from plano_asgi.classify.embedded.tokens import EncoderInput, Tokenizer, Window, conversation_tokens, route_tokens
from plano_asgi.conversation import Conversation
from plano_asgi.lab.train.episodes import Batch
from plano_asgi.lab.train.model import LATEST, RouterModel, mean_of

NOTHING_SAID: Final = ConversationTexts("", "")
TRAINED: Final = Window(latest=80, before=64, route=48)  # padding to the longest is what a step pays for
PARTS: Final = 3


def padded(inputs: Sequence[EncoderInput]) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids, kinds and which tokens are no padding, each `(b, t)`."""
    longest = max(len(each.ids) for each in inputs)
    ids = np.zeros((len(inputs), longest), np.int64)
    kinds = np.zeros_like(ids)
    is_token = np.zeros_like(ids, dtype=bool)
    for row, each in enumerate(inputs):
        size = len(each.ids)
        ids[row, :size], kinds[row, :size], is_token[row, :size] = each.ids, each.kinds, True
    return torch.from_numpy(ids), torch.from_numpy(kinds), torch.from_numpy(is_token)


def vectors_of_routes(model: RouterModel, tokenizer: Tokenizer, lines: Sequence[str]) -> Tensor:
    """Return unit vectors of routes, `(n, 384)`."""
    inputs = [route_tokens(tokenizer, line, TRAINED) for line in lines]
    order = np.argsort([len(each.ids) for each in inputs], kind="stable")
    vectors = []
    for rows in np.array_split(order, 2 if len(order) > 1 else 1):
        ids, _, is_token = padded([inputs[row] for row in rows])
        vectors.append(model.vectors_of(ids, is_token))
    return torch.cat(vectors)[torch.from_numpy(np.argsort(order))]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model makes of a batch, its rows in another order.

    Attributes:
        logits, plain: Of each episode, `(b, r + 1)`, from the comparer and from the plain one.
        right: The answers of each episode, `(b,)`.
        latest: Mean states of the latest turns, `(b, 384)`.
        order: Which row of the batch each row is, `(b,)`.
    """

    logits: list[Tensor]
    plain: list[Tensor]
    right: list[Tensor]
    latest: Tensor
    order: NDArray[np.int64]


def answers_of(model: RouterModel, tokenizer: Tokenizer, batch: Batch) -> Answers:
    """Return what the model makes of a batch.

    Conversations are encoded in parts of similar length, since padding costs as much as words do.
    """
    routes = vectors_of_routes(model, tokenizer, batch.routes)
    inputs = [conversation_tokens(tokenizer, texts, TRAINED) for texts in map(_texts, batch.conversations)]
    order = np.argsort([len(each.ids) for each in inputs], kind="stable")
    logits: list[list[Tensor]] = [[] for _ in batch.members]
    plain: list[list[Tensor]] = [[] for _ in batch.members]
    latest = []
    for rows in np.array_split(order, PARTS):
        ids, kinds, is_token = padded([inputs[row] for row in rows])
        states = model.states_of(ids, kinds, is_token)
        for at, members in enumerate(batch.members):
            chosen = torch.from_numpy(members[rows])
            compared = (states, kinds, is_token, routes[chosen.clamp(min=0)], chosen >= 0)
            logits[at].append(model.comparer(*compared))
            plain[at].append(model.plain(*compared))
        latest.append(mean_of(states, is_token & (kinds == LATEST)))
    return Answers(
        logits=[torch.cat(each) for each in logits],
        plain=[torch.cat(each) for each in plain],
        right=[torch.from_numpy(answer[order]) for answer in batch.answer],
        latest=torch.cat(latest),
        order=order,
    )


def _texts(conversation: Conversation) -> ConversationTexts:
    return conversation_texts(conversation) or NOTHING_SAID
