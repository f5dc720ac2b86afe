"""What is known of models beside their names: what they cost, and how fast they were lately."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final, Protocol

from plano_asgi.decisions import Reason, RoutingDecision
from plano_asgi.policy.selection import answer_s, cost_of, ranked
from plano_asgi.preferences import RoutingPolicy, SelectionPolicy
from plano_asgi.prices import PriceList
from plano_asgi.providers import ModelCatalog, bare_model
from plano_asgi.tokens import TokenCounter

LATEST_SHARE: Final = 0.2  # of an average, what was measured last


@dataclass(frozen=True, slots=True)
class _Speed:
    first_token_s: float | None = None
    token_s: float | None = None


class ModelSpeeds:
    """How fast each declared model has answered lately: moving averages; thread-safe, bounded by the catalog."""

    def __init__(self, catalog: ModelCatalog) -> None:
        """Know nothing yet."""
        self._models: Final = catalog.models
        self._speeds: dict[str, _Speed] = {}
        self._lock = Lock()

    def note(self, model: str, *, first_token_s: float | None, token_s: float | None) -> None:
        """Take note of one answer; None where something was not measured.

        Args:
            model: The qualified model; one that is not declared is passed over.
            first_token_s: Seconds until its first token.
            token_s: Seconds for each token after that.
        """
        if model not in self._models:
            return
        with self._lock:
            known = self._speeds.get(model, _Speed())
            self._speeds[model] = _Speed(_average(known.first_token_s, first_token_s), _average(known.token_s, token_s))

    def answer_s(self, model: str) -> float | None:
        """Return about how many seconds an answer of a model takes, None where it has given none yet."""
        known = self._speeds.get(model, _Speed())
        return answer_s(first_token_s=known.first_token_s, token_s=known.token_s)


class MetricsSource(Protocol):
    """Something that is read beside the calls."""

    def start(self) -> None:
        """Begin to read, unless that has begun."""

    def stop(self) -> None:
        """Read no more."""


class Selecting:
    """Orders the models of a route as its selection policy says; what nobody knows comes last, and none is lost."""

    def __init__(
        self,
        *,
        prices: PriceList,
        speeds: ModelSpeeds,
        latency_of: Callable[[str], float | None] | None = None,
        sources: Sequence[MetricsSource] = (),
        tokens: TokenCounter | None = None,
    ) -> None:
        """Take what is known of models.

        Args:
            prices: What they cost.
            speeds: How long they have taken here.
            latency_of: How long they take by somebody else's measure, which counts first; by qualified or bare name.
            sources: What has to be read for that.
            tokens: What counts their tokens; None for the rule alone.
        """
        self.prices = prices
        self.speeds = speeds
        self.tokens = tokens or TokenCounter()
        self._latency_of = latency_of
        self._sources = sources

    def start(self) -> None:
        """Begin to read the sources; blocks while tokenizers are loaded, as long as those may take."""
        for source in self._sources:
            source.start()
        self.tokens.load()

    def stop(self) -> None:
        """Read them no more."""
        for source in self._sources:
            source.stop()

    def ordered(self, decision: RoutingDecision, policy: RoutingPolicy) -> RoutingDecision:
        """Return a decision whose models stand in the order in which they are to be tried."""
        if decision.reason is not Reason.MATCHED or decision.route is None:
            return decision
        models = self._ordered(decision.models, policy.named(decision.route).selection_policy)
        return decision if models == decision.models else replace(decision, models=models, would_use=models[0])

    def _ordered(self, models: Sequence[str], selection: SelectionPolicy) -> tuple[str, ...]:
        if selection is SelectionPolicy.CHEAPEST:
            return ranked(models, lambda model: cost_of(self.prices.price_of(model)))
        if selection is SelectionPolicy.FASTEST:
            return ranked(ranked(models, self.speeds.answer_s), self._latency)  # equals, and unknown ones, stay put
        return tuple(models)

    def _latency(self, model: str) -> float | None:
        if self._latency_of is None:
            return None
        known = self._latency_of(model)
        return self._latency_of(bare_model(model)) if known is None else known


def _average(known: float | None, measured: float | None) -> float | None:
    if measured is None or known is None:
        return known if measured is None else measured
    return (1 - LATEST_SHARE) * known + LATEST_SHARE * measured
