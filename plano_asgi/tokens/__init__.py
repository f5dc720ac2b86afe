"""How many tokens calls have: by a model's own tokenizer where that is known, else by a stated rule."""

from plano_asgi.tokens.counter import ModelTokens, TokenCounter
from plano_asgi.tokens.late_tokenizer import LateTokenizer
from plano_asgi.tokens.rule import tokens_by_rule
from plano_asgi.tokens.said import Said, said_by, said_in

__all__ = [
    "LateTokenizer",
    "ModelTokens",
    "Said",
    "TokenCounter",
    "said_by",
    "said_in",
    "tokens_by_rule",
]
