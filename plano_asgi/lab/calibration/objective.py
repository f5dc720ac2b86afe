"""What a calibration's thresholds are chosen for."""

from enum import StrEnum


class Objective(StrEnum):
    """What the thresholds make as large as they can."""

    ACCURACY = "accuracy"
    BALANCED = "balanced"
