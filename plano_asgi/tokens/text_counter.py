"""Counting texts by a real tokenizer, piece by piece within a deadline, and remembering how many tokens each had."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from time import thread_time
from typing import Final

Tokenize = Callable[[str], int]  # how many tokens a text has; thread-safe

PIECE_CHARACTERS: Final = 1_024  # so much at once: a tokenizer may keep all other threads waiting meanwhile
_TRIES: Final = 8


Digested = tuple[bytes, str]  # a digest of a text, and the text


@dataclass(frozen=True, slots=True)
class LookedUp:
    """What is known of some texts.

    Attributes:
        tokens: How many those have that were counted before.
        unknown: Those that were not.
    """

    tokens: int
    unknown: Sequence[Digested] = field(repr=False)

    @property
    def unknown_characters(self) -> int:
        """How long those are together that were not counted before."""
        return sum([len(text) for _, text in self.unknown])


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
        self._size = size
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._lock = Lock()

    def look_up(self, texts: Iterable[Digested]) -> LookedUp:
        """Return what was counted before, without asking the tokenizer."""
        tokens, unknown = 0, []
        with self._lock:
            for digested in texts:
                known = self._counts.get(digested[0])
                if known is None:
                    unknown.append(digested)
                else:
                    self._counts.move_to_end(digested[0])
                    tokens += known
        return LookedUp(tokens, unknown)

    def count(self, looked_up: LookedUp, *, until: float) -> Counted:
        """Return how many tokens texts have, counted until this thread's processor time is `until` at the latest.

        A text of more than 1,024 characters is counted in pieces that end before a word, where tokens end too; one that
        has no words so long may come out a token higher for each piece.
        """
        tokens, left = looked_up.tokens, []
        for digest, text in looked_up.unknown:
            of_text, rest = self._count(text, until)
            tokens += of_text
            if rest:
                left.append(rest)
            else:
                self._keep(digest, of_text)
        return Counted(tokens, left)

    def _keep(self, digest: bytes, tokens: int) -> None:
        with self._lock:
            self._counts[digest] = tokens
            if len(self._counts) > self._size:
                self._counts.popitem(last=False)

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
