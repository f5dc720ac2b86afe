"""How far the stated rule for tokens is off, against real tokenizers: prose of many languages, code, data.

```text
python benchmarks/tokens.py TOKENIZER [TOKENIZER ...]
```

A tokenizer is the path of a `tokenizer.json` or an encoding of tiktoken's. The texts are this repository's pages, and
Django's translations and code; numbers and the like are drawn with a fixed seed. Each figure is the rule's count
divided by the tokenizer's own; in brackets the same of a token for every four bytes.
"""

import argparse
import json
import random
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from uuid import UUID

import django
from rich.console import Console
from rich.table import Table

from plano_asgi.tokens import tokens_by_rule
from plano_asgi.tokens.loading import ENCODINGS, load_encoding, load_file

REPOSITORY: Final = Path(__file__).parents[1]
DJANGO: Final = Path(django.__file__).parent
LANGUAGES: Final[Mapping[str, str]] = {
    "Spanish": "es", "German": "de", "Polish": "pl", "Finnish": "fi", "Turkish": "tr", "Vietnamese": "vi",
    "Greek": "el", "Russian": "ru", "Arabic": "ar", "Hebrew": "he", "Hindi": "hi", "Tamil": "ta", "Thai": "th",
    "Georgian": "ka", "Chinese": "zh_Hans", "Japanese": "ja", "Korean": "ko",
}  # fmt: skip
MOST_CHARACTERS: Final = 40_000
LEAST_CHARACTERS: Final = 20  # of a translation; shorter ones are words
_TRANSLATED: Final = re.compile(r'msgstr(?:\[0\])?\s+((?:"(?:[^"\\]|\\.)*"\s*)+)')
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


def texts() -> Iterator[tuple[str, str]]:
    """Yield what each text is, and the text."""
    yield "English", _joined((REPOSITORY / "docs").glob("*.md"))
    for name, code in LANGUAGES.items():
        yield name, _translations(DJANGO / f"conf/locale/{code}/LC_MESSAGES/django.po")
    yield "Python", _joined((DJANGO / "db/models").glob("*.py"))
    yield "JavaScript", _joined((DJANGO / "contrib/admin/static/admin/js").glob("*.js"))
    yield "HTML", _joined((DJANGO / "contrib/admin/templates/admin").glob("*.html"))
    chance = random.Random(1)  # noqa: S311 - the same texts every time
    rows = [
        {"id": chance.randrange(10**6), "name": "Anna", "price": round(chance.random() * 100, 2)} for _ in range(400)
    ]
    yield "JSON", json.dumps(rows, separators=(",", ":"))
    yield "numbers", "\n".join(f"{chance.random() * 1000:.3f},{chance.random() * 1000:.3f}" for _ in range(800))
    yield "UUIDs", "\n".join(str(UUID(int=chance.getrandbits(128))) for _ in range(300))
    yield "base64", b64encode(chance.randbytes(9_000)).decode()
    yield "emoji", "".join(chance.choice("😀🎉🚀🔥✨🤖🧠📈") for _ in range(3_000))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizers", nargs="+", help="a tokenizer.json, or an encoding of tiktoken's")
    written = parser.parse_args().tokenizers
    loaded = [load_encoding(name) if name in ENCODINGS else load_file(Path(name)) for name in written]
    names = [name if name in ENCODINGS else f"{Path(name).parent.name}/{Path(name).name}" for name in written]
    table = Table("text", *names, title="the rule by the tokenizer (four bytes a token by the tokenizer)")
    for name, text in texts():
        real = [tokenize(text) for tokenize in loaded]
        by_rule, by_bytes = tokens_by_rule([text]), len(text.encode()) / 4
        table.add_row(name, *(f"{by_rule / tokens:.2f} ({by_bytes / tokens:.2f})" for tokens in real))
    Console(width=120).print(table)


def _joined(paths: Iterator[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(paths))[:MOST_CHARACTERS]


def _translations(path: Path) -> str:
    """Return the sentences of a catalogue."""
    found = _TRANSLATED.findall(path.read_text(encoding="utf-8"))
    said = ("".join(json.loads(part) for part in _QUOTED.findall(lines)) for lines in found)
    return "\n".join(sentence for sentence in said if len(sentence) > LEAST_CHARACTERS and "Project-Id" not in sentence)


if __name__ == "__main__":
    main()
