"""Thoughts whose signatures another provider has made, taken out of a call before that goes where they are foreign."""

from dataclasses import dataclass
from typing import Any

from plano_asgi.conversation import ApiFormat
from plano_asgi.translate.losses import Loss, Losses
from plano_asgi.translate.thoughts import FOREIGN
from plano_asgi.wire import read_document
from plano_asgi.wire.continuity import signature_digest
from plano_asgi.wire.exact_json import with_exact_numbers, write_json

_UNTHOUGHT = "a model that goes on after a tool's result does not begin to think"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """Who has signed the thoughts of a call.

    Attributes:
        latest: The provider that has signed the latest of them.
        others: Digest of the latest thought that somebody else has signed, as `wire.continuity` makes it; None where
            nobody else has.
    """

    latest: str
    others: str | None = None

    def are_all(self, provider: str) -> bool:
        """Return whether a provider has signed every thought itself."""
        return provider == self.latest and self.others is None


def own_thoughts(body: bytes, source: ApiFormat, signers: Signers, *, provider: str) -> tuple[bytes, tuple[Loss, ...]]:
    """Return a body with only those signed thoughts that a provider has signed itself, and what was taken out.

    Where it is the provider of the latest ones, those up to the latest of somebody else's are taken out, else all.
    """
    document = read_document(body)
    value: Any = with_exact_numbers(document.data, document.value)
    where = "messages" if source is ApiFormat.MESSAGES else "input"
    if signers.are_all(provider) or not isinstance(value, dict) or not isinstance(value.get(where), list):
        return body, ()
    blocks = [(index, block) for index, turn in enumerate(value[where]) for block in _blocks(turn)]
    digests = [signature_digest(block) for _, block in blocks]
    until = len(blocks)
    if provider == signers.latest:
        until = digests.index(signers.others) + 1 if signers.others in digests else 0
    foreign = {id(block) for (_, block), digest in zip(blocks[:until], digests, strict=False) if digest}
    if not foreign:
        return body, ()
    losses = Losses()
    for index, block in blocks:
        if id(block) in foreign:
            losses.add(f"{where}[{index}]", FOREIGN)
    value[where] = [kept for turn in value[where] if (kept := _without(turn, foreign)) is not None]
    _stop_thinking(value, losses)
    return write_json(value), losses.noted


def _blocks(turn: object) -> list[Any]:
    """Return the blocks of a Messages turn, or an item of Responses alone."""
    content = turn.get("content") if isinstance(turn, dict) else None
    return content if isinstance(content, list) else [turn]


def _without(turn: Any, foreign: set[int]) -> Any:  # noqa: ANN401 - JSON of any shape
    """Return a turn without foreign blocks, None where nothing else was in it."""
    if id(turn) in foreign:
        return None
    if not any(id(block) in foreign for block in _blocks(turn)):
        return turn
    kept = [block for block in _blocks(turn) if id(block) not in foreign]
    return {**turn, "content": kept} if kept else None


def _stop_thinking(body: dict[str, Any], losses: Losses) -> None:
    """Take out a budget for thinking within a loop of tools: there, a model must be shown what it thought before."""
    thinking, messages = body.get("thinking"), body.get("messages")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled" or not messages:
        return
    if any(isinstance(block, dict) and block.get("type") == "tool_result" for block in _blocks(messages[-1])):
        del body["thinking"]
        losses.add("thinking", _UNTHOUGHT)
