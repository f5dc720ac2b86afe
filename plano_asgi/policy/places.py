"""Where a call stands among others, by digests that only who holds the key can make."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from plano_asgi.conversation import LLMCall, Role
from plano_asgi.policy.turns import Turn
from plano_asgi.sessions import Place

CHARACTERS_PER_TOKEN: Final = 4  # a common estimate of English; exact counts are the providers'


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
    key = _digest(secret, 16, (call.tenant or "", kind, told or turn.said[0]))
    before = _hasher(secret, 8, turn.said[:-1])
    whole = before.copy()
    whole.update(_framed(turn.said[-1:]))
    return Place(
        key=key,
        id=call.affinity or f"implicit:{key}",
        is_explicit=told is not None,
        system=_digest(secret, 8, (message.text for message in call.conversation if message.role is Role.SYSTEM)),
        tools=_digest(secret, 8, call.tools) if call.tools else "",
        turn=whole.hexdigest(),
        before=before.hexdigest(),
        is_continued=call.previous_response is not None,
        signature=call.latest_signature,
        tokens=sum(len(message.text) for message in call.conversation) // CHARACTERS_PER_TOKEN,
    )


def _digest(secret: bytes, size: int, texts: Iterable[str]) -> str:
    return _hasher(secret, size, texts).hexdigest()


def _hasher(secret: bytes, size: int, texts: Iterable[str]) -> blake2b:
    return blake2b(_framed(texts), digest_size=size, key=secret, person=b"plano-session")


def _framed(texts: Iterable[str]) -> bytes:
    """Return texts as bytes that no other texts have: each after its length."""
    return "".join(f"{len(text)}:{text}" for text in texts).encode("utf-8", "surrogatepass")
