"""The calibration file: its form, and whether it is the running classifier's."""

import json
from math import isfinite
from pathlib import Path
from typing import Any

from plano_asgi.classify import Classifier
from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.policy import Calibration
from plano_asgi.settings import Settings
from plano_asgi.settings.files import read_file


def calibration_of(settings: Settings, classifier: Classifier) -> Calibration | None:
    """Return the calibration that the settings name, fitted for this classifier and these routes; None for none.

    Raises:
        ConfigurationError: It cannot be read, or was fitted for another classifier or other routes.
    """
    path = settings.classifier.calibration
    if path is None:
        return None
    calibration = _read(path)
    if calibration.classifier != classifier.revision:
        what = f"{path} is for the classifier {calibration.classifier}; the one in use is {classifier.revision}"
        raise _refused(f"{what}; run plano-asgi calibrate again, or remove the setting")
    routes = {preference.name for preference in settings.policy.preferences}
    for route in calibration.thresholds:
        if route not in routes:
            what = f"{path} has a threshold for {route!r}, which is no route of the policy"
            raise _refused(f"{what}; run plano-asgi calibrate again, or remove the setting")
    return calibration


def calibration_text(calibration: Calibration) -> str:
    """Return the content of a calibration file."""
    said = {name: getattr(calibration, name) for name in Calibration.__dataclass_fields__}
    return json.dumps({**said, "thresholds": dict(calibration.thresholds)}, indent=2, ensure_ascii=False) + "\n"


def _read(path: Path) -> Calibration:
    file = read_file(path)
    if file.problem:
        raise _refused(f"{path} {file.problem}; write it with plano-asgi calibrate")
    try:
        return _parsed(json.loads(file.text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _refused(f"{path} is not a calibration; write it with plano-asgi calibrate") from None


def _parsed(said: Any) -> Calibration:  # noqa: ANN401 - JSON of any shape, narrowed here
    calibration = Calibration(
        classifier=str(said["classifier"]),
        temperature=float(said["temperature"]),
        threshold=float(said["threshold"]),
        thresholds={str(route): float(threshold) for route, threshold in said["thresholds"].items()},
        cases=int(said["cases"]),
        date=str(said["date"]),
    )
    if not (isfinite(calibration.temperature) and calibration.temperature > 0):
        raise ValueError("a temperature is above 0")
    if not all(0 <= threshold <= 1 for threshold in (calibration.threshold, *calibration.thresholds.values())):
        raise ValueError("a threshold is between 0 and 1")
    return calibration


def _refused(what: str) -> ConfigurationError:
    return ConfigurationError([Fault(where="classifier.calibration", what=what)])
