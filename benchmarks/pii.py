"""How much personal data is found, and how much that is none: by kind and locale, on lines written by hand.

In `data/pii_corpus.jsonl` what is to be found stands in double brackets with its kind: `[[email|a@example.org]]`. It
counts as found where it is found from its first sign to its last, as that kind. `--speed` tells what searching costs
in prose, in code and in the corpus, beside the time that `re` takes to count the words of the same text.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from plano_asgi.guard.pii import Kind, find_personal

CORPUS: Final = Path(__file__).parent / "data" / "pii_corpus.jsonl"
_MARK: Final = re.compile(r"\[\[(\w+)\|(.+?)\]\]")
_KIB: Final = 1024
_PAGE: Final = 4 * _KIB
_MOST: Final = 256 * _KIB


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the corpus.

    Attributes:
        locale: Its language.
        text: What is searched.
        spans: What is to be found: kind, start and end.
    """

    locale: str
    text: str
    spans: frozenset[tuple[Kind, int, int]]


@dataclass(slots=True)
class Tally:
    """How many were to be found, were found, and were found rightly."""

    wanted: int = 0
    found: int = 0
    right: int = 0

    @property
    def recall(self) -> float:
        """The share of what was to be found that was; 1 where nothing was."""
        return self.right / self.wanted if self.wanted else 1.0

    @property
    def precision(self) -> float:
        """The share of what was found that was right; 1 where nothing was found."""
        return self.right / self.found if self.found else 1.0


def corpus() -> tuple[Line, ...]:
    """Return the lines."""
    with CORPUS.open(encoding="utf-8") as lines:
        return tuple(_line(json.loads(line)) for line in lines)


def _line(written: dict[str, str]) -> Line:
    text, spans, end = "", set[tuple[Kind, int, int]](), 0
    for mark in _MARK.finditer(written["text"]):
        text += written["text"][end : mark.start()]
        spans.add((Kind(mark[1]), len(text), len(text) + len(mark[2])))
        text, end = text + mark[2], mark.end()
    return Line(written["locale"], text + written["text"][end:], frozenset(spans))


def found_in(line: Line) -> frozenset[tuple[Kind, int, int]]:
    """Return what is found in a line."""
    return frozenset((Kind(one.kind), one.start, one.end) for one in find_personal(line.text))


def tallies(lines: Iterable[Line]) -> dict[tuple[str, str], Tally]:
    """Return the tally of each kind and each locale, `all` being one of either."""
    counted: dict[tuple[str, str], Tally] = {}
    for line in lines:
        found = found_in(line)
        for kind, *_ in (*line.spans, *found):
            for key in ((kind.value, line.locale), (kind.value, "all"), ("all", line.locale), ("all", "all")):
                counted.setdefault(key, Tally())
        for spans, name in ((line.spans, "wanted"), (found, "found"), (line.spans & found, "right")):
            for kind, *_ in spans:
                for key in ((kind.value, line.locale), (kind.value, "all"), ("all", line.locale), ("all", "all")):
                    setattr(counted[key], name, getattr(counted[key], name) + 1)
    return counted


def table(counted: dict[tuple[str, str], Tally]) -> Iterator[str]:
    """Yield the lines of a table in Markdown: recall and precision, in percent."""
    locales = sorted({locale for _, locale in counted} - {"all"})
    yield f"| recall / precision | {' | '.join((*locales, 'all'))} |"
    yield "|---" * (len(locales) + 2) + "|"
    for kind in (*(kind.value for kind in Kind), "all"):
        cells = [counted.get((kind, locale)) for locale in (*locales, "all")]
        told = [f"{tally.recall:.0%} / {tally.precision:.0%}" if tally else "-" for tally in cells]
        yield f"| {kind} | {' | '.join(told)} |"


def speed(text: str, *, rounds: int = 9) -> tuple[float, float]:
    """Return microseconds for 1,024 characters: of the search, and of counting the words of the same text."""
    pages = [text[at : at + _PAGE] for at in range(0, len(text), _PAGE)]
    words = re.compile(r"\w+")

    def took(work: Callable[[str], object]) -> float:
        times = []
        for _ in range(rounds):
            started = perf_counter()
            for page in pages:
                work(page)
            times.append(perf_counter() - started)
        return median(times) / sum(map(len, pages)) * _KIB * 1e6

    return took(find_personal), took(lambda page: sum(1 for _ in words.finditer(page)))


def main() -> None:
    """Print the table, and what is missed or wrong; or what searching costs."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--speed", action="store_true", help="measure the time")
    options.add_argument("--misses", action="store_true", help="list what is missed or wrong")
    chosen, lines = options.parse_args(), corpus()
    print("\n".join(table(tallies(lines))))
    for line in lines if chosen.misses else ():
        for kind, start, end in sorted(line.spans ^ found_in(line), key=lambda span: span[1:]):
            what = "missed" if (kind, start, end) in line.spans else "wrong"
            print(f"{what} {line.locale} {kind.value}: {line.text[start:end]!r} in {line.text!r}")
    if chosen.speed:
        root = CORPUS.parents[2]
        pages = "\n".join(path.read_text(encoding="utf-8") for path in sorted((root / "docs").glob("*.md")))
        code = "\n".join(path.read_text(encoding="utf-8") for path in sorted((root / "plano_asgi").rglob("*.py")))
        dense = "\n".join(line.text for line in lines)
        for name, text in (("pages of docs", pages), ("Python", code), ("the corpus", dense)):
            search, words = speed(text[:_MOST])
            print(f"{name}: {search:.0f} us for 1,024 characters, {search / words:.1f} times counting the words")


if __name__ == "__main__":
    main()
