"""What a chat template writes around one user message, and how the model ends its answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from plano_asgi.errors import ExportError

_MARK: Final = "what-the-user-says"
_CONTENT: Final = f" \n\n {_MARK} \n\n "
_ANSWER: Final = "what-the-model-says"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """The text around a prompt.

    Attributes:
        before: What stands before the user message.
        after: What stands after it, up to where the model answers.
        end_tokens: Tokens that end an answer; the first is the one that the template writes.
    """

    before: str
    after: str
    end_tokens: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Any, *, eos: Sequence[int]) -> "Chat":  # noqa: ANN401 - transformers' tokenizer
        """Return what a tokenizer's chat template does.

        Args:
            tokenizer: Of transformers.
            eos: Tokens with which the model's configuration ends a text.

        Raises:
            ExportError: There is no template, or the message does not come out of it as it went in.
        """
        if not tokenizer.chat_template:
            raise ExportError(
                "the tokenizer has no chat template; use an instruct model, with its tokenizer_config.json"
            )
        message = {"role": "user", "content": _CONTENT}
        text = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
        before, mark, after = text.partition(_CONTENT)
        if not mark or _MARK in after:
            raise ExportError("the chat template changes the white space around a message, which prompts depend on")
        answer = {"role": "assistant", "content": _ANSWER}
        whole = tokenizer.apply_chat_template([message, answer], tokenize=False)
        ends = [*_special_tokens(tokenizer, whole.rpartition(_ANSWER)[2])[:1], *eos]
        if not ends:
            raise ExportError("neither the chat template nor the configuration says with which token an answer ends")
        return cls(before=before, after=after, end_tokens=tuple(dict.fromkeys(ends)))


def _special_tokens(tokenizer: Any, text: str) -> list[int]:  # noqa: ANN401 - same
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    return [token for token in tokenizer(text, add_special_tokens=False).input_ids if token in special]
