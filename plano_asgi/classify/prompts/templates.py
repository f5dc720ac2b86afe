"""The fixed words of the prompt, in each of its forms.

They are the trained model's input format: every space and newline matters, slips of grammar included. Two forms were
published and differ in white space and in how JSON is written; which of them the training used is not known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

CHAT_MARKS: Final = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")  # of Qwen2.5, on which Arch-Router is built


class PromptForm(StrEnum):
    """Order and wording of the prompt.

    `gateway` is what the Plano gateway sends, `card` what the model card shows; `instructions_first` is the gateway's
    wording with the conversation last, so that all prompts of a policy share one long beginning.
    """

    GATEWAY = "gateway"
    CARD = "card"
    INSTRUCTIONS_FIRST = "instructions_first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The words around routes and conversation, and the kind of JSON that both are written in.

    Attributes:
        opening: What stands before the routes.
        between: What stands between routes and conversation.
        ending: What stands after the conversation.
        is_spaced_ascii: JSON as Python's `json.dumps` writes it by default; else compact, in raw UTF-8.
    """

    opening: str
    between: str
    ending: str
    is_spaced_ascii: bool = False


def _task(*, trailing: str) -> str:
    """Return the instructions; the model card's have a trailing space in two places."""
    return (
        "Your task is to decide which route is best suit with user intent on the conversation in"
        " <conversation></conversation> XML tags.  Follow the instruction:\n"
        "1. If the latest intent from user is irrelevant or user intent is full filled, response with other route"
        ' {"route": "other"}.\n'
        "2. You must analyze the route descriptions and find the best match route for user latest intent."
        f"{trailing}\n"
        "3. You only response the name of the route that best matches the user's request, use the exact name in the"
        " <routes></routes>.\n"
        "\n"
        "Based on your analysis, provide your response in the following JSON formats if you decide to match any"
        ' route:\n{"route": "route_name"}'
        f"{trailing}\n"
    )


_OPENING: Final = (
    "\n"
    "You are a helpful assistant designed to find the best suited route.\n"
    "You are provided with route description within <routes></routes> XML tags:\n"
    "<routes>\n"
)

TEMPLATES: Final[Mapping[PromptForm, Template]] = MappingProxyType(
    {
        PromptForm.GATEWAY: Template(
            opening=_OPENING,
            between="\n</routes>\n\n<conversation>\n",
            ending="\n</conversation>\n\n" + _task(trailing=""),
        ),
        PromptForm.CARD: Template(
            opening=_OPENING + "\n",
            between="\n\n</routes>\n\n<conversation>\n\n",
            ending="\n\n</conversation>\n\n" + _task(trailing=" "),
            is_spaced_ascii=True,
        ),
        PromptForm.INSTRUCTIONS_FIRST: Template(
            opening=_OPENING,
            between="\n</routes>\n\n" + _task(trailing="") + "\n<conversation>\n",
            ending="\n</conversation>\n",
        ),
    }
)
