"""From a conversation to the models that may answer it: the router's decision, and what else the call asks for."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from typing import Any, Final

import anyio.to_thread
from langchain_core.messages import BaseMessage

from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import PolicySource, Reason, RoutingDecision, Source
from plano_asgi.errors import CallError, ClassificationError, ForwardingError, WireFormatError
from plano_asgi.policy import Needs, fit_capabilities, pool_of
from plano_asgi.router import Router
from plano_asgi.router.stand_in import stand_in
from plano_asgi.sessions import maker_of
from plano_asgi.settings.forwarding_schema import FailoverSettings
from plano_asgi.stores import MemoryStore
from plano_asgi_langchain.conversation import call_of, needs_of_call
from plano_asgi_langchain.keeping import MOST_RESPONSES, Responses, kept_decision
from plano_asgi_langchain.routes import in_plano_form
from plano_asgi_langchain.tools import fit_tools

NO_MODEL: Final = "missing_required_parameter"  # as the gateway says it


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done about a call.

    Attributes:
        decision: Where it goes.
        models: Declared models that may answer it, the first to be tried first; at least one.
    """

    decision: RoutingDecision
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A call as the router takes it; `settled` is the decision where none is to be made."""

    call: LLMCall
    needs: Needs
    tools: Sequence[Any] = field(repr=False)
    settled: RoutingDecision | None


class Routing:
    """Decides calls by one configuration. Thread-safe; its model is loaded by the first call, once in each process.

    Of the latest 10,000 responses that providers keep, it knows which model has given them.
    """

    def __init__(self, router: Router, *, failover: FailoverSettings | None = None) -> None:
        """Take what decides, and how far a failing model is replaced; nothing is loaded yet."""
        self.router = router
        self.catalog = router.catalog
        self._failover = failover or FailoverSettings()
        self._responses: Responses = MemoryStore(size=MOST_RESPONSES)
        self._started_in: int | None = None
        self._starting = Lock()

    @property
    def digest(self) -> str:
        """What the choice of a model depends on: routes, models, their order, default and thresholds, as 32 digits."""
        rules, policy = self.router.rules, self.router.policy
        models = [(preference.models, preference.selection_policy) for preference in policy.preferences]
        told = (models, rules.default_model, rules.unmatched, rules.threshold, sorted(rules.thresholds.items()))
        return hashlib.blake2b(policy.digest + repr(told).encode(), digest_size=16).hexdigest()

    def plan(self, messages: Sequence[BaseMessage], options: Mapping[str, Any]) -> Plan:
        """Return what is to be done about a call; blocks while it is classified.

        Args:
            messages: The conversation, oldest first.
            options: What the call is made with besides: `model`, `tools`, `routing_policy`, `routing_preferences`.

        Raises:
            CallError: Its own policy is malformed or not allowed, no declared model can serve it, or the classifier
                failed and `routing.on_error` is `reject`.
        """
        asked = self._asked(messages, options)
        fit = partial(self._fitted, asked)
        if asked.settled:
            return self._planned(asked, self.router.made_elsewhere(asked.call, fit(asked.settled)))
        self.start()
        return self._planned(asked, self.router.route(asked.call, fit=fit))

    async def aplan(self, messages: Sequence[BaseMessage], options: Mapping[str, Any]) -> Plan:
        """Return what is to be done about a call, without blocking the event loop; the same as `plan` otherwise."""
        asked = self._asked(messages, options)
        fit = partial(self._fitted, asked)
        if asked.settled:
            return self._planned(asked, self.router.made_elsewhere(asked.call, fit(asked.settled)))
        await self.astart()
        return self._planned(asked, await self.router.aroute(asked.call, fit=fit))

    def answered(self, plan: Plan, told: Mapping[str, Any], response_id: str | None) -> None:
        """Remember who has answered a call, since its conversation goes on with that model.

        Args:
            plan: What was to be done about it.
            told: What its answer says of where it came from.
            response_id: Under which id the answer's provider may keep it, or None.
        """
        if response_id:
            self._responses.put(response_id, told)
        self.router.served(plan.decision, by=told["model"])

    async def aanswered(self, plan: Plan, told: Mapping[str, Any], response_id: str | None) -> None:
        """Do the same as `answered`, without blocking the event loop."""
        if response_id:
            self._responses.put(response_id, told)
        await self.router.aserved(plan.decision, by=told["model"])

    def start(self) -> None:
        """Load the model, unless this process has; one that is elsewhere and cannot be asked is asked again later.

        Raises:
            ArtifactError: A model file is missing or not the published one.
            MissingExtraError: The classifier needs an extra that is not installed.
        """
        with self._starting:
            if self._is_started:
                return
            with suppress(ClassificationError):  # which the router has logged; `routing.on_error` decides meanwhile
                self.router.start()
            self._started_in = os.getpid()

    async def astart(self) -> None:
        """Load the model without blocking the event loop; as `start` otherwise."""
        if not self._is_started:
            await anyio.to_thread.run_sync(self.start)

    @property
    def _is_started(self) -> bool:
        return stand_in() is not None or self._started_in == os.getpid()

    def _asked(self, messages: Sequence[BaseMessage], options: Mapping[str, Any]) -> _Asked:
        call = call_of(messages, options)
        settled = self._chosen(options.get("model"), call) or kept_decision(
            call, messages, catalog=self.catalog, responses=self._responses
        )
        needs = needs_of_call(call, messages, options)
        return _Asked(call=call, needs=needs, tools=options.get("tools") or (), settled=settled)

    def _chosen(self, model: str | None, call: LLMCall) -> RoutingDecision | None:
        """Return the decision for a model that the caller names itself; None where it names none."""
        if model is None:
            return None
        qualified = self.catalog.qualified(in_plano_form(model))
        if self.catalog.provider_of(qualified) is None:
            what = f"no such model is declared; name one of {', '.join(sorted(self.catalog.models))}"
            raise WireFormatError(f"model: {what}", code="model_not_found", param="model", status=404)
        return RoutingDecision(
            route=None,
            models=(),
            would_use=qualified,
            reason=Reason.BYPASSED,
            source=Source.NONE,
            policy=PolicySource.INLINE if call.inline_policy else PolicySource.CONFIG,
        )

    def _fitted(self, asked: _Asked, decision: RoutingDecision) -> RoutingDecision:
        """Return a decision with only the models that can serve the call, and go on with its conversation."""
        can_go_on = partial(_can_go_on, asked.call, decision)
        fitted = replace(decision, models=tuple(model for model in decision.models if can_go_on(model)))
        fitted = fit_capabilities(fitted, asked.needs, catalog=self.catalog)
        fitted = fit_tools(fitted, asked.tools, catalog=self.catalog)
        return fitted if fitted.would_use is None or can_go_on(fitted.would_use) else replace(fitted, would_use=None)

    def _planned(self, asked: _Asked, decision: RoutingDecision) -> Plan:
        pool = pool_of(decision, asked.needs, catalog=self.catalog, to_default=self._failover.to_default)
        if not pool:
            raise _nobody_for(decision)
        models = tuple(provider.model for provider in pool if _can_go_on(asked.call, decision, provider.model))
        return Plan(decision=decision, models=models[: self._failover.attempts])


def _can_go_on(call: LLMCall, decision: RoutingDecision, model: str) -> bool:
    """Return whether a model can read what its conversation has of the one that it is to stay with."""
    if decision.source is not Source.SESSION or model == decision.would_use:
        return True
    is_sealed_by_others = call.latest_signature and maker_of(model) != maker_of(str(decision.would_use))
    return not (call.previous_response or is_sealed_by_others)


def _nobody_for(decision: RoutingDecision) -> CallError:
    if decision.reason is Reason.CAPABILITY and decision.source is Source.SESSION:
        what = "nobody who can go on with this conversation takes this call's images, audio, tools or length"
        return ForwardingError(f"{what}; leave that out, or begin anew", status=422, code="no_capable_model")
    if decision.reason is Reason.CAPABILITY:
        what = "no model of the route takes this call's images, audio, tools or length, and the default does not either"
        return ForwardingError(f"{what}; declare one that does", status=422, code="no_capable_model")
    what = "no route matches and there is no default; set default: true at a provider, or name a model"
    return WireFormatError(f"model: {what}", code=NO_MODEL, param="model")
