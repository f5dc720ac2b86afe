"""The embedded router with gradients: an encoder of sentences, and a comparer of a conversation with routes.

The encoder is a BERT of six layers. The comparer keeps the cosine of a conversation and a route, which is what carries
over to descriptions that nobody trained on, and corrects it: each route looks into the tokens of the conversation,
then all routes, and *none of these* among them, look at each other. No position is given to a route, so their order
cannot matter.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH: Final = 384
LATEST: Final = 0
BEFORE: Final = 1
ABSENT: Final = -1e4  # the logit of what is not there


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that make a comparer.

    Attributes:
        width: Of what it works on.
        heads: Of each attention.
        dropout: Share of values left out while training.
    """

    width: int = 192
    heads: int = 4
    dropout: float = 0.1


class Attention(nn.Module):
    """Queries look at keys, in several heads."""

    def __init__(self, shape: Shape) -> None:
        """Make the four projections."""
        super().__init__()
        self.heads = shape.heads
        self.query, self.key, self.value, self.out = (nn.Linear(shape.width, shape.width) for _ in range(4))
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, asking: Tensor, asked: Tensor, is_there: Tensor) -> Tensor:
        """Return what `asking (b, q, w)` sees in `asked (b, k, w)`, where `is_there (b, k)`."""
        query, key, value = (
            self._split(project(states))
            for project, states in ((self.query, asking), (self.key, asked), (self.value, asked))
        )
        scores = query @ key.transpose(-1, -2) / (query.shape[-1] ** 0.5)
        weights = scores.masked_fill(~is_there[:, None, None], ABSENT).softmax(-1)
        seen = (self.dropout(weights) @ value).transpose(1, 2)
        joined: Tensor = self.out(seen.reshape(seen.shape[0], -1, self.out.in_features))
        return joined

    def _split(self, states: Tensor) -> Tensor:
        size = self.out.in_features // self.heads
        return states.reshape(states.shape[0], -1, self.heads, size).transpose(1, 2)


class Comparer(nn.Module):
    """Logits of routes and of none of them, from a conversation's token states and the routes' vectors."""

    def __init__(self, shape: Shape) -> None:
        """Start as plain cosine similarity: what corrects it begins at zero."""
        super().__init__()
        self.shape = shape
        width = shape.width
        self.call_mix = nn.Linear(2 * WIDTH, WIDTH, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(2.3))
        self.shift = nn.Parameter(torch.tensor(0.25))
        self.states_in = nn.Linear(WIDTH, width)
        self.route_in = nn.Linear(WIDTH, width)
        self.none = nn.Parameter(torch.zeros(1, 1, width))
        self.look = Attention(shape)
        self.join = nn.Sequential(nn.Linear(3 * width + 1, width), nn.GELU(), nn.Dropout(shape.dropout))
        self.among = Attention(shape)
        self.between, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.grow = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.out = nn.Linear(width, 1)
        self.none_out = nn.Linear(width, 1)
        self.dropout = nn.Dropout(shape.dropout)
        for layer in (self.call_mix, self.out):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.out.bias)
        nn.init.normal_(self.none, std=0.02)

    def forward(self, states: Tensor, kinds: Tensor, is_token: Tensor, routes: Tensor, is_route: Tensor) -> Tensor:
        """Return logits, `(b, r + 1)`; the last is that of none.

        Args:
            states: Token states of conversations, `(b, t, 384)`.
            kinds: LATEST or BEFORE for each token, `(b, t)`.
            is_token: Which tokens are no padding, bool `(b, t)`.
            routes: Unit vectors of routes, `(b, r, 384)`.
            is_route: Which routes are no padding, bool `(b, r)`.
        """
        latest = mean_of(states, is_token & (kinds == LATEST))
        whole = mean_of(states, is_token)
        call = functional.normalize(latest + self.call_mix(torch.cat([latest, whole], -1)), dim=-1)
        cosine = (routes * call[:, None]).sum(-1)
        base = self.log_scale.exp() * (cosine - self.shift)

        tokens = self.states_in(states)
        asked = torch.cat([self.route_in(routes), self.none.expand(len(states), 1, -1)], 1)
        seen = self.look(asked, tokens, is_token)
        none_cosine = cosine.masked_fill(~is_route, -1).amax(1, keepdim=True)
        cosines = torch.cat([cosine, none_cosine], 1)
        joined = self.join(torch.cat([asked, seen, asked * seen, cosines[..., None]], -1))
        is_asked = torch.cat([is_route, torch.ones_like(is_route[:, :1])], 1)
        normed = self.between(joined)
        mixed = joined + self.dropout(self.among(normed, normed, is_asked))
        mixed = mixed + self.dropout(self.grow(self.after(mixed)))
        logits = torch.cat([base + self.out(mixed[:, :-1]).squeeze(-1), self.none_out(mixed[:, -1])], 1)
        return logits.masked_fill(~is_asked, ABSENT)


class PlainComparer(nn.Module):
    """A cosine, and a logit of none from the conversation alone: what the comparer has to be better than."""

    def __init__(self) -> None:
        """Start as plain cosine similarity."""
        super().__init__()
        self.call_mix = nn.Linear(2 * WIDTH, WIDTH, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(2.3))
        self.shift = nn.Parameter(torch.tensor(0.25))
        self.none_out = nn.Linear(WIDTH, 1)
        nn.init.zeros_(self.call_mix.weight)

    def forward(self, states: Tensor, kinds: Tensor, is_token: Tensor, routes: Tensor, is_route: Tensor) -> Tensor:
        """Return logits, `(b, r + 1)`, from what `Comparer` is given."""
        latest, whole = mean_of(states, is_token & (kinds == LATEST)), mean_of(states, is_token)
        call = functional.normalize(latest + self.call_mix(torch.cat([latest, whole], -1)), dim=-1)
        scores = self.log_scale.exp() * ((routes * call[:, None]).sum(-1) - self.shift)
        return torch.cat([scores.masked_fill(~is_route, ABSENT), self.none_out(latest)], 1)


class RouterModel(nn.Module):
    """Encoder and comparer; a plain comparer and a guess at the task type keep the encoder honest in training."""

    def __init__(self, encoder: nn.Module, shape: Shape, task_types: int) -> None:
        """Put the two together; `task_types` is the number of labels of the auxiliary task."""
        super().__init__()
        self.encoder = encoder
        self.comparer = Comparer(shape)
        self.plain = PlainComparer()
        self.task = nn.Linear(WIDTH, task_types)

    def states_of(self, ids: Tensor, kinds: Tensor, is_token: Tensor) -> Tensor:
        """Return token states, `(b, t, 384)`."""
        answer = self.encoder(input_ids=ids, attention_mask=is_token.long(), token_type_ids=kinds)
        states: Tensor = answer.last_hidden_state
        return states

    def vectors_of(self, ids: Tensor, is_token: Tensor) -> Tensor:
        """Return unit vectors of routes, `(n, 384)`."""
        states = self.states_of(ids, torch.zeros_like(ids), is_token)
        return functional.normalize(mean_of(states, is_token), dim=-1)


def mean_of(states: Tensor, is_counted: Tensor) -> Tensor:
    """Return the mean state of the tokens that count, `(b, d)`."""
    weights = is_counted.to(states.dtype)[..., None]
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)
