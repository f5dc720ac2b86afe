"""Thinking: how much of it, and whose signatures it bears.

A signature is of use only to who made it. On its way to a caller of another API it is marked with its maker, so that
it finds its way back when that caller sends the conversation again, and never reaches anybody else.
"""

import re
from dataclasses import dataclass
from typing import Final

from plano_asgi.translate.call import Effort, Keeper, Thinking
from plano_asgi.translate.losses import Losses

MARK: Final = "plano."
OUR_REASONING: Final = "rs_plano_"  # how ids of reasoning items begin that no provider has given
_REDACTED: Final = "redacted"
FOREIGN: Final = "thoughts without a signature of this provider's are not sent to it"
LEAST_BUDGET: Final = 1024
_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768}
_LEVELS: Final = frozenset({"low", "medium", "high", "xhigh", "max"})  # of `output_config.effort`
_VERSION: Final = re.compile(r"claude-(?:[a-z]+-)?(\d)(?:[-.](\d))?(?!\d)")
_FIRST_WITH_THINKING: Final = (3, 7)
_FIRST_WITH_EFFORT: Final = (4, 6)


def marked(thinking: Thinking) -> str:
    """Return a signature as text that names its maker, and what else its maker wants to know; empty without one."""
    if thinking.signature is None or thinking.maker is None:
        return ""
    beside = _REDACTED if thinking.is_redacted else thinking.item_id
    return f"{MARK}{thinking.maker}.{beside}.{thinking.signature}"


def unmarked(text: str, signature: str | None, maker: Keeper) -> Thinking:
    """Return thoughts with the signature that a body of `maker`'s API bears: another's where it is marked so."""
    if not signature:
        return Thinking(text)
    if not signature.startswith(MARK):
        return Thinking(text, signature, maker)
    named, _, rest = signature.removeprefix(MARK).partition(".")
    beside, _, inner = rest.partition(".")
    owner = next((keeper for keeper in Keeper if keeper == named), None)
    if owner is None or not inner:
        return Thinking(text)
    if owner is Keeper.ANTHROPIC:
        return Thinking(text, inner, owner, is_redacted=beside == _REDACTED)
    return Thinking(text, inner, owner, beside)


def is_of(thinking: Thinking, maker: Keeper, losses: Losses) -> bool:
    """Return whether thoughts can go back to their maker; others are a loss."""
    if thinking.maker is maker and thinking.signature:
        return True
    losses.add(thinking.at, FOREIGN)
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a call leaves of room for thinking.

    Attributes:
        model: The model, as its provider names it.
        max_tokens: The limit of the answer, thoughts among it; None without one.
        is_tool_forced: Whether the model must call a tool.
        lacks_thoughts: Whether tools have answered a turn of the model's that does not show what it thought.
    """

    model: str
    max_tokens: int | None
    is_tool_forced: bool
    lacks_thoughts: bool


def anthropic_thinking(
    effort: Effort | None, room: Room, losses: Losses
) -> tuple[dict[str, object] | None, str | None]:
    """Return `thinking` and `output_config.effort` of a Claude model, each None where it is to be left out.

    Models before 4.6 take a budget in tokens, later ones an effort; names that tell no version count as later ones.
    """
    if effort is None:
        return None, None
    if effort.level == "none":
        return {"type": "disabled"}, None
    version = _version_of(room.model)
    obstacle = _obstacle(room, version)
    if obstacle is not None:
        losses.add(effort.at, obstacle)
        return None, None
    if version < _FIRST_WITH_EFFORT or effort.budget is not None:
        return _budgeted(effort, room, losses), None
    level = effort.level
    if level is not None and level not in _LEVELS:
        losses.add(effort.at, "the other API has no such effort, low was sent")
        level = "low"
    return {"type": "adaptive"}, level


def _obstacle(room: Room, version: tuple[int, int]) -> str | None:
    if version < _FIRST_WITH_THINKING:
        return "this model does not think"
    return "a model that must call a tool does not think" if room.is_tool_forced else None


def level_of(effort: Effort | None, losses: Losses) -> str | None:
    """Return an effort as OpenAI's APIs name it, None where they are not to be told any."""
    if effort is None:
        return None
    if effort.budget is None:
        if effort.level is None:
            losses.add(effort.at, "how much to think is left to the model")
        return effort.level
    level = next((name for name in ("low", "medium") if effort.budget <= _BUDGETS[name]), "high")
    losses.add(effort.at, f"a budget of tokens became the effort {level}")
    return level


def _budgeted(effort: Effort, room: Room, losses: Losses) -> dict[str, object] | None:
    if room.lacks_thoughts:
        losses.add(effort.at, "a model that goes on after a tool's result does not begin to think")
        return None
    wanted = effort.budget if effort.budget is not None else _BUDGETS.get(effort.level or "medium", LEAST_BUDGET)
    most = wanted if room.max_tokens is None else room.max_tokens - 1 if effort.budget else room.max_tokens // 2
    budget = min(wanted, most)
    if budget < LEAST_BUDGET:
        losses.add(effort.at, f"no thinking: the answer's limit leaves less than {LEAST_BUDGET} tokens for it")
        return None
    if effort.budget is None:
        losses.add(effort.at, f"an effort became a budget of {budget} tokens")
    elif budget != effort.budget:
        losses.add(effort.at, f"the answer's limit leaves {budget} tokens for thinking")
    return {"type": "enabled", "budget_tokens": budget}


def _version_of(model: str) -> tuple[int, int]:
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (9, 9)
