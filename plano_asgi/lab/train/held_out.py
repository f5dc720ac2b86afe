"""What the exam asks about: kept out of every training episode."""

import json
from pathlib import Path
from typing import Final

HELD_OUT_FILE: Final = Path(__file__).with_suffix(".json")


def held_out(name: str) -> frozenset[str]:
    """Return the labels of a public data set, or its services, that no episode may hold."""
    return frozenset(json.loads(HELD_OUT_FILE.read_text(encoding="utf-8"))[name])
