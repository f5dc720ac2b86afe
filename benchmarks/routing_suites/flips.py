"""How often a decision changes where it should not: typos, casing, the order of the routes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from benchmarks.routing_suites.suites import Case, Suite
from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.conversation import Conversation
from plano_asgi.lab.noise import with_typos
from plano_asgi.preferences import RoutingPolicy

MOST_CASES: Final = 600
TYPOS: Final = 0.12
SEED: Final = 7
Change = Callable[[Case, Suite, np.random.Generator], tuple[Conversation, RoutingPolicy]]


def flip_rates(router: EmbeddedClassifier, suites: Sequence[Suite]) -> Mapping[str, float]:
    """Return the share of decisions that each change turns over, on a sample of all cases."""
    pairs = [(case, suite) for suite in suites for case in suite.cases]
    sample = [pairs[int(i)] for i in np.random.default_rng(SEED).permutation(len(pairs))[:MOST_CASES]]
    before = [_decided(router, case.conversation, suite.policy) for case, suite in sample]
    rates = {}
    for name, change in CHANGES.items():
        rng = np.random.default_rng(SEED)
        after = [_decided(router, *change(case, suite, rng)) for case, suite in sample]
        rates[name] = round(sum(a != b for a, b in zip(before, after, strict=True)) / len(sample), 3)
    return rates


def _decided(router: EmbeddedClassifier, conversation: Conversation, policy: RoutingPolicy) -> str | None:
    scores = router.classify(conversation, policy)
    best = max(scores.routes, key=lambda name: scores.routes[name])
    return best if scores.routes[best] >= router.threshold else None


def _spoken(case: Case, say: Callable[[str], str]) -> Conversation:
    *before, last = case.conversation
    return (*before, replace(last, text=say(last.text)))


def _with_typos(case: Case, suite: Suite, rng: np.random.Generator) -> tuple[Conversation, RoutingPolicy]:
    return _spoken(case, lambda text: with_typos(text, TYPOS, rng)), suite.policy


def _upper(case: Case, suite: Suite, rng: np.random.Generator) -> tuple[Conversation, RoutingPolicy]:
    del rng
    return _spoken(case, str.upper), suite.policy


def _lower(case: Case, suite: Suite, rng: np.random.Generator) -> tuple[Conversation, RoutingPolicy]:
    del rng
    return _spoken(case, str.lower), suite.policy


def _reordered(case: Case, suite: Suite, rng: np.random.Generator) -> tuple[Conversation, RoutingPolicy]:
    preferences = suite.policy.preferences
    order = rng.permutation(len(preferences))
    return case.conversation, replace(suite.policy, preferences=tuple(preferences[int(i)] for i in order))


CHANGES: Final[Mapping[str, Change]] = {
    "typos": _with_typos,
    "upper case": _upper,
    "lower case": _lower,
    "routes reordered": _reordered,
}
