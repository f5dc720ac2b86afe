"""Whether decisions stay when a call is typed or a policy is written in another way."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from plano_asgi.assembly import build_classifier
from plano_asgi.classify import Classifier
from plano_asgi.conversation import Role
from plano_asgi.lab.evaluation.asking import ask, open_router
from plano_asgi.lab.evaluation.cases import Case
from plano_asgi.lab.evaluation.figures import Outcome
from plano_asgi.lab.noise import led, reordered, restopped, with_typos
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.settings import Settings

MISTYPED_SHARE: Final = 1 / 8
REPEATS: Final = 3
SEED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The cases and the policy once more, in another form.

    Attributes:
        policy: The routes; their names and models are the configured ones.
        cases: The cases, in their order.
    """

    policy: RoutingPolicy
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """What one kind of change does to the decisions. Shares are in [0, 1].

    Attributes:
        change: What was changed.
        rounds: How many times, each time in another way.
        flips: Share of the decisions that came out differently, rightly or wrongly; None where none could be compared.
        accuracy: Share of the changed cases decided rightly.
    """

    change: str
    rounds: int
    flips: float | None
    accuracy: float


def rounds_of(policy: RoutingPolicy, cases: Sequence[Case], *, seed: int = SEED) -> dict[str, tuple[Round, ...]]:
    """Return the changes that ought not to matter; a seed always gives the same.

    About one word in eight is mistyped, three times; all is in lower case, then in upper case; the routes are put into
    another order, three times; the descriptions get a lead ("Use this for ..."), get or lose their full stop, or are in
    lower case. Calls are changed in what the user says and nowhere else.
    """
    rng = np.random.default_rng(seed)
    same = tuple(cases)

    def typed(change: Callable[[str], str]) -> Round:
        return Round(policy=policy, cases=tuple(_retyped(case, change) for case in cases))

    def routed(preferences: Iterable[RoutingPreference]) -> Round:
        return Round(policy=RoutingPolicy(preferences=tuple(preferences)), cases=same)

    def described(change: Callable[[str], str]) -> Round:
        return routed(replace(route, description=change(route.description)) for route in policy.preferences)

    return {
        "typos": tuple(typed(lambda text: with_typos(text, MISTYPED_SHARE, rng)) for _ in range(REPEATS)),
        "lower case": (typed(str.lower),),
        "upper case": (typed(str.upper),),
        "reordered routes": tuple(routed(reordered(policy.preferences, rng)) for _ in range(REPEATS)),
        "reworded descriptions": tuple(map(described, (led, restopped, str.lower))),
    }


def robustness(
    settings: Settings,
    cases: Sequence[Case],
    outcomes: Sequence[Outcome],
    *,
    classifier: Classifier | None = None,
    watched: Callable[[Sequence[Case]], Iterable[Case]] = iter,
) -> tuple[Robustness, ...]:
    """Return how often a configuration's decisions change where they ought not to.

    A decision is compared with that on the case as it was; where either has failed there is nothing to compare.

    Args:
        settings: The configuration; its policy has a route.
        cases: The cases, at least one.
        outcomes: What its router made of each, as `evaluate` gives them.
        classifier: Stands in for the one that the settings name.
        watched: Is handed the cases of each round and gives them back one by one; shows how far it is.

    Raises:
        PlanoError: As `evaluate` does.
    """
    classifier = classifier or build_classifier(settings)  # one for all, or a large model would be loaded again
    changes = rounds_of(settings.policy, cases)
    with ExitStack() as routers:

        def asked(one: Round) -> tuple[Outcome, ...]:
            router = routers.enter_context(open_router(replace(settings, policy=one.policy), classifier=classifier))
            return ask(router, watched(one.cases))

        return tuple(_compared(change, outcomes, list(map(asked, rounds))) for change, rounds in changes.items())


def _compared(change: str, before: Sequence[Outcome], rounds: Sequence[Sequence[Outcome]]) -> Robustness:
    after = [outcome for outcomes in rounds for outcome in outcomes]
    pairs = zip([*before] * len(rounds), after, strict=True)
    flips = [old.route != new.route for old, new in pairs if not (old.is_failure or new.is_failure)]
    return Robustness(
        change=change,
        rounds=len(rounds),
        flips=sum(flips) / len(flips) if flips else None,
        accuracy=sum(outcome.is_right for outcome in after) / len(after),
    )


def _retyped(case: Case, change: Callable[[str], str]) -> Case:
    messages = (
        replace(message, text=change(message.text)) if message.role is Role.USER else message
        for message in case.call.conversation
    )
    return replace(case, call=replace(case.call, conversation=tuple(messages)))
