"""Settings to experiments."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from plano_asgi.classify import Classifier
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
    """
    experiments = []
    for wanted in settings.experiments:
        changed = _changed(settings, wanted)
        own = classifier_of(changed) if wanted.classifier else None
        classifier = own or usual
        experiments.append(
            Experiment(
                name=wanted.name,
                share=wanted.share,
                is_shadow=wanted.mode == _SHADOW,
                policy=changed.policy,
                rules=rules_of(changed, classifier),
                classifier=own,
                deadline_ms=changed.classifier.deadline_ms or classifier.deadline_ms,
                workers=workers_of(changed, classifier),
            )
        )
    return tuple(experiments)


def _changed(settings: Settings, wanted: ExperimentSettings) -> Settings:
    """Return the settings that an experiment means."""
    routing = settings.routing
    if wanted.threshold is not None:
        routing = routing.model_copy(update={"threshold": wanted.threshold})
    return replace(
        settings,
        routing=routing,
        classifier=wanted.classifier or settings.classifier,
        policy=settings.experiment_policies.get(wanted.name, settings.policy),
    )
