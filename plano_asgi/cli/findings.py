"""What `plano-asgi doctor` finds."""

from collections.abc import Callable
from dataclasses import dataclass

from plano_asgi.errors import PlanoError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the doctor looked at; `ok` is None where it is neither good nor bad."""

    subject: str
    finding: str
    ok: bool | None = None


def attempted(subject: str, look: Callable[[], str]) -> Finding:
    """Return what a look found, or what is wrong where it raises."""
    try:
        return Finding(subject, look(), ok=True)
    except PlanoError as error:
        return Finding(subject, str(error), ok=False)
