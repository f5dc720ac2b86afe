"""Small text files, read whole and within bounds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_FILE_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class FileText:
    """What a file says, or why it cannot be read.

    Attributes:
        text: The content; empty where it cannot be read.
        problem: What is wrong, without the path; empty where nothing is.
        line: The line of the problem, or 0.
    """

    text: str = ""
    problem: str = ""
    line: int = 0


def read_file(path: Path) -> FileText:
    """Return the text of a UTF-8 file of at most 1 MiB, or what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return FileText(problem="does not exist")
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return FileText(problem="cannot be read; check that it is a file and that this process may read it")
    if len(data) > MAX_FILE_BYTES:
        return FileText(problem=f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        return FileText(text=data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        bad_at = error.start
    return FileText(problem="is not UTF-8 text", line=data.count(b"\n", 0, bad_at) + 1)
