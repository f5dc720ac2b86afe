"""Fakes for tests of services that route: decisions without a model.

```python
with routed_by({"parser": "code_generation"}) as decisions:
    client.post("/v1/messages", json=call)
assert decisions[0].route == "code_generation"
```
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Final

from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.conversation import Conversation, Role
from plano_asgi.decisions import RoutingDecision, Scores
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.router.stand_in import standing_in

__all__ = ["FixedClassifier", "Rule", "failing", "routed_by", "slow"]

Rule = Callable[[str], str | None]
"""The route for a call by the text of its latest user message; None for no route."""


@contextmanager
def routed_by(rule: Mapping[str, str] | Rule) -> Iterator[list[RoutingDecision]]:
    """Let a rule decide instead of a model, everywhere in this process, and yield the list of decisions made since.

    The app under test needs no change, wherever its router was made: its settings hold, its policy and its models; only
    what reads the conversation is replaced. No model is loaded meanwhile, and no decision comes from the cache.

    Args:
        rule: Routes by texts, of which the first that the latest user message contains decides, in any case of letters;
            or a function that returns a route, and may raise or take its time.

    Raises:
        AssertionError: At the end, where the rule named a route that the policy of a call does not have.
    """
    judge = _Judge(_by_text(rule) if isinstance(rule, Mapping) else rule)
    with standing_in(judge):
        yield judge.decisions
    if judge.mistakes:
        raise AssertionError("; ".join(sorted(judge.mistakes)))


def failing(text: str) -> str | None:
    """Be a rule that has no answer, as a classifier that is broken: `routing.on_error` decides."""
    del text
    raise RuntimeError("this rule always fails")


def slow(seconds: float, then: Mapping[str, str] | Rule | None = None) -> Rule:
    """Return a rule that takes its time, as an overloaded classifier; beyond its deadline `routing.on_error` decides.

    Args:
        seconds: How long each answer takes.
        then: The rule that answers after that; without it, no route.
    """
    answer = _by_text(then) if isinstance(then, Mapping) else then

    def wait(text: str) -> str | None:
        time.sleep(seconds)
        return answer(text) if answer else None

    return wait


def _by_text(routes: Mapping[str, str]) -> Rule:
    def rule(text: str) -> str | None:
        return next((route for part, route in routes.items() if part.casefold() in text.casefold()), None)

    return rule


_turns: Final = count()  # of all rules of this process, since the next one may lie where the last one lay


class _Judge:
    """A classifier that obeys a rule, and remembers what was decided."""

    kind: Final = "rule"
    threshold: Final = 0.5
    deadline_ms: Final = 1_000.0
    parallelism: Final = 4

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self.decisions: list[RoutingDecision] = []
        self.mistakes: set[str] = set()

    @property
    def revision(self) -> str:
        """A new one each time: nothing is shared or remembered."""
        return f"rule {next(_turns)}"

    def prepare(self, policy: RoutingPolicy) -> None:
        """Do nothing."""

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return certainty."""
        del is_awaited
        route = self._rule(next(message.text for message in reversed(conversation) if message.role is Role.USER))
        names = [preference.name for preference in policy.preferences]
        if route is not None and route not in names:
            self.mistakes.add(f"the rule names the route {route!r}; the policy has {', '.join(names)}")
        chances = {name: float(name == route) for name in names}
        return Scores(routes=chances, other=float(route not in names))

    def hear(self, decision: RoutingDecision) -> None:
        """Remember the decision."""
        self.decisions.append(decision)

    def close(self) -> None:
        """Do nothing."""


class FixedClassifier:
    """A classifier that always thinks the same, and counts how often it was asked.

    Attributes:
        kind: `fixed`.
        revision: `fixed`.
        threshold: 0.5.
        deadline_ms: 1,000.
        parallelism: 4.
        calls: The conversations it was given, in order.
    """

    kind: Final = "fixed"
    revision: Final = "fixed"
    threshold: Final = 0.5
    deadline_ms: Final = 1_000.0
    parallelism: Final = 4

    def __init__(self, chances: Mapping[str, float], *, before: Callable[[], object] = lambda: None) -> None:
        """Fix the chances.

        Args:
            chances: Probability in [0, 1] of routes by name; routes that are not named have 0.
            before: Called on the worker thread before each answer; sleep or raise in it to play a slow or broken one.
        """
        self._chances = dict(chances)
        self._before = before
        self.calls: list[Conversation] = []

    def prepare(self, policy: RoutingPolicy) -> None:
        """Do nothing."""

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return the fixed chances, and what they leave for none of the routes."""
        del is_awaited
        self.calls.append(conversation)
        self._before()
        routes = {preference.name: self._chances.get(preference.name, 0.0) for preference in policy.preferences}
        return Scores(routes=routes, other=max(0.0, 1.0 - sum(routes.values())))

    def close(self) -> None:
        """Do nothing."""
