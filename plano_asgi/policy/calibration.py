"""What was found out about a classifier's confidence on cases with known answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How a classifier's confidence is to be read, for one policy.

    Attributes:
        classifier: The revision of the classifier that it was fitted for; for another it means nothing.
        temperature: See `tempered`.
        threshold: Least confidence in [0, 1], at that temperature, that selects a route.
        thresholds: The same of single routes.
        cases: How many cases it was fitted on.
        date: The day on which it was, as in 2026-01-31.
    """

    classifier: str
    temperature: float
    threshold: float
    thresholds: Mapping[str, float]
    cases: int
    date: str

    def __post_init__(self) -> None:
        """Freeze the mapping."""
        object.__setattr__(self, "thresholds", MappingProxyType(dict(self.thresholds)))
