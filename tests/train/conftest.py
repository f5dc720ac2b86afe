"""A tiny router to train: two layers of random weights, read by the shipped tokenizer."""

from collections.abc import Callable

import pytest
import torch
from transformers import BertConfig, BertModel

from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.classify.embedded.tokens import Tokenizer, open_tokenizer
from plano_asgi.lab.train.model import WIDTH, RouterModel, Shape

torch.set_num_threads(1)  # several would wait for each other on small models


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Return the shipped tokenizer."""
    return open_tokenizer(SHIPPED_FOLDER / "tokenizer.json")


@pytest.fixture(scope="session")
def tiny_router(tokenizer: Tokenizer) -> Callable[..., RouterModel]:
    """Return what makes a router with random weights, in its comparer too, where nothing is left at zero."""

    def make(seed: int = 1, *, task_types: int = 3) -> RouterModel:
        """Make it."""
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
        )
        model = RouterModel(BertModel(config, add_pooling_layer=False), Shape(), task_types)
        for weights in model.comparer.parameters():
            if not weights.any():
                torch.nn.init.normal_(weights, std=0.05)
        model.eval()
        return model

    return make
