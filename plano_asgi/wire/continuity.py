"""What ties a call to those before it: the tools on offer, what the provider keeps, and who has signed its thoughts.

Nothing here finds fault with a body: what does not have the shape that tells something tells nothing.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Final

from plano_asgi.wire.fields import Fields

THOUGHTS: Final = ("thinking", "redacted_thinking", "reasoning")
_SEALS: Final = ("signature", "data", "encrypted_content")
_MOST_ID_CHARS: Final = 512


def tool_names(body: Fields) -> tuple[str, ...]:
    """Return the names of the tools that a body offers, or their kinds where they have none."""
    offered = body.get("tools") or body.get("functions")
    named = (_name(tool) for tool in offered) if isinstance(offered, list) else ()
    return tuple(name for name in named if name)


def stored_id(body: Fields, key: str) -> str | None:
    """Return the id of what the provider keeps, written as such or as an object's `id`; None where there is none."""
    value = body.get(key)
    found = value.get("id") if isinstance(value, Mapping) else value
    return found if isinstance(found, str) and 0 < len(found) <= _MOST_ID_CHARS else None


def latest_signature(body: Fields) -> str | None:
    """Return the digest of the latest thought that somebody has signed or sealed, None where there is none."""
    found = (digest for block in _latest_first(body) if (digest := signature_digest(block)))
    return next(found, None)


def signature_digest(block: object) -> str | None:
    """Return 16 hex digits of a thought's signature, or of what seals it; None where it is no thought, or has none."""
    if not isinstance(block, Mapping) or block.get("type") not in THOUGHTS:
        return None
    seal = next((seal for key in _SEALS if isinstance(seal := block.get(key), str) and seal), None)
    return None if seal is None else seal_digest(seal)


def seal_digest(seal: str) -> str:
    """Return the 16 hex digits by which a signature, or what seals a thought, is known."""
    return blake2b(seal.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _latest_first(body: Fields) -> Iterator[object]:
    """Yield the blocks of Messages and the items of Responses."""
    for turns in (body.get("messages"), body.get("input")):
        for turn in reversed(turns) if isinstance(turns, list) else ():
            content = turn.get("content") if isinstance(turn, Mapping) else None
            yield from reversed(content) if isinstance(content, list) else ()
            yield turn


def _name(tool: object) -> str | None:
    if not isinstance(tool, Mapping):
        return None
    called = next((inner for key in ("function", "custom") if isinstance(inner := tool.get(key), Mapping)), tool)
    found = called.get("name") or tool.get("type")
    return found if isinstance(found, str) else None
