"""The prompt that Arch-Router was trained to answer: the text of one user message. Pure: no model, no tokenizer."""

from plano_asgi.classify.prompts.templates import CHAT_MARKS, PromptForm
from plano_asgi.classify.prompts.writer import DEFAULT_LIMIT, PromptWriter, estimated_tokens

__all__ = ["CHAT_MARKS", "DEFAULT_LIMIT", "PromptForm", "PromptWriter", "estimated_tokens"]
