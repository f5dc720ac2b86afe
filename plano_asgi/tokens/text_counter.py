"""Counting texts by a real tokenizer, piece by piece within a deadline, and remembering how many tokens each had."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from threading import Lock
from time import thread_time
from typing import Final

from cachetools import LRUCache

Tokenize = Callable[[str], int]  # how many tokens a text has; thread-safe

PIECE_CHARACTERS: Final = 1_024  # so much at once: a tokenizer may keep all other threads waiting meanwhile
_DIGEST_BYTES: Final = 16
_TRIES: Final = 8


@dataclass(frozen=True, slots=True)
class Counted:
    """How far some texts were counted.

    Attributes:
        tokens: How many there are in what was counted.
        left: What was not, since the time was over.
    """

    tokens: int
    left: Sequence[str] = field(repr=False)


class TextCounter:
    """Counts texts by one tokenizer; thread-safe.

    A conversation says again what it has said before, so the counts of the `size` texts used last are kept, each under
    a digest of the text.
    """

    def __init__(self, tokenize: Tokenize, *, size: int) -> None:
        """Know no text yet."""
        self._tokenize = tokenize
        self._counts: LRUCache[bytes, int] = LRUCache(maxsize=size)
        self._lock = Lock()

    def unknown_characters(self, texts: Iterable[str]) -> int:
        """Return how long those of the texts are that would have to be counted."""
        return sum(len(text) for text in texts if self._known(_digest(text)) is None)

    def count(self, texts: Iterable[str], *, deadline_s: float) -> Counted:
        """Return how many tokens texts have, counted for so many seconds of this thread's processor time at the most.

        A text of more than 1,024 characters is counted in pieces that end before a word, where tokens end too; one that
        has no words so long may come out a token higher for each piece.
        """
        until = thread_time() + deadline_s
        tokens, left = 0, []
        for text in filter(None, texts):
            digest = _digest(text)
            known = self._known(digest)
            if known is not None:
                tokens += known
                continue
            of_text, rest = self._count(text, until)
            tokens += of_text
            if rest:
                left.append(rest)
            else:
                with self._lock:
                    self._counts[digest] = of_text
        return Counted(tokens, left)

    def _known(self, digest: bytes) -> int | None:
        with self._lock:
            return self._counts.get(digest)

    def _count(self, text: str, until: float) -> tuple[int, str]:
        """Return how many tokens a text has as far as the time reaches, and the rest of it."""
        text = text.encode("utf-8", "replace").decode()  # no tokenizer takes lone surrogates
        tokens = at = 0
        while at < len(text):
            if thread_time() >= until:
                return tokens, text[at:]
            end = _end_of_piece(text, at)
            tokens += self._tokenize(text[at:end])
            at = end
        return tokens, ""


def _end_of_piece(text: str, at: int) -> int:
    """Return where a piece that begins at `at` ends: before a single space between words, if there is one."""
    furthest = at + PIECE_CHARACTERS
    if len(text) <= furthest:
        return len(text)
    end = furthest
    for _ in range(_TRIES):
        end = text.rfind(" ", at + 1, end)
        if end < 0:
            break
        if not text[end - 1].isspace() and not text[end + 1].isspace():
            return end
    return furthest


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
