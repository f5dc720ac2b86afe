"""Settings to experiments."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from plano_asgi.classify import Classifier
from plano_asgi.errors import ConfigurationError
from plano_asgi.policy import Rules
from plano_asgi.router import Experiment
from plano_asgi.settings import Settings
from plano_asgi.settings.experiments_schema import ExperimentSettings

_SHADOW: Final = "shadow"


def build_experiments(
    settings: Settings,
    usual: Classifier,
    *,
    classifier_of: Callable[[Settings], Classifier],
    rules_of: Callable[[Settings, Classifier], Rules],
    workers_of: Callable[[Settings, Classifier], int],
) -> tuple[Experiment, ...]:
    """Return the experiments, each made of the settings as it changes them.

    Args:
        settings: What to build.
        usual: What classifies where an experiment has no classifier of its own.
        classifier_of: Makes a classifier of settings.
        rules_of: Makes rules of settings, for a classifier.
        workers_of: Tells how many classifications run side by side.

    Raises:
        ConfigurationError: A calibration cannot be used with the classifier or the routes.
    """
    experiments = []
    for number, wanted in enumerate(settings.experiments):
        changed = _changed(settings, wanted)
        own = classifier_of(changed) if wanted.classifier else None
        classifier = own or usual
        experiments.append(
            Experiment(
                name=wanted.name,
                share=wanted.share,
                is_shadow=wanted.mode == _SHADOW,
                policy=changed.policy,
                rules=_rules(partial(rules_of, changed, classifier), wanted, number),
                classifier=own,
                deadline_ms=changed.classifier.deadline_ms or classifier.deadline_ms,
                workers=workers_of(changed, classifier),
            )
        )
    return tuple(experiments)


def _changed(settings: Settings, wanted: ExperimentSettings) -> Settings:
    """Return the settings that an experiment means."""
    routing, classifier = settings.routing, wanted.classifier or settings.classifier
    if wanted.threshold is not None or wanted.calibration:
        routing = routing.model_copy(update={"threshold": wanted.threshold})
    return replace(
        settings,
        routing=routing,
        classifier=classifier.model_copy(update={"calibration": _calibration_of(settings, wanted)}),
        policy=settings.experiment_policies.get(wanted.name, settings.policy),
    )


def _rules(make: Callable[[], Rules], wanted: ExperimentSettings, number: int) -> Rules:
    """Return an experiment's rules; what is wrong with its calibration is told where that is written."""
    try:
        return make()
    except ConfigurationError as error:
        if wanted.calibration is None and wanted.classifier is None:
            raise
        name = "calibration" if wanted.calibration else "classifier.calibration"
        where = f"experiments[{number}].{name}"
        raise ConfigurationError([replace(fault, where=where) for fault in error.faults]) from None


def _calibration_of(settings: Settings, wanted: ExperimentSettings) -> Path | None:
    """Return an experiment's calibration; the configured one is for the configured classifier and routes alone."""
    if wanted.calibration:
        return wanted.calibration
    if wanted.classifier:
        return wanted.classifier.calibration
    return None if wanted.routing_preferences else settings.classifier.calibration
