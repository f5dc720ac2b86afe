"""Where a call stands among others, by digests that only who holds the key can make."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

from plano_asgi.conversation import LLMCall, Role
from plano_asgi.policy.turns import Turn
from plano_asgi.sessions import Place


def place_of(call: LLMCall, turn: Turn, *, secret: bytes) -> Place | None:
    """Return where a call stands; None where nothing tells which calls it belongs to.

    Calls belong together where the client says so; else by the conversation that the provider keeps for them, else by
    what their user said first. Those of two tenants never do.

    Args:
        call: The call.
        turn: Whose turn it is.
        secret: What digests are keyed with, 64 bytes at the most; workers that share sessions share it.
    """
    told = call.affinity or call.stored_conversation or call.previous_response
    if told is None and not (turn.said and turn.said[0].strip()):
        return None
    kind = "client" if call.affinity else "provider" if told else "implicit"
    keyed = _keyed(secret)
    first, before, whole = _spoken(turn.said, keyed)
    key = _digest((call.tenant or "", kind, told or first), keyed)
    return Place(
        key=key,
        id=call.affinity or f"implicit:{key}",
        is_explicit=told is not None,
        system=_digest([said.text for said in call.conversation if said.role is Role.SYSTEM], keyed),
        tools=_digest(call.tools, keyed) if call.tools else "",
        turn=whole,
        before=before,
        is_continued=call.previous_response is not None,
        signature=call.latest_signature,
    )


def _spoken(said: Sequence[str], keyed: blake2b) -> tuple[str, str, str]:
    """Return digests of what a user said first, of all but what was said last, and of all; empty of nothing."""
    if not said:
        return "", "", ""
    hasher = keyed.copy()
    hasher.update(_measured(said[0]))
    first = before = hasher.hexdigest()
    if len(said) == 1:
        return first, "", first
    for text in said[1:-1]:
        hasher.update(_measured(text))
    if len(said) > 2:  # noqa: PLR2004 - the first is not all but the last
        before = hasher.hexdigest()
    hasher.update(_measured(said[-1]))
    return first, before, hasher.hexdigest()


def _digest(texts: Iterable[str], keyed: blake2b) -> str:
    hasher = keyed.copy()
    for text in texts:
        hasher.update(_measured(text))
    return hasher.hexdigest()


@lru_cache(maxsize=8)
def _keyed(secret: bytes) -> blake2b:
    return blake2b(digest_size=16, key=secret, person=b"plano-session")


def _measured(text: str) -> bytes:
    """Return a text after its length, so that no other texts in a row are hashed as the same bytes."""
    return f"{len(text)}:{text}".encode("utf-8", "surrogatepass")
