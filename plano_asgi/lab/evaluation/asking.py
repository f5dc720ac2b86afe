"""Asking a router about every case, as the service would ask it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

from plano_asgi.assembly import build_router
from plano_asgi.classify import Classifier
from plano_asgi.decisions import Reason, RoutingDecision
from plano_asgi.lab.evaluation.cases import Case
from plano_asgi.lab.evaluation.figures import Figures, Outcome, figures_of
from plano_asgi.router import OnError, Router
from plano_asgi.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How one configuration's router did.

    Attributes:
        classifier: The classifier's kind.
        revision: The classifier's revision.
        threshold: The least confidence in [0, 1] that selected a route.
        thresholds: The same of the routes that have one of their own.
        temperature: By what the classifier's confidence was corrected; 1 where it was not.
        outcomes: What it made of each case, in the cases' order.
        figures: What the outcomes amount to.
    """

    classifier: str
    revision: str
    threshold: float
    thresholds: Mapping[str, float]
    temperature: float
    outcomes: tuple[Outcome, ...]
    figures: Figures


def evaluate(settings: Settings, cases: Iterable[Case], *, classifier: Classifier | None = None) -> Evaluation:
    """Return how a configuration's router does on the cases, at least one, asked one after another when it is warm.

    Threshold and deadline are the service's. Nothing is remembered from one case to the next, so that a case that is
    there twice is classified and timed twice; a router that is switched off is evaluated as if it were on.

    Args:
        settings: The configuration.
        cases: The cases.
        classifier: Stands in for the one that the settings name.

    Raises:
        ConfigurationError: The settings name a classifier that this version does not have.
        MissingExtraError: They ask for an extra that is not installed.
        ArtifactError: A model file is missing or not the published one.
        ClassificationError: The classifier cannot answer at all.
    """
    with open_router(settings, classifier=classifier) as router:
        outcomes = ask(router, cases)
    return Evaluation(
        classifier=router.classifier.kind,
        revision=router.classifier.revision,
        threshold=router.rules.threshold,
        thresholds=router.rules.thresholds,
        temperature=router.rules.temperature,
        outcomes=outcomes,
        figures=figures_of(outcomes, routes=(preference.name for preference in router.policy.preferences)),
    )


@contextmanager
def open_router(settings: Settings, *, classifier: Classifier | None = None) -> Iterator[Router]:
    """Yield a configuration's router, warm, on and without a memory, and close it afterwards; raises as `evaluate`."""
    forgetful = replace(
        settings,
        enabled=True,
        cache=settings.cache.model_copy(update={"size": 0}),
        routing=settings.routing.model_copy(update={"on_error": OnError.DEFAULT.value}),  # a failure is an outcome here
    )
    router = build_router(forgetful, classifier=classifier)
    try:
        router.start()
        if router.problem is not None:
            raise router.problem
        yield router
    finally:
        router.close()


def ask(router: Router, cases: Iterable[Case]) -> tuple[Outcome, ...]:
    """Return what a router makes of each case, one after another."""
    return tuple(_outcome(router, case) for case in cases)


def _outcome(router: Router, case: Case) -> Outcome:
    started = perf_counter()
    decision = router.route(case.call)
    return Outcome(
        expect=case.expect,
        route=decision.route,
        confidence=_confidence(decision),
        elapsed_ms=(perf_counter() - started) * 1000,
        is_failure=decision.reason is Reason.ERROR,
        scores=decision.scores,
    )


def _confidence(decision: RoutingDecision) -> float | None:
    """Return the probability of what was decided; a decision's own is that of the best route, even where it missed."""
    if decision.scores is None:
        return None
    return decision.scores.other if decision.route is None else decision.scores.routes[decision.route]
