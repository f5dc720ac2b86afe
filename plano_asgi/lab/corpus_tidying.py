"""Keep the corpus free of near-duplicates, and apart from the exam: `python -m plano_asgi.lab.corpus_tidying`.

A text repeats another where their sets of words are all but equal (Jaccard index of 0.8 or more). Of two such lines the
later one is dropped. The exam is `benchmarks/data` of this repository; lines near to it are dropped as well.
"""

import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from plano_asgi.lab.corpus_files import CORPUS_FOLDER

ALIKE: Final = 0.8
FEWEST_WORDS: Final = 6  # greetings and thanks are nobody's invention
Row = Mapping[str, Any]


class SaidBefore:
    """Remembers texts and finds those that say nearly the same."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """Remember these."""
        self._by_mark: dict[str, list[tuple[str, frozenset[str]]]] = defaultdict(list)
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Remember a text."""
        own = words(text)
        for mark in _marks(own):
            self._by_mark[mark].append((text, own))

    def like(self, text: str) -> Iterator[str]:
        """Yield the texts that are nearly this one; none for a text of few words."""
        own = words(text)
        if len(own) < FEWEST_WORDS:
            return
        marked = {other: theirs for mark in _marks(own) for other, theirs in self._by_mark[mark]}
        for other, theirs in marked.items():
            if len(own & theirs) >= ALIKE * len(own | theirs):
                yield other


def _marks(own: frozenset[str]) -> list[str]:
    """Return some words of a text, of which any text like it has one among its own: too few are left without them."""
    rarest_first = sorted(own, key=lambda word: (-len(word), word))
    return rarest_first[: len(own) - math.ceil(ALIKE * len(own)) + 1]


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(re.findall(r"\w+", text.lower()))


def asked_in(row: Row) -> list[str]:
    """Return what users say last in a line of the corpus, in each case of a policy."""
    cases = [case["messages"][-1]["content"] for case in [row, *row.get("cases", ())] if "messages" in case]
    return [*cases, *([row["text"]] if "text" in row else ())]


def tidied(lines: Iterable[Row], said: SaidBefore) -> Iterator[Row]:
    """Yield the lines, and the cases of policies, that repeat nothing; what is kept is remembered in `said`."""
    for row in lines:
        cases = [case for case in row.get("cases", ()) if _is_new(case["messages"][-1]["content"], said)]
        if "cases" in row:
            yield {**row, "cases": cases}
        elif all(_is_new(text, said) for text in asked_in(row)):
            yield row


def _is_new(text: str, said: SaidBefore) -> bool:
    if any(said.like(text)):
        return False
    said.add(text)
    return True


def main() -> None:
    """Rewrite the files of the corpus that repeat something."""
    exam = Path(__file__).parents[2] / "benchmarks" / "data"
    examined = (json.loads(line) for path in sorted(exam.glob("*.jsonl")) for line in path.read_text().splitlines())
    said = SaidBefore(text for row in examined for text in asked_in(row))
    for path in sorted(CORPUS_FOLDER.glob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        kept = list(tidied(rows, said))
        if kept != rows:
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept), encoding="utf-8")
            before, after = (sum(len(asked_in(row)) for row in each) for each in (rows, kept))
            sys.stdout.write(f"{path.name}: dropped {before - after}\n")


if __name__ == "__main__":
    main()
