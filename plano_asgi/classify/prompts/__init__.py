"""The prompt that Arch-Router was trained to answer: the text of one user message. Pure: no model, no tokenizer."""

from plano_asgi.classify.prompts.templates import CHAT_MARKS, PromptForm
from plano_asgi.classify.prompts.writer import PromptWriter, estimated_tokens

__all__ = ["CHAT_MARKS", "PromptForm", "PromptWriter", "estimated_tokens"]
