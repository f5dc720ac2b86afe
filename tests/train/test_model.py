"""The comparer: what it may depend on, and what it may not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from plano_asgi.lab.train.model import ABSENT, WIDTH, Comparer, PlainComparer, RouterModel, Shape

KINDS = torch.tensor([[0, 0, 0, 1, 1]])


@pytest.fixture
def comparer(tiny_router: Callable[..., RouterModel]) -> Comparer:
    """Return a comparer with random weights."""
    return tiny_router().comparer


@pytest.fixture
def states() -> Tensor:
    """Return the states of five tokens."""
    return torch.randn(1, 5, WIDTH, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def routes() -> Tensor:
    """Return four unit vectors."""
    drawn = torch.randn(1, 4, WIDTH, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.normalize(drawn, dim=-1)


def logits(comparer: Comparer | PlainComparer, states: Tensor, routes: Tensor) -> Tensor:
    """Return the logits of one conversation, nothing padded."""
    with torch.no_grad():
        found: Tensor = comparer(states, KINDS, torch.ones(1, 5) > 0, routes, torch.ones(1, routes.shape[1]) > 0)
    return found[0]


def test_order_of_the_routes_moves_no_logit(comparer: Comparer, states: Tensor, routes: Tensor) -> None:
    """Routes in another order have the same logits in that order, and none has the same one."""
    order = [2, 0, 3, 1]

    forth, back = logits(comparer, states, routes), logits(comparer, states, routes[:, order])

    assert torch.allclose(back, forth[[*order, 4]], atol=1e-5)
    assert forth.std() > 0.01


def test_padding_moves_no_logit(comparer: Comparer, states: Tensor, routes: Tensor) -> None:
    """In a padded batch each conversation has the logits that it has alone, and what is not there cannot be chosen."""
    noise = torch.full((1, 3, WIDTH), 7.0)
    is_token, is_route = torch.arange(8)[None] < 5, torch.arange(6)[None] < 4
    kinds = torch.cat([KINDS, torch.zeros(1, 3, dtype=torch.long)], 1)
    padded = torch.cat([routes, noise[:, :2]], 1)

    with torch.no_grad():
        found = comparer(torch.cat([states, noise], 1), kinds, is_token, padded, is_route)[0]

    assert torch.allclose(found[[0, 1, 2, 3, 6]], logits(comparer, states, routes), atol=1e-5)
    assert found[4:6].tolist() == [ABSENT, ABSENT]


@pytest.mark.parametrize("make", [lambda: Comparer(Shape()).eval(), PlainComparer], ids=["comparer", "plain"])
def test_untrained_comparer_is_plain_cosine(
    make: Callable[[], Comparer | PlainComparer], states: Tensor, routes: Tensor
) -> None:
    """Before training the routes are ordered by their cosine with the latest turn, which nothing yet corrects."""
    latest = torch.nn.functional.normalize(states[:, :3].mean(1), dim=-1)
    cosine = (routes @ latest[0]).squeeze(0)

    found = logits(make(), states, routes)[:-1]

    assert torch.allclose(found, torch.tensor(2.3).exp() * (cosine - 0.25), atol=1e-4)
