"""What a translation could not carry: noted once, in the order of its discovery, and never without a reason."""

import re
from dataclasses import dataclass
from typing import Final

from plano_asgi.wire.fields import place

MOST_LOSSES: Final = 64
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Loss:
    """One thing that did not come across.

    Attributes:
        path: Where it stood in what was translated, e.g. `messages[2].content[0].cache_control`; never its value.
        why: Why it could not come, or what stands in its place.
    """

    path: str
    why: str

    def __str__(self) -> str:
        """Return `path: why`."""
        return f"{self.path}: {self.why}"


class Losses:
    """The losses of one translation; each is kept once, and at most 64 of them."""

    def __init__(self) -> None:
        """Start with none."""
        self._noted: dict[Loss, None] = {}
        self._is_full = False

    def add(self, path: str, why: str) -> None:
        """Note a loss."""
        if len(self._noted) < MOST_LOSSES:
            self._noted[Loss(path, why)] = None
        elif Loss(path, why) not in self._noted:
            self._is_full = True

    @property
    def noted(self) -> tuple[Loss, ...]:
        """All losses in the order they were found; a last one says so where there were more than are kept."""
        more = (Loss("...", f"more was lost than the {MOST_LOSSES} things listed"),) if self._is_full else ()
        return (*self._noted, *more)


def safe_place(parent: str, key: str) -> str:
    """Return the place of a child whose key somebody else chose: a key that is no plain name is not repeated."""
    return place(parent, key if _NAME.fullmatch(key) else "?")
